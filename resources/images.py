"""Image files as everybody sees them: upright, 8 bits of red, green and blue, transparent parts over white.

Of an animation, or of the several pictures in a telephone's JPEG, it is the first. Colour profiles are not applied:
readers of training sets don't.
"""

import io
import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
import PIL.Image
from numpy.typing import NDArray
from PIL.Image import Image, Transpose

from resources.errors import InputError, TransientError
from resources.object_store import is_url, open_object
from resources.spent import spent

FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "GIF")
"""What Pillow may take a file for, whatever its name; some of its other readers run programs."""

# EXIF orientation -> how it is made upright, and by how many degrees clockwise once mirroring is undone
_UPRIGHT = {
    2: (Transpose.FLIP_LEFT_RIGHT, 0),
    3: (Transpose.ROTATE_180, 180),
    4: (Transpose.FLIP_TOP_BOTTOM, 180),
    5: (Transpose.TRANSPOSE, 270),
    6: (Transpose.ROTATE_270, 90),
    7: (Transpose.TRANSVERSE, 90),
    8: (Transpose.ROTATE_90, 270),
}
_ORIENTATION_TAG = 274


@dataclass(frozen=True)
class StillImage:
    """`rgb` is height x width x 3; `format` one of FORMATS, in small letters; `mode` Pillow's; size before turning."""

    rgb: NDArray[np.uint8]
    format: str
    mode: str
    stored_width: int
    stored_height: int
    rotation_deg: int


def read_image(uri: str, max_pixels: int) -> StillImage:
    """The image in a local file or an object. Raises OSError or TransientError where that can't be read.

    Raises InputError, with cause and remedy, for no image, a damaged one, and one of more than `max_pixels`, whose
    pixels are not decoded then.
    """
    with open_object(uri) if is_url(uri) else open(uri, "rb") as file:
        return decode_image(file, max_pixels)


@spent("decoding")
def decode_image(file: Any, max_pixels: int) -> StillImage:
    """As `read_image`, of a file that is open for reading bytes."""
    PIL.Image.MAX_IMAGE_PIXELS = None  # its own limit would stand above and below `max_pixels`
    try:
        with warnings.catch_warnings(action="ignore"), PIL.Image.open(file, formats=FORMATS) as image:
            width, height = image.size
            if width * height > max_pixels:
                raise InputError(
                    f"it is {width}x{height}, above raw_videos.max_pixels ({max_pixels}); raise the limit or take it "
                    "out of the source"
                )
            image.load()
            method, rotation_deg = _UPRIGHT.get(_orientation(image), (None, 0))
            upright = image if method is None else image.transpose(method)
            format_ = "jpeg" if image.format == "MPO" else str(image.format).lower()
            return StillImage(_rgb(upright), format_, image.mode, width, height, rotation_deg)
    except (InputError, TransientError, MemoryError):
        raise
    except PIL.UnidentifiedImageError:
        known = ", ".join(FORMATS).lower()
        raise InputError(f"no image ({known}); convert it, or take it out of the source") from None
    except Exception as failure:  # Pillow's readers raise whatever damaged bytes lead them to
        raise InputError(f"cut off or damaged ({failure}); copy it again") from None


def shows(data: bytes, rgb: NDArray[np.uint8]) -> bool:
    """Whether a reader that opens the file and takes its RGB, and does no more, sees `rgb`: trainers are such."""
    try:
        with PIL.Image.open(io.BytesIO(data), formats=FORMATS) as image:
            return np.array_equal(np.asarray(image.convert("RGB")), rgb)
    except Exception:  # as above; what can't be read shows nothing
        return False


def png(rgb: NDArray[np.uint8]) -> bytes:
    """The picture without loss."""
    packed = io.BytesIO()
    PIL.Image.fromarray(rgb).save(packed, "PNG")
    return packed.getvalue()


def _orientation(image: Image) -> int:
    try:
        return int(image.getexif().get(_ORIENTATION_TAG, 1))
    except Exception:  # what can't be read says nothing, and the pixels are there
        return 1


def _rgb(image: Image) -> NDArray[np.uint8]:
    if image.mode.startswith("I;16"):  # convert() would make white of all but the darkest 256 levels
        grey = (np.asarray(image) >> 8).astype(np.uint8)
        return np.repeat(grey[..., None], 3, axis=2)
    if image.has_transparency_data:
        with_alpha = image.convert("RGBA")
        white = PIL.Image.new("RGBA", image.size, "white")
        image = PIL.Image.alpha_composite(white, with_alpha)
    return np.asarray(image.convert("RGB"))
