"""Runs PySceneDetect's detectors on our frames.

PySceneDetect's own readers take the file's first video stream and fetch pictures at full size. Here detectors get the
chosen stream, scaled to PySceneDetect's working size while colours are converted: 0.5 to 0.9 times the CPU time. Area
averaging keeps less grain than its bilinear sampling, so scores of film are up to 3 lower, of 255.
"""

from collections.abc import Iterator
from typing import TYPE_CHECKING

from resources.media import Frame, VideoSource

if TYPE_CHECKING:
    from scenedetect import SceneDetector


def run_detector(detector: "SceneDetector", source: VideoSource, frames: Iterator[Frame]) -> list[int]:
    """First frames of the shots after the first, as the detector reports them; reads all frames."""
    import cv2
    from scenedetect import FrameTimecode

    width, height = _detection_size(source.width, source.height)
    found: list[FrameTimecode] = []
    # At one frame a second a timecode is a frame number, so lengths count frames also at variable frame rate.
    position = FrameTimecode(0, fps=1.0)
    for index, frame in enumerate(frames):
        position = FrameTimecode(index, fps=1.0)
        picture = cv2.cvtColor(frame.rgb(width, height), cv2.COLOR_RGB2BGR)
        found += detector.process_frame(position, picture)
    found += detector.post_process(position)
    return [cut.frame_num for cut in found]


def _detection_size(width: int, height: int) -> tuple[int, int]:
    """Longer side 256 px, or the video's own size where it is smaller: PySceneDetect's automatic downscaling."""
    from scenedetect.scene_manager import compute_downscale_factor

    factor = compute_downscale_factor(max(width, height))
    return max(1, round(width / factor)), max(1, round(height / factor))
