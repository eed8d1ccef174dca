"""Image files as pictures: what a person sees, whatever the format; hostile ones are refused before they cost much."""

import io
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from resources.errors import InputError
from resources.images import decode_image, png, read_image, shows
from tests import images

ROOM = 8192 * 8192


@pytest.mark.parametrize("name", images.GOOD)
def test_an_image_is_what_a_person_sees(tmp_path: Path, name: str) -> None:
    truth = images.GOOD[name](tmp_path / name)
    read = read_image(str(tmp_path / name), ROOM)
    assert np.array_equal(read.rgb, truth)
    assert read.format == {"jpg": "jpeg"}.get(name.lower().rpartition(".")[2], name.lower().rpartition(".")[2])


@pytest.mark.parametrize("orientation", range(1, 9))
def test_every_orientation_is_made_upright(orientation: int) -> None:
    """Against the letter F, stored as each orientation demands; the table is that of the EXIF standard."""
    upright = np.zeros((7, 5), np.uint8)
    upright[:, 0] = upright[0] = upright[3, :3] = 255
    row_first = {1: upright, 2: upright[:, ::-1], 3: upright[::-1, ::-1], 4: upright[::-1]}
    # From 5 on rows and columns change places: the stored row 0 is the left (5, 8) or the right (6, 7) side.
    column_first = {5: upright.T, 6: upright.T[::-1], 7: upright.T[::-1, ::-1], 8: upright.T[:, ::-1]}
    stored = {**row_first, **column_first}[orientation]
    exif = Image.Exif()
    exif[images.EXIF_ORIENTATION] = orientation
    file = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(stored)).save(file, "PNG", exif=exif)
    read = decode_image(io.BytesIO(file.getvalue()), ROOM)
    assert np.array_equal(read.rgb[..., 0], upright)
    assert (read.stored_height, read.stored_width) == stored.shape


def test_half_transparent_is_mixed_with_white(tmp_path: Path) -> None:
    Image.new("RGBA", (4, 4), (200, 0, 100, 128)).save(tmp_path / "half.png")
    read = read_image(str(tmp_path / "half.png"), ROOM)
    expected = np.array([200, 0, 100]) * 128 / 255 + 255 * 127 / 255
    assert np.abs(read.rgb - expected).max() <= 1


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("cut.jpg", "cut off or damaged (image file is truncated"),
        ("text.png", "no image (png, jpeg, webp, bmp, gif); convert it"),
        ("empty.webp", "no image"),
        ("program.jpg", "no image"),
        ("bomb.png", "it is 20000x20000, above raw_videos.max_pixels (67108864); raise the limit or take it out"),
    ],
)
def test_what_is_no_picture_says_why(tmp_path: Path, name: str, why: str) -> None:
    images.BAD[name](tmp_path / name)
    with pytest.raises(InputError) as refused:
        read_image(str(tmp_path / name), ROOM)
    assert str(refused.value).startswith(why)


def test_a_bomb_is_refused_before_its_pixels_take_memory(tmp_path: Path) -> None:
    images.bomb(tmp_path / "bomb.png")
    tracemalloc.start()
    with pytest.raises(InputError):
        read_image(str(tmp_path / "bomb.png"), ROOM)
    assert tracemalloc.get_traced_memory()[1] < 5e6
    tracemalloc.stop()


@pytest.mark.parametrize("name", images.GOOD)
def test_damage_anywhere_is_an_input_error_or_another_picture(tmp_path: Path, name: str) -> None:
    images.GOOD[name](tmp_path / name)
    data = (tmp_path / name).read_bytes()
    random = np.random.default_rng(0)
    refused = 0
    for _ in range(40):
        damaged = bytearray(data[: random.integers(1, len(data) + 1)])
        for place in random.integers(0, len(damaged), 5):
            damaged[place] = random.integers(0, 256)
        try:
            decode_image(io.BytesIO(bytes(damaged)), ROOM)
        except InputError:
            refused += 1
    assert refused


def test_damaged_exif_does_not_cost_the_picture(tmp_path: Path) -> None:
    Image.fromarray(images.mosaic(1)).save(tmp_path / "a.jpg", exif=b"Exif\0\0MM\0\x2a\xff\xff\xff\xff")
    assert read_image(str(tmp_path / "a.jpg"), ROOM).rgb.shape == (480, 640, 3)


def test_trainers_see_the_file_or_its_png(tmp_path: Path) -> None:
    shown_as_is = set()
    for name, make in images.GOOD.items():
        truth = make(tmp_path / name)
        assert shows(png(truth), truth)
        assert not shows(png(truth)[:60], truth)
        if shows((tmp_path / name).read_bytes(), truth):
            shown_as_is.add(name)
    assert set(images.GOOD) - shown_as_is == {"turned.jpeg", "mirrored.webp", "sixteen_bit.png", "alpha.webp"}
