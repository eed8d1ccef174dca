"""The sheets of clips to look at."""

import re

import numpy as np
import polars as pl

from curation_assets.filters import Filter
from curation_assets.settings import Bound
from curation_assets.tables import CLIP_SELECTION
from curation_assets.views.contact_sheet import (
    CLIPS,
    Seen,
    code,
    contact_sheet,
    nearness,
    of_clips,
    of_decisions,
    of_scores,
)
from curation_assets.views.scores import scores_of
from resources.pictures import pack_pictures
from resources.thumbnails import thumbnail
from tests.selection.one_clip import decide

MOTION = Filter("motion", "motion_scores", "motion_score", "dis", Bound(min=10.0, max=20.0))
TEXT = Filter("text", "text_scores", "text_score", "rapidocr", Bound(max=0.1))
FARNEBACK = Filter("motion", "motion_scores", "motion_score", "farneback", Bound(min=1.0))
HOSTILE = "a`b|c\\| ![x](http://evil/x.png) <img src=x onerror=alert(1)> https://evil.example\n| # \x1b[2J \u202e"


def clip(k: int) -> str:
    return f"{k:016x}-00000000-00002000"


def motion_rows(*engines: str) -> pl.DataFrame:
    rows = [
        {"clip_id": clip(k), "engine": engine, "motion_score": float(k), "error": None}
        for k in range(40)
        for engine in engines
    ]
    return pl.DataFrame(rows, schema_overrides={"error": pl.String})


def ids(seen: list[Seen]) -> list[str]:
    return [one.clip_id for one in seen]


def test_a_score_table_shows_both_ends_and_the_border() -> None:
    rows = motion_rows("dis")
    sheet = {k: list(v) for k, v in of_scores(rows, "motion_score", scores_of(rows, [MOTION]), [MOTION]).items()}
    assert ids(sheet["Highest"]) == [clip(k) for k in (39, 38, 37, 36, 35)]
    assert ids(sheet["Lowest"]) == [clip(k) for k in (0, 1, 2, 3, 4)]
    assert ids(sheet["At a border"]) == [clip(k) for k in (10, 20, 9, 11, 19)]
    assert sheet["At a border"][0].says == "motion 10, passes by 0"


def test_the_border_is_that_of_all_clips_in_order() -> None:
    chance = np.random.default_rng(0)
    values = chance.integers(0, 4, (300, 2)).astype(float)  # many at the same distance
    rows = decisions(**{clip(k): (10.0 + motion, text / 10) for k, (motion, text) in enumerate(values)})
    near = nearness(scores_of(rows, [])).sort(pl.col("slack").abs(), "clip_id")
    first = near["clip_id"].unique(maintain_order=True).head(5)
    assert ids(list(of_decisions(rows, scores_of(rows, []))["At a border"])) == first.to_list()


def test_few_clips_are_shown_once_by_their_score() -> None:
    rows = motion_rows("dis").head(3)
    sheet = of_scores(rows, "motion_score", scores_of(rows, [FARNEBACK]), [MOTION])
    assert {heading: ids(list(seen)) for heading, seen in sheet.items()} == {"Highest": [clip(2), clip(1), clip(0)]}


def test_several_engines_share_the_sheet() -> None:
    rows, filters = motion_rows("dis", "farneback"), [MOTION, FARNEBACK]
    sheet = of_scores(rows, "motion_score", scores_of(rows, filters), filters)
    assert {"Highest (dis)", "At a border (dis)", "Lowest (farneback)"} <= {*sheet}
    assert sum(len(clips) for clips in sheet.values()) <= CLIPS


def decisions(**values: tuple[float | None, float | None]) -> pl.DataFrame:
    rows = [
        {
            **dict.fromkeys(CLIP_SELECTION.schema),
            **decide(name, "v", {MOTION.key: motion, TEXT.key: text}, [MOTION, TEXT]),
        }
        for name, (motion, text) in values.items()
    ]
    return pl.DataFrame(rows, schema=CLIP_SELECTION.schema)


def test_a_selection_shows_the_best_the_border_and_each_reason() -> None:
    many = {f"slow{k}": (k / 10, 0.0) for k in range(20)}
    rows = decisions(middle=(15.0, 0.01), **many, wordy=(15.0, 0.9), unscored=(None, 0.0))
    border = {f"near{k}": (10.0 + k / 1000, 0.0) for k in range(5)}
    rows = pl.concat([rows, decisions(**border)])
    sheet = {heading: list(clips) for heading, clips in of_decisions(rows, scores_of(rows, [])).items()}
    best, at_border, dropped = sheet.values()
    assert ids(best) == ["middle"]
    assert {*ids(at_border)} == {*border}
    assert {"wordy", "slow0"} <= {*ids(dropped)}
    assert [one.says for one in dropped if one.clip_id == "wordy"] == [
        "text: 0.9 is above the maximum 0.1 (rapidocr, share of the picture)"
    ]


def test_other_tables_show_a_spread_of_their_clips_with_their_words() -> None:
    rows = pl.DataFrame(
        {
            "clip_id": [clip(k) for k in range(100)],
            "caption": [f"number {k}" for k in range(100)],
            "error": [None] * 100,
        },
        schema_overrides={"error": pl.String},
    )
    [(heading, seen)] = of_clips(rows, "caption").items()
    assert heading == "10 of 100 clips"
    assert [one.says for one in seen] == [f"number {k}" for k in range(0, 100, 10)]
    assert of_clips(rows.clear(), None) == {}


def test_every_picture_stands_with_its_clip_and_one_that_is_missing_says_so() -> None:
    sheet = {"Clips": [Seen(clip(k), "x") for k in range(7)]}
    text = contact_sheet(sheet, lambda clip_id: None if clip_id == clip(3) else b"JPEG")
    assert text is not None
    assert text.count("](data:image/jpeg;base64,SlBFRw==)") == 6
    assert text.count("no picture") == 1
    assert all(f"`{clip(k)}`" in text for k in range(7))
    assert contact_sheet({}, lambda clip_id: b"") is None


def test_a_sheet_stays_below_200_kb_whatever_the_pictures_hold() -> None:
    noise = thumbnail(pack_pictures([np.random.default_rng(1).integers(0, 255, (160, 160, 3), np.uint8)], 95))
    assert len(noise) * CLIPS * 4 / 3 > 150_000
    sheet = {heading: [Seen(clip(k), "é" * 1000) for k in range(5)] for heading in ("Best", "At a border", "Dropped")}
    text = contact_sheet(sheet, lambda clip_id: noise)
    assert text is not None
    assert len(text.encode()) < 200_000
    assert text.count("data:image/jpeg") > 8


def test_text_from_outside_is_code_in_one_cell() -> None:
    said = code(HOSTILE)
    assert re.fullmatch(r"`[^`|\x00-\x1f\u202e]*`", said)
    text = contact_sheet({"Clips": [Seen(HOSTILE, HOSTILE)]}, lambda clip_id: b"x")
    assert text is not None
    lines = text.splitlines()
    assert len(lines) == 6
    assert all(line.count("|") == 2 for line in lines[2:])
