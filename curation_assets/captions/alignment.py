"""How well a caption fits its pictures, engine `label_similarity`: zero-shot, no picture-text model.

ConSE (Norouzi et al. 2014, https://arxiv.org/abs/1312.5650): a picture's place among sentences is the mean of its
ten likeliest class names' embeddings, weighted with their probabilities. Sentence embeddings share a common
direction that makes everything look a little alike, so both sides are centred first, always with the same stored
vector: a score depends on its own clip alone.
"""

import json
from collections.abc import Mapping, Sequence
from importlib.resources import files
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

ENGINE = "label_similarity"
TOP_LABELS = 10
UNIT = "centred cosine"


class Encoder(Protocol):
    def encode(self, texts: Sequence[str]) -> NDArray[np.float32]: ...


def label_phrase(label: str) -> str:
    """The sentence that stands for a class: names alone embed farther from captions than sentences do."""
    return f"A photo of a {label}."


class LabelSimilarity:
    """Scores captions against class probabilities; `labels` are the classes' names in order."""

    def __init__(self, encoder: Encoder, labels: Sequence[str]) -> None:
        self._encoder = encoder
        self._labels = labels
        self._label_vectors: dict[int, NDArray[np.float32]] = {}
        stored = json.loads(files(__package__).joinpath("label_centre.json").read_text(encoding="utf-8"))
        self._centre = np.array(stored["centre"], np.float32)

    def frame_scores(self, caption: str, probabilities: NDArray[np.float32]) -> list[float]:
        """Centred cosines, -1..1, of `caption` with each of N pictures with (N, classes) probabilities."""
        sentence = _direction(self._encoder.encode([caption])[0] - self._centre)
        return [round(float(self._picture(frame) @ sentence), 5) for frame in probabilities]

    def _picture(self, probabilities: NDArray[np.float32]) -> NDArray[np.float32]:
        top = np.argsort(-probabilities, kind="stable")[:TOP_LABELS]
        weights = probabilities[top] / probabilities[top].sum()
        return _direction(weights @ np.stack([self._label_vector(int(i)) for i in top]) - self._centre)

    def _label_vector(self, index: int) -> NDArray[np.float32]:
        if index not in self._label_vectors:
            self._label_vectors[index] = self._encoder.encode([label_phrase(self._labels[index])])[0]
        return self._label_vectors[index]


def score_alignment(
    clip_id: str,
    caption: str,
    probabilities: NDArray[np.float32],
    scorer: LabelSimilarity,
    scored_by: Mapping[str, str],
) -> dict[str, Any]:
    """A row of `alignment_scores`.

    `probabilities` (N, classes) are of the clip's N uniform frames; `scored_by` holds `model` and `revision`.
    """
    scores = scorer.frame_scores(caption, probabilities)
    return {
        "clip_id": clip_id,
        "engine": ENGINE,
        "model": scored_by["model"],
        "revision": scored_by["revision"],
        "unit": UNIT,
        "sampling": f"{len(scores)} uniform frames",
        "alignment_score": round(sum(scores) / len(scores), 5),
        "frame_scores": scores,
        "caption": caption,
    }


def _direction(vector: NDArray[np.float32]) -> NDArray[np.float32]:
    length = float(np.linalg.norm(vector))
    unit: NDArray[np.float32] = vector / np.float32(length) if length > 0 else vector
    return unit
