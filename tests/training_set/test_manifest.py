import polars as pl
import pytest

from curation_assets.settings import Trainer
from curation_assets.tables import TRAINING_MANIFEST
from curation_assets.training_set.manifest import frames_needed, manifest_rows
from resources.tokens import estimated_tokens

SCHEMA = {name: column.dtype for name, column in TRAINING_MANIFEST.stage_columns.items()}
UNIT = {
    **dict.fromkeys(TRAINING_MANIFEST.stage_columns),
    "clip_id": "v-00000000-00003000",
    "text": "A cat sits on a wall.",
    "frame_count": 200,
}


def rows_of(*units):
    samples = pl.DataFrame(units, SCHEMA).drop("type", "caption_tokens", "warnings")
    return manifest_rows(samples, Trainer(), estimated_tokens)


def test_a_row_fits_its_table_and_keeps_what_it_was_given():
    rows = rows_of(UNIT)
    assert rows.schema == SCHEMA
    (row,) = rows.to_dicts()
    assert row == {**UNIT, "type": "video", "caption_tokens": estimated_tokens(UNIT["text"]), "warnings": []}


@pytest.mark.parametrize("stride", range(1, 6))
@pytest.mark.parametrize("frame_count", [1, 2, 9, 49, 81, 144])
def test_frames_needed_is_the_fewest_the_trainer_fills_a_sample_from(frame_count, stride):
    needed = frames_needed(Trainer(frame_count=frame_count, stride=stride))
    assert int(0.8 * needed // stride) >= frame_count
    assert int(0.8 * (needed - 1) // stride) < frame_count


def test_short_clips_and_long_captions_are_warned_about():
    image = {"clip_id": "v-00000000-00000000", "frame_count": 1}
    rows = rows_of({**UNIT, "frame_count": 90, "text": "word " * 300}, {**UNIT, "frame_count": 184}, {**UNIT, **image})
    assert rows["warnings"].to_list() == [
        ["trainer needs 184 frames, has 90", "trainer keeps 256 tokens, caption has about 301"],
        [],
        [],
    ]
    assert rows["type"].to_list() == ["video", "video", "image"]
