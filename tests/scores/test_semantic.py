import numpy as np
import pytest

from curation_assets.scores.semantic import semantic_row
from curation_assets.settings import Settings
from curation_assets.tables import BOOKKEEPING, SEMANTIC_SCORES
from resources.errors import InputError

MADE_BY = {"model": "m", "revision": "r"}


def row_of(encoder, pictures):
    return semantic_row(encoder.encode(pictures), encoder.engine, MADE_BY, "stored frames")


def test_a_row_has_the_columns_of_its_table(encoder, bikes):
    row = row_of(encoder, bikes(140, 180))
    assert ["clip_id", *row, "crop_box"] == [c for c in SEMANTIC_SCORES.columns if c not in BOOKKEEPING]
    assert row["engine"] == "efficientnet_lite0"


def test_one_picture_repeated_is_fully_consistent(encoder, bikes):
    row = row_of(encoder, bikes(140, 140))
    assert row["pair_scores"] == [1.0] * 8
    assert row["semantic_score"] == row["semantic_mean"] == 1.0


def test_a_hidden_cut_is_found_and_a_single_shot_passes(encoder, bikes):
    minimum = Settings().selection.semantic.efficientnet_lite0.min
    shot = row_of(encoder, bikes(77, 136))
    with_cut = row_of(encoder, bikes(90, 170))
    assert with_cut["semantic_score"] < minimum <= shot["semantic_score"]
    # The cut lies at 137, between the fifth frame (130) and the sixth (140).
    assert int(np.argmin(with_cut["pair_scores"])) == 4
    assert with_cut["semantic_score"] == min(with_cut["pair_scores"]) < 0.6
    assert with_cut["semantic_mean"] == pytest.approx(np.mean(with_cut["pair_scores"]), abs=1e-5)


def test_one_frame_is_an_input_error(encoder, bikes):
    with pytest.raises(InputError, match="two frames, found stored frames"):
        row_of(encoder, bikes(140, 140)[:1])
