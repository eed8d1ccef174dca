"""The box that stays of a picture lies inside its bars, near to them, and picture that only looks like bars stays."""

from functools import cache
from typing import Any

import cv2
import numpy as np
import pytest

from curation_assets.crops.boxes import crop_row
from curation_assets.settings import Crop
from resources.media import read_frames
from resources.pictures import cropped, pack_pictures, unpack_pictures
from tests import videos

ON = Crop(borders=True)
BARS = {  # rows above and below, columns left and right, px
    "letterbox": (44, 44, 0, 0),
    "pillarbox": (0, 0, 60, 60),
    "letterbox, pillarbox": (30, 30, 52, 52),
    "letterbox below alone": (0, 37, 0, 0),
}


@cache
def street() -> tuple[np.ndarray, ...]:
    """Nine frames of a shot, 640x272."""
    return tuple(frame.rgb() for frame in list(read_frames(videos.source(videos.bikes())))[80:134:6])


def barred(pictures, above, below, left, right, colour=(0, 0, 0)):
    return [
        cv2.copyMakeBorder(picture, above, below, left, right, cv2.BORDER_CONSTANT, value=colour)
        for picture in pictures
    ]


def crop_of(
    pictures, settings: Crop = ON, *, scale: float = 1.0, text_tops=(), min_area_px: int = 0, width: int | None = None
) -> dict[str, Any]:
    """The row of nine frames that are stored scaled."""
    height_px, width_px = pictures[0].shape[:2]
    small = [cv2.resize(p, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA) for p in pictures]
    return crop_row(
        unpack_pictures(pack_pictures(small, 92)), text_tops, width or width_px, height_px, settings, min_area_px
    )


@pytest.mark.parametrize("scale", [1.0, 0.45])
@pytest.mark.parametrize("colour", [(0, 0, 0), (255, 255, 255), (20, 90, 160)])
@pytest.mark.parametrize("kind", BARS)
def test_bars_of_any_colour_are_cut_off_and_hardly_more(kind: str, colour: tuple[int, int, int], scale: float) -> None:
    above, below, left, right = BARS[kind]
    row = crop_of(barred(street(), above, below, left, right, colour), scale=scale)
    assert row["reason"] == kind.removesuffix(" below alone")
    box_left, box_top, width, height = row["crop_box"]
    assert not any(figure % 2 for figure in row["crop_box"])
    lost = (box_left - left, box_top - above, left + 640 - box_left - width, above + 272 - box_top - height)
    assert all(0 <= px <= 2 / scale + 4 for px in lost), lost
    assert row["area_share"] == pytest.approx(width * height / ((640 + left + right) * (272 + above + below)), abs=1e-5)


def test_odd_sizes_and_odd_bars_give_an_even_box() -> None:
    odd = [picture[:271, :639] for picture in street()]
    row = crop_of(barred(odd, 31, 30, 0, 0))
    left, top, width, height = row["crop_box"]
    assert (left, width, top % 2, height % 2) == (0, 638, 0, 0)
    assert 31 <= top <= 36
    assert 31 + 271 - 6 <= top + height <= 31 + 271


@pytest.mark.parametrize("scale", [1.0, 0.45, 0.31])
def test_the_part_of_the_stored_frames_lies_within_the_box(scale: float) -> None:
    pictures = barred(street(), 44, 44, 60, 60)
    row = crop_of(pictures, scale=scale)
    stored_height, stored_width = (round(side * scale) for side in pictures[0].shape[:2])
    for first, length, stored, source in zip((0, 1), (2, 3), (stored_width, stored_height), (760, 360), strict=True):
        box, part = row["crop_box"], row["frames_box"]
        assert box[first] <= part[first] * source / stored
        assert (part[first] + part[length]) * source / stored <= box[first] + box[length]
        assert part[length] > box[length] * stored / source - 2
    shown = cropped(cv2.resize(pictures[0], (stored_width, stored_height)), row["frames_box"])
    assert shown.shape[:2] == (row["frames_box"][3], row["frames_box"][2])
    assert shown[0].max() > 60


def test_pixels_that_are_not_square_count_as_they_are_shown() -> None:
    """Frames are stored upright and square; here the source is shown twice as wide as they are."""
    row = crop_of(barred(street(), 0, 0, 60, 60), width=1520)
    left, _, width, height = row["crop_box"]
    assert 120 <= left <= 128
    assert 120 + 1280 - 8 <= left + width <= 1400
    assert height == 272
    assert row["area_share"] == pytest.approx(width / 1520, abs=1e-5)


def test_a_dark_scene_without_bars_stays_whole() -> None:
    sky = np.linspace(0, 1, 272)[:, None, None] ** 2 * np.ones((272, 640, 3)) * 120
    row = crop_of([np.clip(sky + 2 * n, 0, 255).astype(np.uint8) for n in range(9)])
    assert row == {"area_share": 1.0, "reason": "no borders or subtitles found"}


@pytest.mark.parametrize("level", [0, 128, 255])
def test_a_picture_of_one_colour_stays_whole(level: int) -> None:
    assert crop_of([np.full((272, 640, 3), level, np.uint8)] * 9) == {
        "area_share": 1.0,
        "reason": "no borders or subtitles found",
    }


def test_bars_in_some_frames_only_stay() -> None:
    pictures = barred(street(), 44, 44, 0, 0)
    pictures[3] = cv2.resize(street()[3], (640, 360))
    assert "crop_box" not in crop_of(pictures)


def test_the_single_picture_of_an_image_is_cropped_too() -> None:
    assert crop_of(barred(street()[:1], 44, 44, 0, 0))["reason"] == "letterbox"


def test_a_box_is_taken_that_leaves_just_enough_and_none_that_leaves_less() -> None:
    pictures = barred(street(), 80, 80, 0, 0)
    share = crop_of(pictures, Crop(borders=True, min_area_share=0.1))["area_share"]
    assert 0.5 < share < 0.64
    assert "crop_box" in crop_of(pictures, Crop(borders=True, min_area_share=share))
    refused = crop_of(pictures, Crop(borders=True, min_area_share=share + 0.01))
    assert refused == {
        "area_share": share,
        "reason": f"letterbox, but {share:g} of the picture is less than crop.min_area_share {share + 0.01:g}",
    }


def test_a_box_smaller_than_a_source_may_be_is_not_taken() -> None:
    pictures = barred(street(), 44, 44, 0, 0)
    *_, width, height = crop_of(pictures)["crop_box"]
    assert "crop_box" in crop_of(pictures, min_area_px=width * height)
    refused = crop_of(pictures, min_area_px=width * height + 1)
    assert refused["reason"] == (
        f"letterbox, but {width}x{height} px is less than clips.min_source_area_px {width * height + 1}"
    )


def test_text_that_begins_in_the_lower_end_is_cut_off_with_all_below_it() -> None:
    both = Crop(borders=True, subtitles=True)
    row = crop_of(list(street()), both, text_tops=[12.0, 240.5, 226.2])
    assert row["crop_box"] == [0, 0, 640, 224]
    assert row["reason"] == "subtitles"
    assert crop_of(list(street()), both, text_tops=[12.0, 190.0])["reason"] == "no borders or subtitles found"
    higher = crop_of(list(street()), Crop(subtitles=True, subtitle_band_share=0.31), text_tops=[190.0])
    assert higher["crop_box"] == [0, 0, 640, 188]


def test_subtitles_in_a_bar_go_with_the_rest_of_the_bar() -> None:
    pictures = barred(street(), 44, 60, 0, 0)
    for picture in pictures:
        cv2.putText(picture, "AND THEN", (240, 356), cv2.FONT_HERSHEY_SIMPLEX, 0.9, (255, 255, 255), 2)
    row = crop_of(pictures, Crop(borders=True, subtitles=True), text_tops=[334.0])
    _, top, _, height = row["crop_box"]
    assert row["reason"] == "letterbox, subtitles"
    assert 44 <= top <= 50
    assert 44 + 272 - 6 <= top + height <= 44 + 272


def test_bars_stay_where_only_subtitles_are_cut_off() -> None:
    assert crop_of(barred(street(), 44, 44, 0, 0), Crop(subtitles=True))["reason"] == "no borders or subtitles found"
