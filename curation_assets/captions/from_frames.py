"""Captions and alignment scores made of a clip's stored frames in a worker process, where models are loaded once."""

import json
from collections.abc import Sequence
from functools import cache
from typing import Any

from curation_assets.captions.alignment import LabelSimilarity, score_alignment
from curation_assets.captions.facts import collect_facts, facts_caption
from resources.files import Files
from resources.image_encoder import EfficientNetLite0
from resources.pictures import unpack_pictures
from resources.sentence_encoder import open_sentence_encoder

UNIFORM_FRAMES = range(8)  # the ninth stored frame is the last one

classifier = cache(EfficientNetLite0)


@cache
def label_similarity() -> LabelSimilarity:
    return LabelSimilarity(open_sentence_encoder(), classifier().labels())


def facts(
    files: Files,
    frames_path: str,
    frames_sha256: str,
    duration_s: float,
    motion_score: float | None,
    texts: Sequence[str],
    made_by: dict[str, str],
) -> dict[str, Any]:
    """A row of `captions` by engine `facts`; `made_by` holds `model` and `revision`."""
    pictures = unpack_pictures(files.read(frames_path), UNIFORM_FRAMES)
    probabilities = classifier().probabilities(pictures)
    known = collect_facts(pictures, probabilities, classifier().labels(), duration_s, motion_score, texts=texts)
    return {
        "caption": facts_caption(known),
        "status": "ok",
        "frames_sha256": frames_sha256,
        "facts": json.dumps(known, ensure_ascii=False),
        "engine": "facts",
        **made_by,
        "attempts": 1,
    }


def alignment(files: Files, frames_path: str, clip_id: str, caption: str, made_by: dict[str, str]) -> dict[str, Any]:
    """A row of `alignment_scores` by engine `label_similarity`."""
    pictures = unpack_pictures(files.read(frames_path), UNIFORM_FRAMES)
    return score_alignment(clip_id, caption, classifier().probabilities(pictures), label_similarity(), made_by)
