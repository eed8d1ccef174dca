"""Marks laid over a clip, on real shots and under a camera of known speed."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from curation_assets.scores.sampling import ALL_STORED, StoredFrames
from curation_assets.scores.screening import watermark
from curation_assets.scores.watermark import watermark_row
from curation_assets.settings import WatermarkBounds
from curation_assets.tables import BOOKKEEPING, WATERMARK_SCORES
from resources.errors import InputError
from resources.files import Files
from resources.pictures import pack_pictures, unpack_pictures
from tests.moving_camera import Moves, views

cv2 = pytest.importorskip("cv2")

BOUND = WatermarkBounds().static_overlay.max
SIZE = (640, 360)
MARK = (480, 20, 120, 50)  # left, top, width, height

Pictures = Sequence[np.ndarray]


def scored(pictures: Pictures) -> dict:
    """The row of pictures that were stored as the clip's frames are."""
    return watermark_row(unpack_pictures(pack_pictures(pictures, 92)), "static_overlay", "stored frames")


def shot(moves: Moves, seconds: int = 4) -> list[np.ndarray]:
    """Nine frames of a photo under the camera."""
    shown = [picture.copy() for picture in views(moves, "tower.jpg", SIZE, 2, 2 * seconds + 1)]
    return [cv2.cvtColor(picture, cv2.COLOR_GRAY2RGB) for picture in shown]


def marked(pictures: Pictures, opacity: float = 1.0, box: tuple[int, int, int, int] = MARK) -> list[np.ndarray]:
    """A white frame with a cross in it, drawn over each picture."""
    left, top, width, height = box
    thick = max(2, height // 10)
    mask = np.zeros(pictures[0].shape[:2], np.float32)
    half = thick // 2 + 1
    first, last = (left + half, top + half), (left + width - half, top + height - half)
    cv2.rectangle(mask, first, last, 1.0, thick)
    cv2.line(mask, first, last, 1.0, thick)
    cv2.line(mask, (last[0], first[1]), (first[0], last[1]), 1.0, thick)
    alpha = (opacity * mask)[..., None]
    return [np.rint(picture * (1 - alpha) + 255 * alpha).astype(np.uint8) for picture in pictures]


PAN = Moves(pan=10)


def test_a_row_has_the_columns_of_its_table(bikes, tmp_path: Path) -> None:
    (tmp_path / "c.zip").write_bytes(pack_pictures(bikes(140, 180), 92))
    row = watermark(StoredFrames(Files(str(tmp_path)), "c", "c.zip", ALL_STORED), "static_overlay")
    assert {"clip_id", *row, "crop_box"} == {name for name in WATERMARK_SCORES.columns if name not in BOOKKEEPING}
    assert row["sampling"] == "stored frames"


@pytest.mark.parametrize("opacity", [1.0, 0.5, 0.3])
def test_a_mark_over_a_moving_picture_is_found_where_it_is(opacity: float) -> None:
    row = scored(marked(shot(PAN), opacity))
    assert row["watermark_score"] > BOUND
    np.testing.assert_allclose(row["watermark_box"], MARK, atol=8)


def test_real_shots_without_a_mark_score_0_and_with_one_more_than_the_bound(bikes) -> None:
    for span in ((30, 75), (77, 136), (137, 186), (187, 241)):
        assert scored(bikes(*span))["watermark_score"] == 0.0, span
        found = scored(marked(bikes(*span), 0.5, (260, 90, 120, 60)))
        assert found["watermark_score"] > BOUND, span
        np.testing.assert_allclose(found["watermark_box"], (260, 90, 120, 60), atol=30)  # an edge beside it joins it


def test_a_larger_mark_scores_more() -> None:
    small, large = (
        scored(marked(shot(PAN), 1.0, (200, 100, *size)))["watermark_score"] for size in ((60, 30), (240, 120))
    )
    assert 0 < small < large < 1


@pytest.mark.parametrize(
    "moves",
    [PAN, Moves(tilt=10), Moves(zoom=10), Moves(roll=5), Moves(shake=5), Moves(pan=10, subject=0.3)],
    ids=str,
)
def test_a_moving_camera_alone_is_no_mark(moves: Moves) -> None:
    row = scored(shot(moves))
    assert (row["watermark_score"], row["watermark_box"]) == (0.0, None)


def test_before_a_camera_that_rests_nothing_can_be_told_and_that_is_0() -> None:
    still = shot(Moves())
    assert scored(still)["watermark_score"] == scored(marked(still))["watermark_score"] == 0.0
    assert scored(shot(Moves(subject=0.1)))["watermark_score"] == 0.0, "what moves before it passes by"


def test_a_line_that_the_camera_follows_is_no_mark() -> None:
    """It looks still, since it slides along itself."""
    lined = [cv2.line(picture, (0, 200), (SIZE[0], 200), (255, 255, 255), 4) for picture in shot(PAN)]
    assert scored(lined)["watermark_score"] == 0.0


def test_edges_of_borders_do_not_count_and_a_mark_between_them_does() -> None:
    for bars in (
        {"top": 60, "bottom": 60},
        {"left": 90, "right": 90},
        {"top": 40, "bottom": 50, "left": 60, "right": 70},
    ):
        sides = [bars.get(side, 0) for side in ("top", "bottom", "left", "right")]
        boxed = [cv2.copyMakeBorder(picture, *sides, cv2.BORDER_CONSTANT, value=(0, 0, 0)) for picture in shot(PAN)]
        assert scored(boxed)["watermark_score"] == 0.0, bars
        left, top, width, height = MARK
        moved = left + sides[2] - 100, top + sides[0] + 40, width, height
        found = scored(marked(boxed, 1.0, moved))
        assert found["watermark_score"] > BOUND, bars
        np.testing.assert_allclose(found["watermark_box"], moved, atol=10)


def test_the_box_is_in_pixels_of_the_stored_frames_however_large_they_are() -> None:
    for scale in (0.5, 1.6):
        size = round(SIZE[0] * scale), round(SIZE[1] * scale)
        resized = [cv2.resize(picture, size, interpolation=cv2.INTER_AREA) for picture in marked(shot(PAN))]
        np.testing.assert_allclose(scored(resized)["watermark_box"], np.array(MARK) * scale, atol=10 * max(scale, 1))


@pytest.mark.parametrize("size", [(1, 1), (2, 700), (700, 2), (64, 64)])
def test_any_size_is_measured(size: tuple[int, int]) -> None:
    row = watermark_row([np.full((*size, 3), value, np.uint8) for value in range(0, 180, 20)], "static_overlay", "")
    assert (row["watermark_score"], row["watermark_box"]) == (0.0, None)


def test_scoring_again_gives_the_same_row() -> None:
    pictures = marked(shot(PAN), 0.3)
    assert scored(pictures) == scored(pictures)


def test_damaged_pictures_are_an_error_of_the_clip(tmp_path: Path) -> None:
    (tmp_path / "c.zip").write_bytes(b"no zip")
    with pytest.raises(InputError, match="damaged"):
        watermark(StoredFrames(Files(str(tmp_path)), "c", "c.zip", ALL_STORED), "static_overlay")
