"""The file of an image: the picture as it is coded in the source, or a PNG where trainers would see another picture,
or more than what stays of it.

Metadata is left out, since it may say where a picture was taken, and by whom. Trainers open a file and take its RGB.
They don't turn it by its EXIF orientation, show what lies behind transparent parts, and clip 16-bit grey to white.
"""

import hashlib
import io
from collections.abc import Mapping
from typing import Any

from curation_assets.clip_files.checking import MAX_PSNR_DB
from resources.errors import TransientError
from resources.files import Files
from resources.image_metadata import without_metadata
from resources.images import decode_image, png, shows
from resources.media import VideoSource
from resources.object_store import read_bytes
from resources.pictures import cropped


def copy_image(clip: Mapping[str, Any], source: VideoSource, folder: str, files: Files) -> dict[str, Any]:
    """A row of `clip_files`; the file is named by its content.

    Raises TransientError where the source can't be read, or isn't what was registered any more.
    """
    try:
        data = read_bytes(source.uri)
    except OSError as failure:
        raise TransientError(
            f"{source.uri}: can't be opened ({failure.strerror}); restore it or access to it"
        ) from None
    if not hashlib.sha256(data).hexdigest().startswith(clip["video_id"]):
        raise TransientError(f"{source.uri}: the file changed since it was registered; register the source again")
    image = decode_image(io.BytesIO(data), source.pixel_limit)
    kind = image.format
    data = without_metadata(data, kind)
    shown = cropped(image.rgb, clip.get("crop_box"))
    if not shows(data, shown):
        data, kind = png(shown), "png"
    path = f"{folder}/{clip['clip_id']}-{hashlib.sha256(data).hexdigest()[:8]}.{kind}"
    files.write(path, data)
    return {
        "file_path": path,
        "file_size_bytes": len(data),
        "width": shown.shape[1],
        "height": shown.shape[0],
        "frame_count": 1,
        "duration_s": 0.0,
        "video_codec": kind,
        "first_frame_psnr_db": MAX_PSNR_DB,
        "last_frame_psnr_db": MAX_PSNR_DB,
    }
