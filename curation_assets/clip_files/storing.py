"""What a worker does with a sample: encode its clip into the home, or copy its image."""

from collections.abc import Mapping
from pathlib import PurePosixPath
from typing import Any

from curation_assets.clip_files.copying import copy_image
from curation_assets.clip_files.encoding import encode_clip
from curation_assets.settings import ClipFiles
from resources.ffmpeg import Limits
from resources.files import Files
from resources.media import VideoSource
from resources.pictures import unpack_pictures


def encode_and_store(
    clip: Mapping[str, Any], file_path: str, files: Files, settings: ClipFiles, limits: Limits
) -> dict[str, Any]:
    """A row of `clip_files`; `clip` holds the columns of `clips`, `raw_videos` and `frames` that the span needs."""
    source = VideoSource.from_row(clip)
    if source.is_image:
        return copy_image(clip, source, str(PurePosixPath(file_path).parent), files)
    pictures = unpack_pictures(files.read(clip["frames_path"]))
    with files.new_file(file_path) as destination:
        row = encode_clip(
            clip,
            source,
            clip["audio_stream_index"],
            settings,
            destination,
            limits,
            shown=(pictures[0], pictures[-1]),
        )
    return {**row, "file_path": file_path}
