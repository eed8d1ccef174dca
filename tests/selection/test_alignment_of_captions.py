"""A caption is judged by its own alignment score: one of another caption counts as none."""

import polars as pl
import pytest

from curation_assets.filters import sample_filters
from curation_assets.selection.assets import captioned_clips, scores_of_captions, with_scores
from curation_assets.selection.decisions import decisions
from curation_assets.settings import Settings

CLIP = "v-00000000-00001000"


@pytest.mark.parametrize(
    ("scored", "error", "selected", "why"),
    [
        ("a dog runs", None, True, None),
        ("a cat sleeps", None, False, "not scored"),
        (None, "the frames are gone", False, "the frames are gone"),
    ],
)
def test_a_score_counts_for_the_caption_that_was_scored(
    scored: str | None, error: str | None, selected: bool, why: str | None
) -> None:
    filters = sample_filters(Settings())
    score = {"clip_id": CLIP, "engine": "label_similarity", "alignment_score": 0.9 if scored else None}
    written = {"clip_id": CLIP, "caption": "a dog runs", "status": "ok", "error": None}
    reads = {
        "clip_selection": pl.DataFrame([{"clip_id": CLIP, "video_id": "v", "selected": True}]),
        "captions": pl.DataFrame([written]).drop("caption"),
        "rewritten_captions": pl.DataFrame([written]),
        "alignment_scores": pl.DataFrame(
            [{**score, "caption": scored, "error": error}],
            schema_overrides={"alignment_score": pl.Float64, "caption": pl.String, "error": pl.String},
        ),
    }
    clips = with_scores(captioned_clips(reads), scores_of_captions(reads, filters), filters)
    (decision,) = decisions(clips, filters).to_dicts()
    assert decision["selected"] == selected
    assert all(why in reason for reason in decision["reasons"]) if why else decision["reasons"] == []
