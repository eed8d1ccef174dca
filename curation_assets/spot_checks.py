"""A stored file against its row: read and decoded in a worker process."""

import hashlib
from collections.abc import Mapping
from typing import Any

import av

from resources.errors import InputError
from resources.files import Files
from resources.images import read_image
from resources.media import open_container
from resources.pictures import unpack_pictures

_MADE_ANEW = "delete the file to have it made again"


def frames_are_as_described(files: Files, described: Mapping[str, Any]) -> dict[str, Any]:
    """`described` holds columns of `frames`; gives what was found. Raises InputError where they differ."""
    data = _read(files, described["frames_path"])
    pictures = unpack_pictures(data)
    found = {
        "frame_indices": len(pictures),
        "sizes": sorted({(picture.shape[1], picture.shape[0]) for picture in pictures}),
        "frames_sha256": hashlib.sha256(data).hexdigest(),
    }
    _compare(
        {
            "frame_indices": len(described["frame_indices"]),
            "sizes": [(described["width"], described["height"])],
            "frames_sha256": described["frames_sha256"],
        },
        found,
    )
    return found


def clip_is_as_described(files: Files, described: Mapping[str, Any]) -> dict[str, Any]:
    """`described` holds columns of `clip_files`; gives what was found. Raises InputError where they differ."""
    url = files.url(described["file_path"])
    pixels = 4 * described["width"] * described["height"] + 2**20
    try:
        found = _image(url, pixels) if described["duration_s"] == 0 else _video(url, pixels)
    except (InputError, av.FFmpegError, OSError, ValueError) as failure:
        raise InputError(f"it can't be decoded ({failure}); {_MADE_ANEW}") from None
    size = (described["width"], described["height"])
    _compare({name: described[name] for name in found if name != "sizes"} | {"sizes": [size]}, found)
    return found


def _video(url: str, pixels: int) -> dict[str, Any]:
    with open_container(url, pixels) as container:
        (video,) = container.streams.video
        sizes = [(frame.width, frame.height) for frame in container.decode(video)]
        return {
            "frame_count": len(sizes),
            "sizes": sorted(set(sizes)),
            "video_codec": video.codec.canonical_name,
            "audio_codec": next((stream.codec.canonical_name for stream in container.streams.audio), None),
        }


def _image(url: str, pixels: int) -> dict[str, Any]:
    image = read_image(url, pixels)
    height, width, _ = image.rgb.shape
    return {"frame_count": 1, "sizes": [(width, height)], "video_codec": image.format, "audio_codec": None}


def _read(files: Files, path: str) -> bytes:
    try:
        return files.read(path)
    except OSError as failure:
        raise InputError(f"it can't be read ({failure.strerror or failure}); {_MADE_ANEW}") from None


def _compare(described: Mapping[str, Any], found: Mapping[str, Any]) -> None:
    other = [f"{name} is {found[name]}, not {value}" for name, value in described.items() if found[name] != value]
    if other:
        raise InputError(f"{'; '.join(other)}; {_MADE_ANEW}")
