"""Scores a clip from its frames in a worker process, where each engine is loaded once."""

from functools import cache
from typing import Any

import numpy as np

from curation_assets.scores.sampling import ClipFrames
from curation_assets.scores.technical import technical_row
from curation_assets.scores.text import found_in, text_row
from curation_assets.settings import Technical, Text
from resources.networks import Arrays, PictureEngine
from resources.text_reader import open_text_reader

text_reader = cache(open_text_reader)


def network_input(engine: PictureEngine, frames: ClipFrames) -> Arrays:
    """What a network on a device is run over, the frames as it takes them; and their indices, which pass it by."""
    indices, prepared = zip(*((index, engine.prepare([picture])) for index, picture in frames), strict=True)
    return (*(np.concatenate(arrays) for arrays in zip(*prepared, strict=True)), np.array(indices))


def text(frames: ClipFrames, settings: Text, engine: str) -> dict[str, Any]:
    reader = text_reader(engine)
    indices, found = zip(*((index, found_in(picture, settings, reader)) for index, picture in frames), strict=True)
    return text_row(found, reader, frames.in_words(indices))


def technical(frames: ClipFrames, settings: Technical, engine: str) -> dict[str, Any]:
    return technical_row([picture for _, picture in frames], settings, engine)
