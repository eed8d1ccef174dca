"""One decode of a clip's span: the stored frames and every motion score."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from curation_assets.frames.motion_engines import MotionEngine, Picture
from curation_assets.settings import Frames
from resources.errors import InputError
from resources.media import Frame, VideoSource, read_clip
from resources.pictures import pack_pictures
from resources.sampling import sampled_indices

_DECIMALS = 5  # EasyAnimate's


@dataclass(frozen=True)
class DecodedClip:
    """What one decode gave.

    `pictures` is the zip of the stored frames, `frames_row` its columns of `frames` (None when not asked
    for). `motion` holds each engine's columns of `motion_scores`, or why that engine has none.
    `decoded_frames` are those of the span.
    """

    pictures: bytes | None
    frames_row: dict[str, Any] | None
    motion: dict[str, dict[str, Any] | InputError]
    decoded_frames: int


class _MotionMeter:
    """Scores an engine's pairs while the frames pass by; holds one picture at a time."""

    def __init__(self, name: str, engine: MotionEngine, pairs: list[tuple[int, int]]) -> None:
        self._name = name
        self._engine = engine
        self._pairs = pairs
        self._scores: list[float] = []
        self._first: tuple[Picture, float] | None = None

    def see(self, index: int, frame: Frame, time_s: float) -> None:
        if len(self._scores) == len(self._pairs) or index not in self._pairs[len(self._scores)]:
            return
        picture = self._engine.picture(frame)
        if self._first is not None:
            before, before_s = self._first
            self._scores.append(self._engine.score(before, picture, time_s - before_s))
        goes_on = len(self._scores) < len(self._pairs) and index == self._pairs[len(self._scores)][0]
        self._first = (picture, time_s) if goes_on else None

    def row(self) -> dict[str, Any]:
        scores = self._scores
        return {
            "engine": self._name,
            "model": self._engine.model,
            "revision": self._engine.revision,
            "unit": self._engine.unit,
            "sampling": self._engine.sampling,
            "motion_score": _rounded(np.mean(scores)),
            "motion_min": _rounded(min(scores)),
            "motion_max": _rounded(max(scores)),
            "motion_p90": _rounded(np.percentile(scores, 90)),
            "pair_scores": [_rounded(score) for score in scores],
            "pair_frames": [list(pair) for pair in self._pairs],
        }


def _rounded(score: float | np.floating[Any]) -> float:
    return round(float(score), _DECIMALS)


def decode_clip(
    clip: Mapping[str, Any],
    source: VideoSource,
    *,
    frames: Frames | None,
    motion: Mapping[str, MotionEngine],
) -> DecodedClip:
    """Decode the span of `clip` (a row of `clips`) once; make its stored frames and its motion scores.

    `frames`: how to store pictures, None to store none. `motion`: the engines to run, by name.

    Raises InputError when the span doesn't hold the clip's frames: the file changed or is damaged.
    """
    count: int = clip["frame_count"]
    duration_s = float((clip["end_pts"] - clip["start_pts"]) * source.time_base)
    unmeasured: dict[str, InputError] = {}
    meters: dict[str, _MotionMeter] = {}
    for name, engine in motion.items():
        try:
            meters[name] = _MotionMeter(name, engine, engine.pairs(count, duration_s, float(source.frame_rate)))
        except InputError as failure:
            unmeasured[name] = failure

    stored_indices = [0] if source.is_image else sampled_indices("stored", count)
    pictures: dict[int, NDArray[np.uint8]] = {}
    times_s: dict[int, float] = {}
    for index, frame in enumerate(read_clip(source, clip)):
        time_s = float((frame.pts - clip["start_pts"]) * source.time_base)
        if frames and index in stored_indices:
            pictures[index] = frame.rgb(*frame.size_within(frames.longest_side_px))
            times_s[index] = time_s
        for name in [name for name in meters if name not in unmeasured]:
            try:
                meters[name].see(index, frame, time_s)
            except InputError as failure:
                unmeasured[name] = failure

    motion_rows = {name: unmeasured.get(name) or meters[name].row() for name in motion}
    if frames is None:
        return DecodedClip(None, None, motion_rows, count)
    packed = pack_pictures([pictures[index] for index in stored_indices], frames.jpeg_quality)
    height, width, _ = pictures[0].shape
    frames_row = {
        "frame_indices": stored_indices,
        "frame_times_s": [times_s[index] for index in stored_indices],
        "width": width,
        "height": height,
        "frames_sha256": hashlib.sha256(packed).hexdigest(),
    }
    return DecodedClip(packed, frames_row, motion_rows, count)
