"""Whether a clip is safe to train on: how likely none of its frames shows pornography."""

from collections.abc import Sequence
from typing import Any

from resources.unsafe_content import UnsafeContentClassifier


def safety_row(unsafe: Sequence[float], classifier: UnsafeContentClassifier, frames: str) -> dict[str, Any]:
    """The `safety_scores` columns of a clip from how likely each of its frames is unsafe; `frames` says which they are.

    `safety_score` is that of the least safe frame: one is enough to leave a clip out.
    """
    scores = [round(1 - probability, 5) for probability in unsafe]
    return {
        "engine": classifier.engine,
        "model": classifier.model,
        "revision": classifier.revision,
        "unit": "probability",
        "sampling": frames,
        "safety_score": min(scores),
        "frame_scores": scores,
    }
