"""How beautiful a clip's frames are, by predictors trained on people's ratings."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from curation_assets.engines import checkpoint
from curation_assets.settings import Aesthetic
from resources.aesthetics import AestheticPredictor
from resources.checkpoints import WeightsFile
from resources.image_towers import ImageTower

_FAMILIES = {"siglip_v2_5": "siglip", "laion_v2": "clip"}


def aesthetic_networks(settings: Aesthetic) -> dict[str, AestheticPredictor]:
    """The engines that are on."""
    return {
        engine: AestheticPredictor(
            ImageTower(_FAMILIES[engine], checkpoint("aesthetic", settings, engine)),
            WeightsFile(f"aesthetic.{engine}.head", model.head, model.head_md5),
        )
        for engine in settings.engines
        for model in (getattr(settings, engine),)
    }


def aesthetic_row(figures: NDArray[np.float32], engine: str, made_by: Mapping[str, str], frames: str) -> dict[str, Any]:
    """The `aesthetic_scores` columns of a clip from the figures (N, 1) of its frames.

    `made_by` holds `model` and `revision`, `frames` says which they are.
    """
    scores = [round(float(figure), 5) for figure in figures[:, 0]]
    return {
        "engine": engine,
        **made_by,
        "unit": "rating, roughly 1..10",
        "sampling": frames,
        "aesthetic_score": round(float(figures.mean(dtype=np.float64)), 5),
        "frame_scores": scores,
    }
