"""One decode of a clip's span, or of several that follow each other: stored frames and every motion score."""

import hashlib
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from curation_assets.frames.motion_engines import MotionEngine, Picture
from curation_assets.settings import Frames
from resources.errors import InputError
from resources.media import Frame, VideoSource, read_frames, require_counted
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


class ClipDecoding:
    """What is wanted of a clip (a row of `clips`), gathered while its frames pass by.

    `frames`: how to store pictures, None to store none. `motion`: the engines to run, by name.
    """

    def __init__(
        self,
        clip: Mapping[str, Any],
        source: VideoSource,
        *,
        frames: Frames | None,
        motion: Mapping[str, MotionEngine],
    ) -> None:
        self.clip = clip
        self._source = source
        self._frames = frames
        self._motion = motion
        count: int = clip["frame_count"]
        duration_s = float((clip["end_pts"] - clip["start_pts"]) * source.time_base)
        self._unmeasured: dict[str, InputError] = {}
        self._meters: dict[str, _MotionMeter] = {}
        for name, engine in motion.items():
            try:
                pairs = engine.pairs(count, duration_s, float(source.frame_rate))
                self._meters[name] = _MotionMeter(name, engine, pairs)
            except InputError as failure:
                self._unmeasured[name] = failure
        self._stored_indices = [0] if source.is_image else sampled_indices("stored", count)
        self._pictures: dict[int, NDArray[np.uint8]] = {}
        self._times_s: dict[int, float] = {}
        self._seen = 0

    def see(self, frame: Frame) -> None:
        """The next frame of the span."""
        index = self._seen
        self._seen += 1
        time_s = float((frame.pts - self.clip["start_pts"]) * self._source.time_base)
        if self._frames and index in self._stored_indices:
            self._pictures[index] = frame.rgb(*frame.size_within(self._frames.longest_side_px))
            self._times_s[index] = time_s
        for name in [name for name in self._meters if name not in self._unmeasured]:
            try:
                self._meters[name].see(index, frame, time_s)
            except InputError as failure:
                self._unmeasured[name] = failure

    def made(self) -> DecodedClip:
        """What the frames gave. Raises InputError when there weren't `frame_count` of them."""
        require_counted(self._source, self.clip, self._seen)
        motion_rows = {name: self._unmeasured.get(name) or self._meters[name].row() for name in self._motion}
        if self._frames is None:
            return DecodedClip(None, None, motion_rows, self._seen)
        packed = pack_pictures([self._pictures[index] for index in self._stored_indices], self._frames.jpeg_quality)
        height, width, _ = self._pictures[0].shape
        self._pictures.clear()  # while the rest of a run is decoded
        frames_row = {
            "frame_indices": self._stored_indices,
            "frame_times_s": [self._times_s[index] for index in self._stored_indices],
            "width": width,
            "height": height,
            "frames_sha256": hashlib.sha256(packed).hexdigest(),
        }
        return DecodedClip(packed, frames_row, motion_rows, self._seen)


def decode_clip(
    clip: Mapping[str, Any],
    source: VideoSource,
    *,
    frames: Frames | None,
    motion: Mapping[str, MotionEngine],
) -> DecodedClip:
    """Decode the span of `clip` once; make its stored frames and its motion scores, as `ClipDecoding` says.

    Raises InputError when the span doesn't hold the clip's frames: the file changed or is damaged.
    """
    decoding = ClipDecoding(clip, source, frames=frames, motion=motion)
    for frame in read_frames(source, clip["start_pts"], clip["end_pts"]):
        decoding.see(frame)
    return decoding.made()


def decode_in_one_pass(source: VideoSource, clips: Sequence[ClipDecoding]) -> list[DecodedClip]:
    """What `decode_clip` gives for each of the clips, which follow each other in time, from one decode of all.

    Raises InputError where they have to be decoded one by one: frames are missing, or anything in the span is damaged.
    What a decoder makes of damage depends on where it began.
    """
    made: list[DecodedClip] = []
    waiting = deque(clips)
    for frame in read_frames(source, clips[0].clip["start_pts"], clips[-1].clip["end_pts"]):
        if frame.after_damage:
            raise InputError(f"{source.uri}: damaged; the clips must be decoded one by one")
        while frame.pts >= waiting[0].clip["end_pts"]:
            made.append(waiting.popleft().made())
        if frame.pts >= waiting[0].clip["start_pts"]:
            waiting[0].see(frame)
    return [*made, *(clip.made() for clip in waiting)]
