"""Hard cuts by change of content relative to the neighbouring frames, which lets fast camera motion pass."""

from collections.abc import Iterator

from curation_assets.clips.pyscenedetect import run_detector
from curation_assets.settings import Cuts
from resources.media import Frame, VideoSource


def find_cuts(source: VideoSource, frames: Iterator[Frame], cuts: Cuts) -> list[int]:
    """Frames whose mean HSV difference is `adaptive_threshold` times that of the frames around them."""
    from scenedetect import AdaptiveDetector

    detector = AdaptiveDetector(
        adaptive_threshold=cuts.adaptive_threshold,
        min_scene_len=cuts.min_scene_frames,
        window_width=cuts.adaptive_window_frames,
        min_content_val=cuts.adaptive_min_content,
    )
    return run_detector(detector, source, frames)
