"""Scores a clip from its stored frames in a worker process, where each engine is loaded once."""

from functools import cache
from typing import Any

from curation_assets.scores.semantic import semantic_row
from curation_assets.scores.technical import technical_row
from curation_assets.scores.text import text_row
from curation_assets.settings import Semantic, Technical, Text
from resources.files import Files
from resources.image_encoder import open_image_encoder
from resources.pictures import unpack_pictures
from resources.text_reader import open_text_reader

image_encoder = cache(open_image_encoder)
text_reader = cache(open_text_reader)


def semantic(files: Files, frames_path: str, settings: Semantic, engine: str) -> dict[str, Any]:
    return semantic_row(unpack_pictures(files.read(frames_path)), settings, image_encoder(engine))


def text(files: Files, frames_path: str, settings: Text, engine: str) -> dict[str, Any]:
    return text_row(unpack_pictures(files.read(frames_path)), settings, text_reader(engine))


def technical(files: Files, frames_path: str, settings: Technical, engine: str) -> dict[str, Any]:
    return technical_row(unpack_pictures(files.read(frames_path)), settings, engine)
