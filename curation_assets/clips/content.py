"""Hard cuts by change of content: EasyAnimate's detector."""

from collections.abc import Iterator

from curation_assets.clips.pyscenedetect import run_detector
from curation_assets.settings import Cuts
from resources.media import Frame, VideoSource


def find_cuts(source: VideoSource, frames: Iterator[Frame], cuts: Cuts) -> list[int]:
    """Frames whose mean HSV difference to the frame before reaches `content_threshold`."""
    from scenedetect import ContentDetector

    detector = ContentDetector(threshold=cuts.content_threshold, min_scene_len=cuts.min_scene_frames)
    return run_detector(detector, source, frames)
