"""Shot boundaries of a video from one full decode."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from curation_assets.clips import adaptive, content, threshold, transnetv2
from curation_assets.settings import Cuts
from resources.media import Frame, VideoSource, read_frames
from resources.timestamps import Timeline


def _find_none(source: VideoSource, frames: Iterator[Frame], cuts: Cuts) -> list[int]:
    for _ in frames:
        pass
    return []


DETECTORS: Mapping[str, Callable[[VideoSource, Iterator[Frame], Cuts], list[int]]] = {
    "content": content.find_cuts,
    "adaptive": adaptive.find_cuts,
    "threshold": threshold.find_cuts,
    "transnetv2": transnetv2.find_cuts,
    "none": _find_none,
}
"""Each reads all frames and returns the first frames of the shots after the first."""


def detect_scenes(source: VideoSource, video_id: str, cuts: Cuts) -> list[dict[str, Any]]:
    """The shots of a video, in order, as the own columns of `scenes`: they tile the frames that can be decoded.

    A video without a cut is one shot, and so is an image, which lasts no time. Raises InputError when the video can't
    be read, EngineUnavailable when the detector's model is missing.
    """
    pts: list[int] = []
    end_pts = 0

    def frames() -> Iterator[Frame]:
        nonlocal end_pts
        for frame in read_frames(source):
            pts.append(frame.pts)
            end_pts = frame.pts + frame.duration
            yield frame

    if source.is_image:
        pts, found = [0], []
    else:
        found = DETECTORS[cuts.detector](source, frames(), cuts)
    timeline = Timeline([*pts, end_pts], source.time_base)
    starts = sorted({0, *(cut for cut in found if 0 < cut < len(pts))})
    ends = [*starts[1:], len(pts)]
    return [
        {
            "video_id": video_id,
            "scene_index": scene_index,
            **timeline.span(start, end),
            "ends_at_cut": end < len(pts),
            "detector": cuts.detector,
        }
        for scene_index, (start, end) in enumerate(zip(starts, ends, strict=True))
    ]
