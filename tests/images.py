"""Test images whose pixels are known exactly: a maker writes its file into a folder and gives what it shows.

The truth is the upright picture, height x width x 3, that a person sees; transparent parts lie over white.
"""

from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

RGB = NDArray[np.uint8]
SIZE = (640, 480)  # width, height
EXIF_ORIENTATION = 274


def mosaic(seed: int, size: tuple[int, int] = SIZE, colours: int = 200) -> RGB:
    """Tiles of 16 x 16 px, each of one of so many colours."""
    random = np.random.default_rng(seed)
    palette = random.integers(40, 216, (colours, 3), dtype=np.uint8)
    tiles = palette[random.integers(0, colours, (-(-size[1] // 16), -(-size[0] // 16)))]
    return np.ascontiguousarray(tiles.repeat(16, axis=0).repeat(16, axis=1)[: size[1], : size[0]])


def as_opened(path: Path) -> RGB:
    """What a trainer sees: the RGB of what Pillow opens, and no more."""
    with Image.open(path) as image:
        return np.asarray(image.convert("RGB"))


def _orientation(value: int) -> Image.Exif:
    exif = Image.Exif()
    exif[EXIF_ORIENTATION] = value
    return exif


def plain_png(path: Path) -> RGB:
    Image.fromarray(mosaic(1)).save(path)
    return mosaic(1)


def bmp(path: Path) -> RGB:
    Image.fromarray(mosaic(2)).save(path)
    return mosaic(2)


def jpeg(path: Path) -> RGB:
    """Its pixels are those that any decoder of JPEG gives, within rounding; here Pillow's."""
    Image.fromarray(mosaic(3)).save(path, quality=90)
    return as_opened(path)


def turned_jpeg(path: Path) -> RGB:
    """To be turned clockwise by 90 degrees, as telephones write it."""
    Image.fromarray(mosaic(4)).save(path, quality=90, exif=_orientation(6))
    return np.rot90(as_opened(path), -1)


def mirrored_webp(path: Path) -> RGB:
    Image.fromarray(mosaic(5)).save(path, lossless=True, exif=_orientation(2))
    return mosaic(5)[:, ::-1]


def cmyk_jpeg(path: Path) -> RGB:
    Image.fromarray(mosaic(6)).convert("CMYK").save(path, quality=90)
    return as_opened(path)


def sixteen_bit_png(path: Path) -> RGB:
    """Grey of 16 bits; a person sees the upper eight."""
    levels = mosaic(7)[..., 0].astype(np.uint16) * 257
    Image.fromarray(levels).save(path)
    return np.repeat((levels >> 8).astype(np.uint8)[..., None], 3, axis=2)


def palette_gif(path: Path) -> RGB:
    Image.fromarray(mosaic(8)).quantize(256).save(path)
    return mosaic(8)


def moving_gif(path: Path) -> RGB:
    """Two pictures, half a second apart; the first counts."""
    first, second = (Image.fromarray(mosaic(seed)).quantize(256) for seed in (9, 10))
    first.save(path, save_all=True, append_images=[second], duration=500)
    return mosaic(9)


def several_jpeg(path: Path) -> RGB:
    """A JPEG with a second picture behind it (MPO), as telephones and stereo cameras write it."""
    first, second = (Image.fromarray(mosaic(seed)) for seed in (13, 14))
    first.save(path, "MPO", save_all=True, append_images=[second])
    return as_opened(path)


def alpha_webp(path: Path) -> RGB:
    """Transparent in a corner, where it hides other colours."""
    picture = mosaic(11)
    alpha = np.full(picture.shape[:2], 255, np.uint8)
    alpha[:32, :64] = 0
    Image.fromarray(np.dstack([picture, alpha])).save(path, lossless=True, exact=True)
    return np.where(alpha[..., None] == 0, np.uint8(255), picture)


def small_png(path: Path) -> RGB:
    Image.fromarray(mosaic(12, (100, 100))).save(path)
    return mosaic(12, (100, 100))


GOOD: dict[str, Callable[[Path], RGB]] = {
    "plain.png": plain_png,
    "bitmap.bmp": bmp,
    "photo.JPG": jpeg,
    "turned.jpeg": turned_jpeg,
    "mirrored.webp": mirrored_webp,
    "cmyk.jpg": cmyk_jpeg,
    "sixteen_bit.png": sixteen_bit_png,
    "palette.gif": palette_gif,
    "moving.gif": moving_gif,
    "alpha.webp": alpha_webp,
    "several.jpg": several_jpeg,
}


def cut_jpeg(path: Path) -> None:
    jpeg(path)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def text(path: Path) -> None:
    path.write_text("not a picture\n", encoding="utf-8")


def bomb(path: Path) -> None:
    """50 kB that would be 400 million pixels."""
    Image.new("1", (20_000, 20_000)).save(path)


def program(path: Path) -> None:
    """PostScript, which Pillow would hand to an interpreter."""
    path.write_text("%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n%%EOF\n", encoding="ascii")


BAD: dict[str, Callable[[Path], None]] = {
    "cut.jpg": cut_jpeg,
    "text.png": text,
    "empty.webp": Path.touch,
    "bomb.png": bomb,
    "program.jpg": program,
}
