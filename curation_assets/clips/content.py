"""Hard cuts by change of content: EasyAnimate's detector."""

from collections.abc import Iterator
from itertools import islice

from curation_assets.clips.detector import Detector, Scored
from curation_assets.clips.pyscenedetect import cuts_by, hsv_differences
from curation_assets.settings import Cuts
from resources.media import Frame, VideoSource


def differences(frames: Iterator[Frame], before: int) -> Iterator[float]:
    """The mean HSV difference of each frame to the one before."""
    return islice(hsv_differences(frames), before, None)


def find_cuts(video: Scored, source: VideoSource, cuts: Cuts) -> list[int]:
    """Frames whose difference reaches `content_threshold`."""
    from scenedetect import ContentDetector

    return cuts_by(
        ContentDetector(threshold=cuts.content_threshold, min_scene_len=cuts.min_scene_frames), video, source
    )


CONTENT = Detector(differences, find_cuts, before=1)
