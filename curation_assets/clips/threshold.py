"""Fades through black; hard cuts are not seen."""

from collections.abc import Iterator

from curation_assets.clips.detector import Detector, Scored
from curation_assets.clips.pyscenedetect import cuts_by, small_pictures
from curation_assets.settings import Cuts
from resources.media import Frame, VideoSource


def brightness(frames: Iterator[Frame], _: int) -> Iterator[float]:
    """The mean pixel value of each frame."""
    return (float(picture.mean()) for picture in small_pictures(frames))


def find_cuts(video: Scored, source: VideoSource, cuts: Cuts) -> list[int]:
    """The middle of each stretch of frames with a mean pixel value below `fade_threshold`."""
    from scenedetect import ThresholdDetector

    detector = ThresholdDetector(threshold=cuts.fade_threshold, min_scene_len=cuts.min_scene_frames)
    detector.threshold = cuts.fade_threshold  # the constructor drops the decimals
    return cuts_by(detector, video, source)


THRESHOLD = Detector(brightness, find_cuts)
