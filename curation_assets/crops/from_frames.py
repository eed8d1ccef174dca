"""Finds what to cut off a clip's picture in a worker process, where the text reader is loaded once."""

from functools import cache
from typing import Any

from curation_assets.crops.boxes import crop_row
from curation_assets.settings import Crop, Text
from resources.files import Files
from resources.pictures import unpack_pictures
from resources.text_reader import open_text_reader, read_text

READER = "rapidocr"

text_reader = cache(open_text_reader)


def crop(
    files: Files, frames_path: str, width: int, height: int, settings: Crop, text: Text, min_area_px: int
) -> dict[str, Any]:
    """The row of `clip_crops`; `width` and `height` are the source's, px."""
    pictures = unpack_pictures(files.read(frames_path))
    texts = [
        box
        for picture in (pictures if settings.subtitles else ())
        for box in read_text(
            text_reader(READER),
            picture,
            longest_side_px=text.longest_side_px,
            min_confidence=text.min_confidence,
            min_characters=text.min_characters,
        )
    ]
    tops = [float(box.polygon[:, 1].min()) for box in texts]
    return crop_row(pictures, tops, width, height, settings, min_area_px)
