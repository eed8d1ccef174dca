"""Frame timestamps of a video and of spans of it, in exact arithmetic."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any


def pack_timestamps(pts: Sequence[int], end_pts: int) -> list[int] | None:
    """The timestamps as a span stores them: null where the frames are equally spaced up to `end_pts`."""
    step, rest = divmod(end_pts - pts[0], len(pts))
    if rest == 0 and all(stamp == pts[0] + k * step for k, stamp in enumerate(pts)):
        return None
    return list(pts)


def frame_timestamps(span: Mapping[str, Any]) -> list[int]:
    """The timestamp of every frame of a span, given its row of `scenes` or `clips`."""
    if span["frame_pts"] is not None:
        return list(span["frame_pts"])
    count = span["end_frame"] - span["start_frame"]
    step = (span["end_pts"] - span["start_pts"]) // count
    return [span["start_pts"] + k * step for k in range(count)]


@dataclass(frozen=True)
class Timeline:
    """All frames of a video.

    `boundaries`: the strictly rising timestamps of its N frames, then the one at which the last frame ends
    (N + 1 values), in units of `time_base` seconds.
    """

    boundaries: Sequence[int]
    time_base: Fraction

    def seconds(self, frame: int) -> Fraction:
        """s from the first frame to the start of `frame`; frame N is the end of the video."""
        return (self.boundaries[frame] - self.boundaries[0]) * self.time_base

    def pts(self, seconds: Fraction) -> Fraction:
        """The timestamp, seldom a whole one, that lies `seconds` after the first frame's."""
        return self.boundaries[0] + seconds / self.time_base

    def span(self, start_frame: int, end_frame: int) -> dict[str, Any]:
        """The columns that say which frames a span holds and when; `end_frame` is exclusive."""
        end_pts = self.boundaries[end_frame]
        return {
            "start_frame": start_frame,
            "end_frame": end_frame,
            "start_s": float(self.seconds(start_frame)),
            "end_s": float(self.seconds(end_frame)),
            "start_pts": self.boundaries[start_frame],
            "end_pts": end_pts,
            "frame_pts": pack_timestamps(self.boundaries[start_frame:end_frame], end_pts),
        }
