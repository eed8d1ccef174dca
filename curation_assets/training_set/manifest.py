"""A training sample and what its trainer would stumble over."""

import math
import re
from collections.abc import Mapping
from typing import Any

from curation_assets.settings import Trainer
from curation_assets.tables import TRAINING_MANIFEST

_COMPUTED = {"type", "caption_tokens", "warnings"}
_PIECE = re.compile(r"[^\W\d_]+|\d|[^\w\s]|_")
_FIRST_IDEOGRAPH = "\u2e80"  # from here on scripts without spaces, about a token a character


def manifest_row(unit: Mapping[str, Any], trainer: Trainer) -> dict[str, Any]:
    """A row of `training_manifest`; `unit` holds its columns but type, caption_tokens and warnings."""
    tokens = caption_tokens(unit["text"])
    copied = {name: unit[name] for name in TRAINING_MANIFEST.stage_columns if name not in _COMPUTED}
    return {
        **copied,
        "type": "video",
        "caption_tokens": tokens,
        "warnings": _warnings(unit["frame_count"], tokens, trainer),
    }


def frames_needed(trainer: Trainer) -> int:
    """Frames of the shortest clip that fills a sample.

    EasyAnimate's dataset leaves out the first and last tenth and takes every stride-th frame of the rest, so it
    gets int(0.8 * frames // stride) of them.
    """
    return math.ceil(trainer.stride * trainer.frame_count * 10 / 8)


def caption_tokens(text: str) -> int:
    """An estimate of the tokens of `text`; tokenizers differ by trainer and none need be installed.

    One for each digit, punctuation mark and ideograph; one for each nine letters begun of an English word, each
    three of a word with other letters; one for the end. For English prose within 15 % of BERT's
    WordPiece; a warning made from it means "about".
    """
    return 1 + sum(_piece_tokens(piece) for piece in _PIECE.findall(text))


def _piece_tokens(piece: str) -> int:
    if piece.isascii():
        return math.ceil(len(piece) / 9)
    return len(piece) if max(piece) >= _FIRST_IDEOGRAPH else math.ceil(len(piece) / 3)


def _warnings(frame_count: int, tokens: int, trainer: Trainer) -> list[str]:
    warnings = []
    if frame_count < frames_needed(trainer):
        warnings.append(f"trainer needs {frames_needed(trainer)} frames, has {frame_count}")
    if tokens > trainer.max_caption_tokens:
        warnings.append(f"trainer keeps {trainer.max_caption_tokens} tokens, caption has about {tokens}")
    return warnings
