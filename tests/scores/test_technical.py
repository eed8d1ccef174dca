import numpy as np
import pytest

from curation_assets.scores.technical import colour, technical_row
from curation_assets.settings import Technical
from curation_assets.tables import BOOKKEEPING, TECHNICAL_SCORES
from resources.borders import BORDER_MIN_SHARE, BORDER_TOLERANCE, content_rectangle
from resources.pictures import pack_pictures, unpack_pictures

cv2 = pytest.importorskip("cv2")


def measured(pictures):
    """The row of pictures that were stored as the clip's frames are."""
    return technical_row(unpack_pictures(pack_pictures(pictures, 92)), Technical(), "opencv")


def flat(value, count=9):
    return [np.full((288, 512, 3), value, np.uint8)] * count


def padded(pictures, top=0, bottom=0, left=0, right=0, colour=(0, 0, 0)):
    return [cv2.copyMakeBorder(p, top, bottom, left, right, cv2.BORDER_CONSTANT, value=colour) for p in pictures]


def test_a_row_has_the_columns_of_its_table(bikes):
    row = measured(bikes(140, 180))
    assert sorted(["clip_id", *row, "crop_box"]) == sorted(c for c in TECHNICAL_SCORES.columns if c not in BOOKKEEPING)
    assert len(row["frame_scores"]) == 9


def test_an_ordinary_shot_has_no_faults(bikes):
    row = measured(bikes(77, 136))
    assert row["border_share"] == row["frozen_share"] == 0.0
    assert row["technical_score"] > 0.9


def test_blur_lowers_sharpness(bikes):
    shot = bikes(77, 136)
    by_blur = [measured(shot)["sharpness"]] + [
        measured([cv2.GaussianBlur(p, (0, 0), sigma) for p in shot])["sharpness"] for sigma in (1, 2, 4)
    ]
    assert by_blur == sorted(by_blur, reverse=True)
    assert by_blur[0] > 20 * by_blur[3]


def test_borders_do_not_make_a_blurred_picture_sharp(bikes):
    blurred = [cv2.GaussianBlur(p, (0, 0), 4) for p in bikes(77, 136)]
    in_white = measured(padded(blurred, top=60, bottom=60, colour=(255, 255, 255)))["sharpness"]
    assert in_white < 2 * measured(blurred)["sharpness"] + 1


def test_exposure_is_counted_exactly():
    black, white = measured(flat(0)), measured(flat(255))
    assert (black["black_share"], black["white_share"], black["luma"]) == (1.0, 0.0, 0.0)
    assert (white["black_share"], white["white_share"], white["luma"]) == (0.0, 1.0, 255.0)
    assert black["technical_score"] == white["technical_score"] == 0.0
    quarter = np.full((288, 512, 3), 128, np.uint8)
    quarter[:144, :256] = 0
    assert measured([quarter] * 9)["black_share"] == pytest.approx(0.25, abs=0.005)


@pytest.mark.parametrize("colour", [(0, 0, 0), (255, 255, 255), (30, 90, 200)])
@pytest.mark.parametrize(
    "bars",
    [
        {"top": 41, "bottom": 41},
        {"left": 83, "right": 85},
        {"top": 30, "bottom": 10, "left": 50, "right": 70},
        {"bottom": 13},
    ],
)
def test_the_border_share_is_exact_within_one_percent(bikes, colour, bars):
    pictures = padded(bikes(77, 136), **bars, colour=colour)
    height, width = pictures[0].shape[:2]
    assert measured(pictures)["border_share"] == pytest.approx(1 - 272 * 640 / (height * width), abs=0.01)


@pytest.mark.parametrize("spread", [23, 24, 25, 26])
def test_a_border_ends_at_the_line_that_differs_by_more_than_the_tolerance(spread):
    rng = np.random.default_rng(spread)
    border = rng.integers(100 - spread, 100 + spread, (2, 64, 50, 3), endpoint=True).astype(np.uint8)
    pictures = [*padded(border, top=9, colour=(100, 100, 100)), *padded(border, top=9, colour=(101, 101, 101))]
    middle = np.median([picture[0] for picture in pictures], axis=(0, 1))
    off = np.abs(np.stack(pictures) - middle).max(axis=-1)
    lines = ((off <= BORDER_TOLERANCE).mean(axis=2).min(axis=0) < BORDER_MIN_SHARE).nonzero()[0]
    assert middle.tolist() == [100.5] * 3
    assert content_rectangle(pictures)[0].start == (lines[0] if len(lines) else 73)


def test_colour_is_that_of_fractions(bikes):
    for picture in (picture[:, :512] for picture in bikes(77, 136)[:2]):
        lab = cv2.cvtColor(picture.astype(np.float32) / 255, cv2.COLOR_RGB2LAB)
        assert colour(picture) == float(np.hypot(lab[..., 1], lab[..., 2]).mean())


def test_a_border_counts_only_where_all_frames_have_it(bikes):
    shot = bikes(77, 136)
    boxed = [*shot[:8], padded([shot[8][40:-40]], top=40, bottom=40)[0]]
    assert measured(boxed)["border_share"] == 0.0
    assert measured(flat(60))["border_share"] == 1.0


def test_frozen_share_counts_unchanged_neighbours(bikes, noise):
    shot = bikes(77, 136)
    assert measured([shot[0]] * 9)["frozen_share"] == 1.0
    slideshow = [shot[0]] * 4 + [shot[8]] * 5
    assert measured(slideshow)["frozen_share"] == pytest.approx(7 / 8)
    assert measured(slideshow)["technical_score"] <= 1 / 8 + 1e-5


def test_noise_is_no_change_but_a_small_moving_thing_is(bikes):
    rng = np.random.default_rng(3)
    still = bikes(77, 77)[0]
    noisy = [np.clip(still + rng.normal(0, 4, still.shape), 0, 255).astype(np.uint8) for _ in range(9)]
    assert measured(noisy)["frozen_share"] == 1.0
    moving = [cv2.circle(still.copy(), (100 + 40 * i, 130), 10, (255, 40, 40), -1) for i in range(9)]
    assert measured(moving)["frozen_share"] == 0.0


def test_grey_has_no_colour(bikes):
    shot = bikes(77, 136)
    grey = [cv2.cvtColor(cv2.cvtColor(p, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB) for p in shot]
    assert measured(grey)["colour"] == pytest.approx(0, abs=0.5)
    assert measured(shot)["colour"] > 2
    # CIELAB of sRGB red is a* 80.1, b* 67.2.
    assert measured(flat((255, 0, 0)))["colour"] == pytest.approx(np.hypot(80.1, 67.2), abs=1.5)


@pytest.mark.parametrize("size", [(1, 1), (2, 700), (700, 2), (64, 64)])
def test_any_size_is_measured(size):
    row = technical_row([np.full((*size, 3), 100, np.uint8)] * 9, Technical(), "opencv")
    assert row["technical_score"] == 0.0
    assert all(np.isfinite(v) for v in row.values() if isinstance(v, float))


def test_measuring_again_gives_the_same_row(bikes, noise):
    first = measured(bikes(77, 136))
    measured(noise)
    assert measured(bikes(77, 136)) == first
