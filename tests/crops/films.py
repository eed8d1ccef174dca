"""Films with bars and subtitles whose places are known exactly."""

from functools import cache
from pathlib import Path

import cv2
import numpy as np

from tests import videos

SUBTITLE = "AND THEN THEY RODE ON"
SUBTITLE_TOP_PX = 214
_X264 = ("-c:v", "libx264", "-preset", "ultrafast", "-crf", "16", "-an")


@cache
def letterboxed() -> Path:
    """`videos.street`, 320x180, between black bars of 40 px: 320x260."""
    return videos.ffmpeg("letterboxed.mp4", "-i", str(videos.street()), "-vf", "pad=320:260:0:40:black", *_X264)


@cache
def subtitled() -> Path:
    """640x272, 25 fps, 60 frames of a street with SUBTITLE on all of them, from SUBTITLE_TOP_PX down."""
    text = np.zeros((272, 640, 4), np.uint8)
    (width, height), _ = cv2.getTextSize(SUBTITLE, cv2.FONT_HERSHEY_SIMPLEX, 0.9, 2)
    at = (640 - width) // 2, SUBTITLE_TOP_PX + height
    cv2.putText(text, SUBTITLE, at, cv2.FONT_HERSHEY_SIMPLEX, 0.9, (255, 255, 255, 255), 2)
    picture = videos.folder() / "subtitle.png"
    cv2.imwrite(str(picture), text)
    filters = "[0:v]trim=start_frame=77:end_frame=137,setpts=PTS-STARTPTS[film];[film][1:v]overlay"
    inputs = ("-i", str(videos.bikes()), "-i", str(picture))
    return videos.ffmpeg("subtitled.mp4", *inputs, "-filter_complex", filters, *_X264)
