"""Fades through black; hard cuts are not seen."""

from collections.abc import Iterator

from curation_assets.clips.pyscenedetect import run_detector
from curation_assets.settings import Cuts
from resources.media import Frame, VideoSource


def find_cuts(source: VideoSource, frames: Iterator[Frame], cuts: Cuts) -> list[int]:
    """The middle of each stretch of frames with a mean pixel value below `fade_threshold`."""
    from scenedetect import ThresholdDetector

    detector = ThresholdDetector(threshold=cuts.fade_threshold, min_scene_len=cuts.min_scene_frames)
    detector.threshold = cuts.fade_threshold  # the constructor drops the decimals
    return run_detector(detector, source, frames)
