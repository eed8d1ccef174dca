"""What a clip is of. Its id says so: an image is what lasts from 0 to 0."""

from typing import Literal

import polars as pl

MediaType = Literal["video", "image"]
_OF_IMAGE = "-00000000-00000000"

IS_IMAGE = pl.col("clip_id").str.ends_with(_OF_IMAGE)


def media_type(clip_id: str) -> MediaType:
    return "image" if clip_id.endswith(_OF_IMAGE) else "video"
