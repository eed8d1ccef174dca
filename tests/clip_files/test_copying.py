"""An image in the training set is its source's picture to the bit, without what its maker wrote beside it."""

import hashlib
import io
import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageCms
from PIL.PngImagePlugin import PngInfo

from curation_assets.clip_files.assets import clip_file_assets
from curation_assets.clip_files.copying import copy_image
from curation_assets.incremental.stage import NO_ENGINE
from curation_assets.raw_videos.image_probing import probe_image
from curation_assets.settings import RawVideos, Settings
from resources.files import Files
from resources.media import VideoSource
from tests.images import EXIF_ORIENTATION, as_opened, mosaic

PRIVATE = b"taken-in-our-garden"
XMP = b"<x:xmpmeta xmlns:x='adobe:ns:meta/'>" + PRIVATE + b"</x:xmpmeta>"
PROFILE = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
GPS, DESCRIPTION, ARTIST = 0x8825, 270, 315


def exif(orientation: int = 1) -> Image.Exif:
    data = Image.Exif()
    data[EXIF_ORIENTATION], data[DESCRIPTION], data[ARTIST] = orientation, PRIVATE.decode(), PRIVATE.decode()
    data.get_ifd(GPS).update({1: "N", 2: (52.0, 31.0, 12.0), 3: "E", 4: (13.0, 24.0, 18.0), 29: PRIVATE.decode()})
    return data


def segment(marker: int, payload: bytes) -> bytes:
    return bytes([0xFF, marker]) + struct.pack(">H", len(payload) + 2) + payload


def jpeg(picture: Image.Image, **options: object) -> bytes:
    """With EXIF, XMP, Photoshop's block, a comment, a camera's own data and bytes after the end."""
    file = io.BytesIO()
    picture.save(file, "JPEG", quality=90, exif=exif(), xmp=XMP, comment=PRIVATE, icc_profile=PROFILE, **options)
    plain = file.getvalue()
    more = segment(0xED, b"Photoshop 3.0\0" + PRIVATE) + segment(0xE9, PRIVATE) + segment(0xE2, b"MPF\0" + PRIVATE)
    return plain[:2] + more + plain[2:] + PRIVATE


def several_jpeg(picture: Image.Image) -> bytes:
    file = io.BytesIO()
    picture.save(file, "MPO", save_all=True, append_images=[picture], exif=exif(), icc_profile=PROFILE)
    return file.getvalue()


def chunk(kind: bytes, payload: bytes) -> bytes:
    return struct.pack(">I", len(payload)) + kind + payload + struct.pack(">I", zlib.crc32(kind + payload))


def png(picture: Image.Image) -> bytes:
    texts = PngInfo()
    texts.add_text("Comment", PRIVATE.decode())
    texts.add_text("Location", PRIVATE.decode(), zip=True)
    texts.add_itxt("XML:com.adobe.xmp", XMP.decode())
    file = io.BytesIO()
    picture.save(file, "PNG", exif=exif(), pnginfo=texts, icc_profile=PROFILE)
    end = chunk(b"IEND", b"")
    return file.getvalue().removesuffix(end) + chunk(b"prVt", PRIVATE) + end + PRIVATE


def webp(picture: Image.Image, **options: object) -> bytes:
    file = io.BytesIO()
    picture.save(file, "WEBP", exif=exif(), xmp=XMP, icc_profile=PROFILE, **options)
    return file.getvalue()


def moving_webp(picture: Image.Image) -> bytes:
    return webp(picture, save_all=True, append_images=[picture.transpose(Image.Transpose.ROTATE_180)], duration=500)


MAKERS: dict[str, Callable[[Image.Image], bytes]] = {
    "plain.jpg": jpeg,
    "progressive.jpg": lambda picture: jpeg(picture, progressive=True),
    "restarts.jpg": lambda picture: jpeg(picture, restart_marker_rows=1),
    "cmyk.jpg": lambda picture: jpeg(picture.convert("CMYK")),
    "several.jpg": several_jpeg,
    "plain.png": png,
    "palette.png": lambda picture: png(picture.quantize(200)),
    "lossy.webp": webp,
    "lossless.webp": lambda picture: webp(picture, lossless=True),
    "moving.webp": moving_webp,
}


def copied(source: Path, home: Path) -> Path:
    row = {"source_uri": str(source), "frame_rate": None, **probe_image(str(source), RawVideos())}
    clip = {"video_id": hashlib.sha256(source.read_bytes()).hexdigest()[:16], "clip_id": "c"}
    made = copy_image(clip, VideoSource.from_row(row), "clips", Files(str(home)))
    assert made["file_size_bytes"] == (home / made["file_path"]).stat().st_size
    return home / made["file_path"]


@pytest.mark.parametrize("name", MAKERS)
def test_nothing_but_the_picture_and_its_colours_is_copied(tmp_path: Path, name: str) -> None:
    source = tmp_path / name
    source.write_bytes(MAKERS[name](Image.fromarray(mosaic(21))))
    assert PRIVATE in source.read_bytes()
    copy = copied(source, tmp_path / "home")
    assert copy.suffix == {".jpg": ".jpeg"}.get(source.suffix, source.suffix)
    assert np.array_equal(as_opened(copy), as_opened(source))
    assert PRIVATE not in copy.read_bytes()
    with Image.open(copy) as image:
        assert image.info["icc_profile"] == PROFILE
        assert not image.getexif()
        assert not {"xmp", "comment", "photoshop", "mp", "Comment", "Location"} & image.info.keys()


@pytest.mark.parametrize("name", MAKERS)
def test_what_is_coded_stays_as_it_is(tmp_path: Path, name: str) -> None:
    source = tmp_path / name
    source.write_bytes(MAKERS[name](Image.fromarray(mosaic(22))))
    copy = copied(source, tmp_path / "home").read_bytes()
    assert len(copy) > 2000
    assert copy[len(copy) // 2 : -len(chunk(b"IEND", b""))] in source.read_bytes()


def test_a_picture_turned_by_exif_is_stored_upright_without_it(tmp_path: Path) -> None:
    Image.fromarray(mosaic(23)).save(tmp_path / "turned.jpg", quality=90, exif=exif(orientation=6))
    copy = copied(tmp_path / "turned.jpg", tmp_path / "home")
    assert np.array_equal(as_opened(copy), np.rot90(as_opened(tmp_path / "turned.jpg"), -1))
    assert PRIVATE not in copy.read_bytes()


@pytest.mark.parametrize("name", ["plain.jpg", "plain.png", "lossy.webp"])
def test_an_image_without_metadata_is_copied_byte_for_byte(tmp_path: Path, name: str) -> None:
    source = tmp_path / name
    source.write_bytes(MAKERS[name](Image.fromarray(mosaic(24))))
    once = copied(source, tmp_path / "once")
    assert copied(once, tmp_path / "twice").read_bytes() == once.read_bytes()
    Image.fromarray(mosaic(25)).save(source)
    assert copied(source, tmp_path / "home").read_bytes() == source.read_bytes()


@pytest.mark.parametrize("between", [b"\xff", b"\xff" * 40], ids=["a byte", "many"])
def test_filling_between_a_jpegs_parts_hides_nothing(tmp_path: Path, between: bytes) -> None:
    data = jpeg(Image.fromarray(mosaic(26)))
    for marker in (b"\xff\xed", b"\xff\xe1", b"\xff\xdb"):
        data = data.replace(marker, between + marker)
    (tmp_path / "odd.jpg").write_bytes(data)
    copy = copied(tmp_path / "odd.jpg", tmp_path / "home")
    assert copy.suffix == ".jpeg"
    assert np.array_equal(as_opened(copy), as_opened(tmp_path / "odd.jpg"))
    assert PRIVATE not in copy.read_bytes()


def test_clips_of_videos_stand_that_are_older_than_this() -> None:
    (stage,) = clip_file_assets(Settings())[0].stages
    clip = {"clip_id": "c"}
    assert stage.fingerprint(clip | {"metadata": None}, NO_ENGINE) == stage.fingerprint(clip, NO_ENGINE)
    assert stage.fingerprint(clip | {"metadata": "left out"}, NO_ENGINE) != stage.fingerprint(clip, NO_ENGINE)
