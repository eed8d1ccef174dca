"""A clip's pictures in one file: a stored (uncompressed) zip of JPEGs named 0.jpg, 1.jpg, ..."""

import io
import zipfile
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from resources.errors import InputError
from resources.spent import spent

Box = Sequence[int]
"""Left, top, width and height of a part of a picture, px."""

_FIXED_TIME = (1980, 1, 1, 0, 0, 0)  # the oldest a zip can hold: equal pictures make equal bytes


def pack_pictures(pictures: Sequence[NDArray[np.uint8]], quality: int) -> bytes:
    """Encode RGB pictures (height x width x 3) as JPEGs of `quality` 1..100 and pack them in order.

    The same pictures and quality give the same bytes.
    """
    import cv2

    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_STORED) as archive:
        for position, picture in enumerate(pictures):
            bgr = cv2.cvtColor(picture, cv2.COLOR_RGB2BGR)
            _, jpeg = cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, quality])
            archive.writestr(zipfile.ZipInfo(f"{position}.jpg", _FIXED_TIME), jpeg.tobytes())
    return packed.getvalue()


def cropped(picture: NDArray[np.uint8], box: Box | None) -> NDArray[np.uint8]:
    """The part of a picture in the box; all of it without one."""
    if box is None:
        return picture
    left, top, width, height = box
    return np.ascontiguousarray(picture[top : top + height, left : left + width])


def present(positions: Sequence[int] | None, count: int) -> Sequence[int]:
    """The wanted `positions` (all when None) of `count` pictures; a single one, an image's, stands for any of them."""
    return range(count) if positions is None or count == 1 else positions


def unpack_jpegs(data: bytes, positions: Sequence[int] | None = None) -> list[bytes]:
    """The JPEG files `present` for `positions`. Raises InputError when the data is no such zip or lacks one."""
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            wanted = present(positions, len(archive.namelist()))
            return [archive.read(f"{position}.jpg") for position in wanted]
    except (zipfile.BadZipFile, KeyError) as failure:
        raise damaged(failure) from None


@spent("decoding")
def unpack_pictures(
    data: bytes, positions: Sequence[int] | None = None, box: Box | None = None
) -> list[NDArray[np.uint8]]:
    """Decode the pictures `present` for `positions` to RGB, height x width x 3; of each what lies in the box.

    Raises InputError when the data is no such zip or lacks a picture.
    """
    import cv2

    pictures = []
    for jpeg in unpack_jpegs(data, positions):
        picture = cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR_RGB)
        if picture is None:
            raise damaged("one is no JPEG")
        pictures.append(cropped(picture.astype(np.uint8, copy=False), box))
    return pictures


def damaged(cause: object) -> InputError:
    """Of a zip of pictures that can't be read."""
    return InputError(f"stored pictures are damaged ({cause}); delete the file to have it made again")
