"""Small pictures of clips."""

import io

import numpy as np
import PIL.Image
import pytest

from resources.errors import InputError
from resources.pictures import pack_pictures
from resources.thumbnails import thumbnail

SHADES = [np.full((180, 320, 3), shade, np.uint8) for shade in (20, 90, 160)]


def opened(jpeg: bytes) -> PIL.Image.Image:
    return PIL.Image.open(io.BytesIO(jpeg), formats=["JPEG"])


def test_a_thumbnail_is_the_picture_asked_for_in_its_shape() -> None:
    small = opened(thumbnail(pack_pictures(SHADES, 92), position=1, longest_side_px=80))
    assert small.size == (80, 45)
    assert np.allclose(np.asarray(small), 90, atol=2)


def test_a_single_picture_stands_for_any_and_is_not_enlarged() -> None:
    small = opened(thumbnail(pack_pictures([SHADES[2][:40, :30]], 92)))
    assert small.size == (30, 40)
    assert np.allclose(np.asarray(small), 160, atol=2)


@pytest.mark.parametrize("cut", [20, 700, 1300])
def test_damaged_pictures_are_an_input_error(cut: int) -> None:
    packed = pack_pictures([np.random.default_rng(3).integers(0, 255, (48, 64, 3), np.uint8)], 92)
    for damaged in (packed[:cut], packed[:60] + bytes(cut) + packed[60 + cut :]):
        with pytest.raises(InputError, match="damaged"):
            thumbnail(damaged)


def test_a_picture_that_is_not_there_is_an_input_error() -> None:
    with pytest.raises(InputError, match="damaged"):
        thumbnail(pack_pictures(SHADES, 92), position=7)
