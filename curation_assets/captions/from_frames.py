"""Captions and alignment scores made of a clip's stored frames in a worker process, where models are loaded once."""

import hashlib
import json
from collections.abc import Sequence
from functools import cache
from typing import Any

from curation_assets.captions.alignment import UNIFORM_FRAMES, LabelSimilarity, score_alignment
from curation_assets.captions.facts import collect_facts, facts_caption
from resources.errors import TransientError
from resources.files import Files
from resources.image_encoder import EfficientNetLite0
from resources.networks import AlignmentEngine, Arrays
from resources.pictures import Box, pack_pictures, unpack_jpegs, unpack_pictures
from resources.sentence_encoder import open_sentence_encoder

CROPPED_JPEG_QUALITY = 95

classifier = cache(EfficientNetLite0)


@cache
def label_similarity() -> LabelSimilarity:
    return LabelSimilarity(open_sentence_encoder(), classifier().labels())


def read_frames(files: Files, frames_path: str, frames_sha256: str) -> bytes:
    """The zip of a clip's stored frames, as the clip's row names it.

    Raises TransientError when it is gone or another file: text must not be written about other pictures.
    """
    try:
        data = files.read(frames_path)
    except FileNotFoundError:
        raise TransientError(f"{frames_path}: the stored frames are gone; refresh `frames`, then this") from None
    if hashlib.sha256(data).hexdigest() != frames_sha256:
        raise TransientError(
            f"{frames_path}: these are not the frames that the clip's row names; delete the file, refresh `frames`, "
            "then this"
        )
    return data


def sent_jpegs(stored_zip: bytes, box: Box | None) -> list[bytes]:
    """The uniform frames as they are stored; what lies in the box as new JPEGs, of a quality that shows no loss."""
    if box is None:
        return unpack_jpegs(stored_zip, UNIFORM_FRAMES)
    return unpack_jpegs(pack_pictures(unpack_pictures(stored_zip, UNIFORM_FRAMES, box), CROPPED_JPEG_QUALITY))


def facts(
    files: Files,
    frames_path: str,
    frames_sha256: str,
    duration_s: float,
    motion_score: float | None,
    texts: Sequence[str],
    made_by: dict[str, str],
    box: Box | None,
) -> dict[str, Any]:
    """A row of `captions` by engine `facts`; `made_by` holds `model` and `revision`, `box` what stays of a picture."""
    pictures = unpack_pictures(read_frames(files, frames_path, frames_sha256), UNIFORM_FRAMES, box)
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


def network_input(engine: AlignmentEngine, files: Files, frames_path: str, caption: str, box: Box | None) -> Arrays:
    """What a network on a device is run over: the uniform frames and the caption, as it takes them."""
    return engine.prepare(unpack_pictures(files.read(frames_path), UNIFORM_FRAMES, box), caption)


def alignment(
    files: Files, frames_path: str, clip_id: str, caption: str, made_by: dict[str, str], box: Box | None
) -> dict[str, Any]:
    """A row of `alignment_scores` by engine `label_similarity`."""
    pictures = unpack_pictures(files.read(frames_path), UNIFORM_FRAMES, box)
    return score_alignment(clip_id, caption, classifier().probabilities(pictures), label_similarity(), made_by)
