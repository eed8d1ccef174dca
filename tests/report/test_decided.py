"""Whatever the scores and bounds, the page and the funnel stored in it judge clips as `decide` does."""

import datetime as dt
import itertools
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from curation_assets.filters import Filter
from curation_assets.report.decided import funnel, read_decided
from curation_assets.report.page import _PROGRAM, _program, made_report, write_report
from curation_assets.settings import Bound, VideoBound
from curation_assets.tables import CLIP_SELECTION, CLIPS, TRAINING_SET
from curation_assets.upkeep.releases import PARTITION, Release, TablesAt, find_release, versions_of
from resources.delta_store import DeltaStore
from resources.files import Files
from tests.report.report_page import ReportPage
from tests.selection.clip_by_clip import Unscored
from tests.selection.one_clip import decide
from tests.ui.skips import needs_chromium

SHARD = "films-0000"
MOTION = Filter("motion", "motion_scores", "motion_score", "dis", VideoBound(min=0.95, max=74.0))
LUMA = Filter("luma", "technical_scores", "luma", "opencv", Bound(min=0.1 + 0.2))
SCORES = [None, float("nan"), float("inf"), -float("inf"), 0.0, 0.3, 0.1 + 0.2, 0.95, 1 / 3, 74.0, 74.00000000000001]
ABSENT = "absent"
BOUNDS = [(0.95, 74.0), (None, None), (None, 0.3), (0.3, None), (1 / 3, 1 / 3), (74.00000000000001, None)]


def clips() -> list[dict[str, Any]]:
    """Videos and images with every pair of scores; every seventh is excluded by hand."""
    pairs = itertools.product([*SCORES, ABSENT, Unscored("no frame")], repeat=2)
    made = []
    for number, (motion, luma) in enumerate(pairs):
        video_id = f"{number:016x}"
        span = "00000000-00000000" if number % 5 == 0 else "00000000-00003600"
        values = {MOTION.key: motion, LUMA.key: luma}
        made.append(
            {
                "clip_id": f"{video_id}-{span}",
                "video_id": video_id,
                "values": {key: value for key, value in values.items() if value is not ABSENT},
                "extra": ["excluded by hand: dull"] if number % 7 == 0 else [],
            }
        )
    return made


def decided_rows(motion: Filter) -> list[dict[str, Any]]:
    return [decide(c["clip_id"], c["video_id"], c["values"], [motion, LUMA], c["extra"]) for c in clips()]


def write_release(folder: Path) -> tuple[DeltaStore, Release]:
    store = DeltaStore(str(folder))
    spans = [
        {"clip_id": c["clip_id"], "video_id": c["video_id"], "start_s": 0.0, "duration_s": 3.6, "shard": SHARD}
        for c in clips()
    ]
    rows = [{**row, "shard": SHARD} for row in decided_rows(MOTION)]
    for table, data in ((CLIPS, spans), (CLIP_SELECTION, rows)):
        store.replace(store.open(table.name, table.schema), pl.DataFrame(data, schema=table.schema), SHARD, {})
    pins = [{"table": table.name, "version": store.snapshot(table.name).version()} for table in (CLIPS, CLIP_SELECTION)]
    made_at = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)
    release = {"release": "r0001", "samples": 0, "table_versions": pins, "shard": PARTITION, "computed_at": made_at}
    table = store.open(TRAINING_SET.name, TRAINING_SET.schema)
    store.replace(table, pl.DataFrame([release], schema=TRAINING_SET.schema), PARTITION, {})
    return store, find_release(store, "latest")


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> tuple[DeltaStore, Release]:
    return write_release(tmp_path_factory.mktemp("decided"))


@pytest.fixture(scope="module")
def page(home: tuple[DeltaStore, Release]) -> Iterator[ReportPage]:
    store, release = home
    file = Path(store.root, "report.html")
    file.write_bytes(made_report(store, Files(store.root), release))
    with ReportPage(1400, 1000) as opened:
        opened.show(file)
        yield opened


def test_the_funnel_counts_what_decide_said(home: tuple[DeltaStore, Release]) -> None:
    store, release = home
    steps = {step.name: step for step in funnel(read_decided(TablesAt(store, versions_of(release))))}
    rows = decided_rows(MOTION)
    reaching = [row for row in rows if row["reasons"][:1] != ["excluded by hand: dull"]]
    assert steps["luma/opencv"].clips == sum(row["selected"] for row in rows) > 0
    assert steps["luma/opencv"].hours == pytest.approx(steps["luma/opencv"].clips / 1000)
    for position, name in enumerate(("motion/dis", "luma/opencv")):
        failed = [row for row in reaching if row["measurements"][position]["passed"] is False]
        assert steps[name].alone == len(failed)
        assert steps[name].last == sum(len(row["reasons"]) == 1 for row in failed) > 0
        assert steps[name].unscored == sum(row["measurements"][position]["value"] is None for row in failed) > 0


@needs_chromium
def test_the_page_counts_what_the_funnel_stored_in_it_counts(page: ReportPage) -> None:
    page.evaluate("measures.forEach(m => { m.bounds = { min: m.min, max: m.max }; judge(m); })")
    counts = "({ clips, alone, last, unscored }) => [clips, alone, last, unscored]"
    assert page.evaluate(f"recompute().steps.map({counts})") == page.evaluate(f"data.funnel.slice(1).map({counts})")


def test_a_page_is_kept_until_the_program_is_another(
    home: tuple[DeltaStore, Release], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, release = home
    modules = {file.name for package in _PROGRAM for file in package.rglob("*.py")}
    assert modules > {"history.py", "filters.py", "settings.py", "thumbnails.py"}
    monkeypatch.setattr("curation_assets.report.page._PROGRAM", (tmp_path,))
    is_new = []
    for text in ("one", "one", "another"):
        (tmp_path / "module.py").write_text(text)
        _program.cache_clear()
        is_new.append(write_report(store, Files(store.root), release).is_new)
    _program.cache_clear()
    assert is_new == [True, False, True]


@needs_chromium
@pytest.mark.parametrize(("low", "high"), BOUNDS)
def test_the_page_judges_as_decide_does(page: ReportPage, low: float | None, high: float | None) -> None:
    moved = Filter("motion", "motion_scores", "motion_score", "dis", VideoBound(min=low, max=high))
    chosen = [row["clip_id"] for row in decided_rows(moved) if row["selected"]]
    page.evaluate(f"(() => {{ measures[0].bounds = {json.dumps({'min': low, 'max': high})}; judge(measures[0]); }})()")
    page.evaluate("void (window.counted = recompute())")
    assert page.evaluate("clips.ids.filter((_, i) => stops[i] >= WORDLESS)") == sorted(chosen)
    assert page.evaluate("counted.steps[WORDLESS - 1].clips") == len(chosen)


@needs_chromium
def test_tables_of_a_release_need_not_all_be_there(page: ReportPage, home: tuple[DeltaStore, Release]) -> None:
    _, release = home
    assert set(versions_of(release)) == {CLIPS.name, CLIP_SELECTION.name}
    assert "0 samples" in page.text_of("#live")
    assert page.complaints() == []
