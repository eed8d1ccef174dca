"""What an image file holds: the probe columns of `raw_videos`, as of a video of one frame that lasts no time."""

from typing import Any

from curation_assets.raw_videos.probing import check_file, gone
from curation_assets.settings import RawVideos
from resources.errors import InputError
from resources.images import read_image


def probe_image(uri: str, limits: RawVideos) -> dict[str, Any]:
    """Decode an image; returns the columns of `raw_videos` from `container` on.

    Raises InputError, with cause and remedy in one sentence, when the file is unreadable, empty, no image, cut off,
    damaged, or above `limits.max_pixels`.
    """
    check_file(uri)
    try:
        image = read_image(uri, limits.max_pixels)
    except FileNotFoundError:
        raise gone(uri) from None
    except InputError as failure:
        raise InputError(f"{uri}: {failure}") from None
    height, width, _ = image.rgb.shape
    return {
        "container": image.format,
        "codec": image.format,
        "pixel_format": image.mode,
        "stream_index": 0,
        "video_stream_count": 1,
        "width": width,
        "height": height,
        "coded_width": image.stored_width,
        "coded_height": image.stored_height,
        "rotation_deg": image.rotation_deg,
        "sample_aspect_ratio": "1",
        "frame_count": 1,
        "duration_s": 0.0,
        "start_time_s": 0.0,
        "time_base": "1",
        "timestamps": "none",
        "is_variable_frame_rate": False,
        "colour_space": "rgb",
        "colour_range": "full",
    }
