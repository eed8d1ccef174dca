"""What a materialization shows in the UI."""

import base64
import re
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import dagster as dg
import numpy as np
import polars as pl
import pytest

from curation_assets.definitions import build_definitions
from curation_assets.filters import clip_filters
from curation_assets.incremental.committing import Report
from curation_assets.settings import Settings
from curation_assets.tables import CLIP_SELECTION, CLIPS, FRAMES, MOTION_SCORES, TABLES, Table
from curation_assets.views.definition import SOURCE_URL
from curation_assets.views.metadata import PICTURES, PICTURES_TAG, Refreshed, settings_in_force
from resources.delta_store import DeltaStore
from resources.files import Files
from resources.pictures import pack_pictures
from tests.selection.one_clip import decide

SHARD = "films-0000"
CLIP_IDS = [f"{k:016x}-00000000-00002000" for k in range(12)]


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A home with the frames of a shard's clips; those of the last clip are missing, those before it damaged."""
    files = Files(str(tmp_path))
    paths = {clip_id: f"frames/{SHARD}/{clip_id}.zip" for clip_id in CLIP_IDS}
    for k, path in enumerate(list(paths.values())[:-1]):
        files.write(path, pack_pictures([np.full((90, 160, 3), 20 * k, np.uint8)], 90) if k < 10 else b"PK\3\4 cut off")
    write(tmp_path, FRAMES, [{"clip_id": clip_id, "frames_path": path} for clip_id, path in paths.items()])
    return tmp_path


def write(home: Path, table: Table, rows: list[dict[str, Any]]) -> int:
    store = DeltaStore(str(home))
    complete = [{**dict.fromkeys(table.schema), "shard": SHARD, **row} for row in rows]
    handle = store.open(table.name, table.schema)
    return store.replace(handle, pl.DataFrame(complete, schema=table.schema), SHARD, {})


def refreshed(home: Path, table: Table, version: int, settings: Settings, data: str = "d") -> Refreshed:
    report = Report(table.name, SHARD, inputs=3, computed=3, rows=3, version=version, data_version=data)
    return Refreshed(report, table, settings, DeltaStore(str(home)), Files(str(home)))


def motion_scores(home: Path) -> int:
    return write(
        home,
        MOTION_SCORES,
        [{"clip_id": clip_id, "engine": "dis", "motion_score": float(k)} for k, clip_id in enumerate(CLIP_IDS)],
    )


def materialized(shown: Refreshed, before: dg.AssetMaterialization | None = None) -> dg.AssetMaterialization:
    return dg.AssetMaterialization(shown.table.name, metadata=shown.metadata(before), tags=shown.tags)


def test_counts_of_decisions_keep_their_labels(home: Path) -> None:
    settings = Settings()
    filters = clip_filters(settings)
    values = {filter_.key: filter_.bound.min or filter_.bound.max for filter_ in filters}
    rows = [
        decide(CLIP_IDS[0], "v", values, filters),
        decide(CLIP_IDS[1], "v", {**values, ("motion", "dis"): 0.0}, filters),
        decide(CLIP_IDS[2], "v", {**values, ("motion", "dis"): None, ("luma", "opencv"): 1.0}, filters),
    ]
    shown = refreshed(home, CLIP_SELECTION, write(home, CLIP_SELECTION, rows), settings).metadata(None)
    counts = {name: value.value for name, value in shown.items() if name.startswith("dropped: ")}
    assert {name for name, count in counts.items() if count} == {"dropped: motion", "dropped: luma"}
    assert (counts["dropped: motion"], counts["dropped: luma"], counts["dropped: excluded"]) == (2, 1, 0)
    assert {f"dropped: {filter_.name}" for filter_ in filters} < {*counts}
    assert shown["selected"].value == 1
    assert all(isinstance(shown[name], dg.IntMetadataValue) for name in (*counts, "selected", "inputs", "removed"))


def test_spans_are_counted_by_the_rule_that_dropped_them(home: Path) -> None:
    drops = [None, None, "trim: the last 0.5 s before a cut", "too short: 1 s is less than 3 s"]
    rows = [{"clip_id": clip_id, "dropped": dropped} for clip_id, dropped in zip(CLIP_IDS, drops, strict=False)]
    shown = refreshed(home, CLIPS, write(home, CLIPS, rows), Settings()).metadata(None)
    found = {name: value.value for name, value in shown.items() if name == "clips" or name.startswith("dropped: ")}
    assert found == {
        "clips": 2,
        "dropped: source too small": 0,
        "dropped: too short": 1,
        "dropped: too long": 0,
        "dropped: trim": 1,
        "dropped: remainder": 0,
    }


def test_scores_are_shown_with_histogram_and_clips_though_some_frames_are_gone(home: Path) -> None:
    shown = refreshed(home, MOTION_SCORES, motion_scores(home), Settings()).metadata(None)
    histogram, sheet = (str(shown[name].value) for name in PICTURES)
    found = re.fullmatch(r"!\[histogram\]\(data:image/svg\+xml;base64,(.*)\)", histogram)
    assert found
    assert ElementTree.fromstring(base64.b64decode(found[1])).tag.endswith("svg")
    assert len(re.findall(r"`[0-9a-f]{16}-\d{8}-\d{8}`", sheet)) == 15
    assert sheet.count("data:image/jpeg;base64,") == 13
    assert sheet.count("no picture") == 2
    assert all(f"`{clip_id}`" in sheet for clip_id in (CLIP_IDS[0], CLIP_IDS[10], CLIP_IDS[11]))


def test_pictures_are_taken_over_while_rows_and_bounds_are_the_same(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    version, settings = motion_scores(home), Settings()
    first = materialized(refreshed(home, MOTION_SCORES, version, settings))
    (home / "frames").rename(home / "elsewhere")  # what is made anew has no pictures of clips
    again = materialized(refreshed(home, MOTION_SCORES, version, settings), first)
    assert [again.metadata[name] for name in PICTURES] == [first.metadata[name] for name in PICTURES]

    other_rows = materialized(refreshed(home, MOTION_SCORES, version, settings, data="other"), again)
    assert "data:image" not in str(other_rows.metadata["contact_sheet"].value)
    without = dg.AssetMaterialization(MOTION_SCORES.name, metadata={}, tags=first.tags)  # they couldn't be made then
    assert PICTURES[0] in refreshed(home, MOTION_SCORES, version, settings).metadata(without)
    stricter = Settings.model_validate({"selection": {"motion": {"dis": {"min": 5.0}}}})
    other_bounds = materialized(refreshed(home, MOTION_SCORES, version, stricter), again)
    assert other_bounds.metadata["scores"] != first.metadata["scores"]
    assert other_bounds.tags[PICTURES_TAG] != first.tags[PICTURES_TAG]


def test_a_picture_that_cannot_be_made_stops_nothing(home: Path, caplog: pytest.LogCaptureFixture) -> None:
    scores = [{"clip_id": clip_id, "engine": "dis", "motion_score": 1.0} for clip_id in (CLIP_IDS[0], None)]
    version = write(home, MOTION_SCORES, scores)
    shown = refreshed(home, MOTION_SCORES, version, Settings()).metadata(None)
    assert "contact_sheet" not in shown
    assert "scores" in shown
    assert shown["dagster/partition_row_count"].value == 3
    assert "motion_scores films-0000: no contact_sheet: " in caplog.text


def test_each_asset_shows_its_own_settings_with_unit_and_range(tmp_path: Path) -> None:
    settings = Settings.model_validate({"motion": {"dis": {"longest_side_px": 240}}})
    of = {name: settings_in_force(table, settings)["settings"].records for name, table in TABLES.items() if made(name)}
    assert all(of.values()), [name for name, records in of.items() if not records]
    [side] = [r.data for r in of["motion_scores"] if r.data["setting"] == "motion.dis.longest_side_px"]
    told = [side[column] for column in ("value", "default", "unit", "allowed")]
    assert told == ["240", "320", "px", "whole number, 64..4096"]
    bounds = {str(record.data["setting"]) for record in of["clip_selection"]}
    assert "selection.motion.dis.min" in bounds
    assert not any("farneback" in bound for bound in bounds)  # is off


def made(table: str) -> bool:
    return table not in ("exclusions", "takedowns", "prompts")


@pytest.mark.parametrize("url", [None, "", "https://git.example.org/reelhouse/blob/main/"])
def test_assets_link_to_the_function_that_makes_them(
    url: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(SOURCE_URL, raising=False)
    if url is not None:
        monkeypatch.setenv(SOURCE_URL, url)
    linked = {}
    for spec in build_definitions(Settings(), str(tmp_path)).resolve_all_asset_specs():
        if references := spec.metadata.get("dagster/code_references"):
            [linked[spec.key.to_user_string()]] = references.code_references
    if url == "":
        assert not linked
        return
    assert {"source_files", "motion_scores", "training_set", "prompts"} < {*linked}
    for asset, function in {"motion_scores": "frames_and_motion", "training_set": "training_set"}.items():
        reference = linked[asset]
        if isinstance(reference, dg.UrlCodeReference):
            place, _, line = reference.url.removeprefix("https://git.example.org/reelhouse/blob/main/").partition("#L")
            file = Path(__file__).parents[2] / place
        else:
            file, line = Path(reference.file_path), reference.line_number
        shown = file.read_text().splitlines()[int(line) - 1 : int(line) + 15]
        assert any(f"def {function}(" in text for text in shown)
