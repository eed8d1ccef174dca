"""Semantic consistency: whether a clip's neighbouring frames show the same thing. A hidden cut doesn't."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from curation_assets.settings import Semantic
from resources.errors import InputError
from resources.image_encoder import ImageEncoder


def semantic_row(pictures: Sequence[NDArray[np.uint8]], settings: Semantic, encoder: ImageEncoder) -> dict[str, Any]:
    """The `semantic_scores` columns of a clip from its stored frames (RGB, in order).

    `pair_scores` are the cosines of neighbours, `semantic_score` the smallest of them: one cut among many
    pairs must show, so the minimum decides, as in EasyAnimate's filter.

    Raises InputError for fewer than two frames.
    """
    if len(pictures) < 2:
        raise InputError(f"semantic consistency needs two frames, found {len(pictures)}; make the frames again")
    features = encoder.encode(pictures).astype(np.float64)
    cosines = np.clip((features[:-1] * features[1:]).sum(axis=1), -1.0, 1.0)
    return {
        "engine": encoder.engine,
        "model": encoder.model,
        "revision": encoder.revision,
        "unit": "cosine",
        "sampling": f"{len(cosines)} pairs of neighbouring stored frames",
        "semantic_score": round(float(cosines.min()), 5),
        "semantic_mean": round(float(cosines.mean()), 5),
        "pair_scores": [round(float(cosine), 5) for cosine in cosines],
    }
