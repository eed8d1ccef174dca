"""How well a caption fits its pictures: by networks that embed both, or by `label_similarity`, which needs none.

That is zero-shot: ConSE (Norouzi et al. 2014, https://arxiv.org/abs/1312.5650). A picture's place among sentences is
the mean of its ten likeliest class names' embeddings, weighted with their probabilities. Sentence embeddings share a
common direction that makes everything look a little alike, so both sides are centred first, always with the same
stored vector: a score depends on its own clip alone.
"""

import json
from collections.abc import Mapping, Sequence
from importlib.resources import files
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from curation_assets.engines import checkpoint
from curation_assets.settings import Alignment, VideoClipXl
from resources.checkpoints import WeightsFile
from resources.clip_alignment import ClipAlignment
from resources.networks import AlignmentEngine
from resources.videoclip_xl.engine import VideoClipXlEngine
from resources.videoclip_xl.tokenizer import ClipTokenizer

ENGINE = "label_similarity"
TOP_LABELS = 10
UNIFORM_FRAMES = range(8)  # the ninth stored frame is the last one
UNIT = "centred cosine"


def alignment_networks(settings: Alignment) -> dict[str, AlignmentEngine]:
    """The engines that run on a device."""
    networks: dict[str, AlignmentEngine] = {}
    for engine in settings.engines:
        if engine in ("clip_similarity", "clip_score"):
            networks[engine] = ClipAlignment(engine, checkpoint("alignment", settings, engine))
        elif engine == "videoclip_xl":
            networks[engine] = _videoclip_xl("alignment.videoclip_xl", settings.videoclip_xl)
    return networks


def _videoclip_xl(setting: str, section: VideoClipXl) -> VideoClipXlEngine:
    published = VideoClipXl.model_fields["tokenizer"].default
    return VideoClipXlEngine(
        setting,
        WeightsFile(f"{setting}.weights", section.weights, section.weights_md5),
        ClipTokenizer(setting, published, section.tokenizer, section.tokenizer_revision),
        section.precision,
        section.device,
        section.batch_frames,
    )


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
    return _row(clip_id, caption, ENGINE, scored_by, UNIT, len(scores), sum(scores) / len(scores), scores)


def network_alignment(
    clip_id: str,
    caption: str,
    name: str,
    engine: AlignmentEngine,
    features: tuple[NDArray[np.float32], ...],
    scored_by: Mapping[str, str],
) -> dict[str, Any]:
    """A row of `alignment_scores` from the features of the clip's uniform frames and of its caption."""
    score, frame_scores = engine.score(*features)
    count = len(frame_scores) or len(UNIFORM_FRAMES)
    return _row(clip_id, caption, name, scored_by, engine.unit, count, score, frame_scores)


def _row(
    clip_id: str,
    caption: str,
    engine: str,
    scored_by: Mapping[str, str],
    unit: str,
    frame_count: int,
    score: float,
    frame_scores: Sequence[float],
) -> dict[str, Any]:
    return {
        "clip_id": clip_id,
        "engine": engine,
        "model": scored_by["model"],
        "revision": scored_by["revision"],
        "unit": unit,
        "sampling": f"{frame_count} uniform frames" if frame_count > 1 else "the picture",
        "alignment_score": round(score, 5),
        "frame_scores": [round(frame, 5) for frame in frame_scores],
        "caption": caption,
    }


def _direction(vector: NDArray[np.float32]) -> NDArray[np.float32]:
    length = float(np.linalg.norm(vector))
    unit: NDArray[np.float32] = vector / np.float32(length) if length > 0 else vector
    return unit
