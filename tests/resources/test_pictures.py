"""Stored pictures."""

import io
import zipfile

import numpy as np
import pytest

from resources.errors import InputError
from resources.pictures import pack_pictures, unpack_pictures
from tests.videos import texture


def _pictures() -> list[np.ndarray]:
    grey = texture(256, 192)[:48, :64]
    return [np.dstack([np.roll(grey, shift * 8, axis=1), grey, grey // 2]) for shift in range(4)]


def test_pictures_come_back_in_order_and_in_rgb() -> None:
    pictures = _pictures()
    unpacked = unpack_pictures(pack_pictures(pictures, 95))
    for packed, back in zip(pictures, unpacked, strict=True):
        assert np.abs(packed.astype(int) - back).mean() < 6
        assert back[..., 2].mean() < back[..., 1].mean() * 0.7  # blue is the weak channel, as it was


def test_some_positions_can_be_asked_for() -> None:
    packed = pack_pictures(_pictures(), 90)
    everything = unpack_pictures(packed)
    assert all(
        np.array_equal(some, everything[position])
        for some, position in zip(unpack_pictures(packed, [3, 1]), (3, 1), strict=True)
    )


def test_equal_pictures_make_equal_bytes_that_any_zip_reader_opens() -> None:
    packed = pack_pictures(_pictures(), 90)
    assert packed == pack_pictures(_pictures(), 90)
    with zipfile.ZipFile(io.BytesIO(packed)) as archive:
        assert archive.namelist() == ["0.jpg", "1.jpg", "2.jpg", "3.jpg"]
        assert {entry.compress_type for entry in archive.infolist()} == {zipfile.ZIP_STORED}


def test_damage_is_named_with_its_remedy() -> None:
    packed = pack_pictures(_pictures(), 90)
    for damaged, positions in ((packed[:100], None), (packed, [7]), (packed.replace(b"\xff\xd8", b"xx"), None)):
        with pytest.raises(InputError, match=r"damaged .* made again"):
            unpack_pictures(damaged, positions)
