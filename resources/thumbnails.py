"""Small pictures of clips, from their stored frames."""

import io

import PIL.Image

from resources.pictures import damaged, unpack_jpegs


def thumbnail(stored_zip: bytes, position: int = 4, longest_side_px: int = 160, quality: int = 60) -> bytes:
    """A JPEG of `quality` 1..100, at most `longest_side_px` wide and high, of the stored picture at `position`.

    4 is the middle one of a clip's nine; an image's only picture stands for any. Nothing is enlarged. Raises
    InputError when the zip is damaged or lacks the picture.
    """
    [jpeg] = unpack_jpegs(stored_zip, [position])
    small = io.BytesIO()
    try:
        with PIL.Image.open(io.BytesIO(jpeg), formats=["JPEG"]) as picture:
            picture.draft("RGB", (longest_side_px, longest_side_px))  # decodes at the next larger eighth
            picture.thumbnail((longest_side_px, longest_side_px))
            picture.save(small, "JPEG", quality=quality, optimize=True)
    except (OSError, SyntaxError, ValueError) as failure:  # what Pillow's JPEG reader raises for damaged bytes
        raise damaged(failure) from None
    return small.getvalue()
