"""Nested tiers of a training set: each holds the samples of the one before it that pass its own bounds too."""

from collections.abc import Iterator

import polars as pl

from curation_assets.filters import tier_filters
from curation_assets.selection.scored import hash_of, removes, with_scores
from curation_assets.settings import Settings, Tier
from curation_assets.tables import Scan


def tiers(samples: pl.DataFrame, scan: Scan, settings: Settings) -> Iterator[tuple[Tier, pl.DataFrame]]:
    """The tiers of `settings` with their rows of `samples` (of `training_manifest`), in order of clip_id.

    A score that is missing, null, NaN or infinite never passes; one of a caption counts where it is of the sample's.
    """
    own_filters = [tier_filters(tier, settings) for tier in settings.tiers]
    captioned = samples.lazy().select("shard", "clip_id", caption_hash=hash_of("text"))
    scored = with_scores(captioned, scan, [filter_ for filters in own_filters for filter_ in filters])
    for tier, filters in zip(settings.tiers, own_filters, strict=True):
        for filter_ in filters:
            scored = scored.filter(~removes(filter_))
        yield tier, samples.join(scored, on="clip_id", how="semi").sort("clip_id")
