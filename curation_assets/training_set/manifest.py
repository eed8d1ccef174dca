"""A training sample and what its trainer would stumble over."""

import math
from collections.abc import Callable, Mapping
from typing import Any

from curation_assets.media_types import media_type
from curation_assets.settings import Trainer
from curation_assets.tables import TRAINING_MANIFEST

_COMPUTED = {"type", "caption_tokens", "warnings"}


def manifest_row(unit: Mapping[str, Any], trainer: Trainer, count_tokens: Callable[[str], int]) -> dict[str, Any]:
    """A row of `training_manifest`; `unit` holds its columns but type, caption_tokens and warnings."""
    tokens = count_tokens(unit["text"])
    copied = {name: unit[name] for name in TRAINING_MANIFEST.stage_columns if name not in _COMPUTED}
    return {
        **copied,
        "type": media_type(unit["clip_id"]),
        "caption_tokens": tokens,
        "warnings": _warnings(unit, tokens, trainer),
    }


def frames_needed(trainer: Trainer) -> int:
    """Frames of the shortest clip that fills a sample.

    EasyAnimate's dataset leaves out the first and last tenth and takes every stride-th frame of the rest, so it
    gets int(0.8 * frames // stride) of them.
    """
    return math.ceil(trainer.stride * trainer.frame_count * 10 / 8)


def _warnings(unit: Mapping[str, Any], tokens: int, trainer: Trainer) -> list[str]:
    warnings = []
    frame_count = unit["frame_count"]
    if media_type(unit["clip_id"]) == "video" and frame_count < frames_needed(trainer):
        warnings.append(f"trainer needs {frames_needed(trainer)} frames, has {frame_count}")
    if tokens > trainer.max_caption_tokens:
        about = "" if trainer.tokenizer else "about "
        warnings.append(f"trainer keeps {trainer.max_caption_tokens} tokens, caption has {about}{tokens}")
    return warnings
