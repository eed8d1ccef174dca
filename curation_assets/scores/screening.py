"""Looks a clip's frames over, in a worker process, for what nobody wants to train on: unsafe content, watermarks."""

from functools import cache
from typing import Any

from curation_assets.scores.safety import safety_row
from curation_assets.scores.sampling import ClipFrames
from curation_assets.scores.watermark import watermark_row
from resources.unsafe_content import open_unsafe_content_classifier

classifier = cache(open_unsafe_content_classifier)


def safety(frames: ClipFrames, engine: str) -> dict[str, Any]:
    opened = classifier(engine)
    indices, unsafe = zip(*((index, opened.probability(picture)) for index, picture in frames), strict=True)
    return safety_row(unsafe, opened, frames.in_words(indices))


def watermark(frames: ClipFrames, engine: str) -> dict[str, Any]:
    indices, pictures = zip(*frames, strict=True)
    return watermark_row(pictures, engine, frames.in_words(indices))
