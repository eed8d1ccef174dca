"""Compares a shard's new clips with all there are: the rows of `clip_neighbours`."""

import numpy as np
import polars as pl
from numpy.typing import NDArray

from curation_assets.duplicates.neighbours import NearVectors, exact_pairs, perceptual_pairs
from curation_assets.settings import Duplicates
from curation_assets.tables import CLIP_NEIGHBOURS, Scan

HASHED = ("clip_id", "frames_sha256", "frame_count", "frame_hashes")
"""Columns of `clip_hashes` that clips are compared by."""


def neighbours_of(new: pl.DataFrame, scan: Scan, settings: Duplicates) -> pl.DataFrame:
    """The rows of the clips `new`, which have the columns HASHED and lie in `clip_hashes` already.

    Two clips that are new at once in different shards may not see each other's rows of this table, but each sees the
    other's hashes, if those are committed before either looks: so no pair is lost.
    """
    hashed = scan("clip_hashes").filter(pl.col("error").is_null()).select(HASHED).collect()
    found = []
    for kind in settings.kinds:
        match kind:
            case "exact":
                pairs = exact_pairs(new, hashed)
            case "perceptual":
                pairs = perceptual_pairs(new, hashed, settings.max_hash_distance, settings.min_frame_share)
            case "semantic":
                pairs = _semantic_pairs(new["clip_id"], scan, settings)
        found.append(pairs.with_columns(kind=pl.lit(kind)))
    frames = hashed.select("frames_sha256", other_id="clip_id")
    neighbours = (
        pl.concat(found)
        .join(frames, on="other_id")
        .sort("clip_id", "other_id", "kind")
        .group_by("clip_id")
        .agg(
            neighbours=pl.struct(
                clip_id="other_id", frames_sha256="frames_sha256", kind="kind", similarity="similarity"
            )
        )
    )
    none = pl.lit([], CLIP_NEIGHBOURS.schema["neighbours"])
    rows = new.select("clip_id", "frames_sha256").join(neighbours, on="clip_id", how="left", maintain_order="left")
    return rows.with_columns(pl.col("neighbours").fill_null(none))


def _semantic_pairs(new: pl.Series, scan: Scan, settings: Duplicates) -> pl.DataFrame:
    """Of the new clips with any, whose embeddings are read shard by shard: a million are several GiB."""
    embedded = scan("clip_embeddings").filter(engine=settings.engine).filter(pl.col("error").is_null())
    own = embedded.filter(pl.col("clip_id").is_in(new.implode())).select("clip_id", "embedding").collect()
    near = NearVectors(own["clip_id"], _vectors(own), settings.min_cosine)
    shards = embedded.select(pl.col("shard").unique().sort()).collect()["shard"]
    others = (embedded.filter(shard=shard).select("clip_id", "embedding").collect() for shard in shards)
    return pl.concat(near.pairs(part["clip_id"], _vectors(part)) for part in others)


def _vectors(embedded: pl.DataFrame) -> NDArray[np.float32]:
    return embedded["embedding"].explode().to_numpy().reshape(embedded.height, -1)
