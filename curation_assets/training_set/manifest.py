"""Training samples and what their trainer would stumble over."""

import math
from collections.abc import Callable

import polars as pl

from curation_assets.media_types import IS_IMAGE
from curation_assets.settings import Trainer
from curation_assets.tables import TRAINING_MANIFEST


def manifest_rows(samples: pl.DataFrame, trainer: Trainer, count_tokens: Callable[[str], int]) -> pl.DataFrame:
    """Rows of `training_manifest`; `samples` has its columns but type, caption_tokens and warnings."""
    tokens = pl.Series([count_tokens(text) for text in samples["text"]], dtype=pl.Int64)
    return samples.with_columns(
        type=pl.when(IS_IMAGE).then(pl.lit("image")).otherwise(pl.lit("video")),
        caption_tokens=tokens,
        warnings=pl.concat_list(_too_short(trainer), _too_long(tokens, trainer)).list.drop_nulls(),
    ).select(list(TRAINING_MANIFEST.stage_columns))


def frames_needed(trainer: Trainer) -> int:
    """Frames of the shortest clip that fills a sample.

    EasyAnimate's dataset leaves out the first and last tenth and takes every stride-th frame of the rest, so it
    gets int(0.8 * frames // stride) of them.
    """
    return math.ceil(trainer.stride * trainer.frame_count * 10 / 8)


def _too_short(trainer: Trainer) -> pl.Expr:
    needed, frames = frames_needed(trainer), pl.col("frame_count")
    warning = pl.format(f"trainer needs {needed} frames, has {{}}", frames)
    return pl.when(~IS_IMAGE & (frames < needed)).then(warning)


def _too_long(tokens: pl.Series, trainer: Trainer) -> pl.Expr:
    about = "" if trainer.tokenizer else "about "
    warning = pl.format(f"trainer keeps {trainer.max_caption_tokens} tokens, caption has {about}{{}}", tokens)
    return pl.when(tokens > trainer.max_caption_tokens).then(warning)
