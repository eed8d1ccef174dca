"""The frames of a clip that a score looks at: stored ones, or others decoded from the source; read in workers."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from curation_assets.media_types import media_type
from curation_assets.settings import Sampling
from resources.files import Files
from resources.media import VideoSource, read_clip
from resources.pictures import Box, cropped, present, unpack_pictures
from resources.sampling import BY_KEYFRAME, STORED_FRAMES, sampled_indices, stored_positions

Picture = NDArray[np.uint8]
Indices = Sequence[int] | NDArray[np.int_]
Chosen = tuple[int, ...] | Sampling
"""Positions among a clip's stored frames; or how to sample it, where those may lack what is asked for."""
ALL_STORED = tuple(range(STORED_FRAMES))


def chosen_by(sampling: Sampling) -> Chosen:
    return stored_positions(sampling.method, sampling.frames) or sampling


@dataclass(frozen=True)
class StoredFrames:
    """Iterates over `positions` among a clip's stored frames and the pictures there; an image has a single one.

    `box` is the part of a stored picture that stays of it; None: all.
    """

    files: Files
    clip_id: str
    frames_path: str
    positions: tuple[int, ...]
    box: Box | None = None

    def __iter__(self) -> Iterator[tuple[int, Picture]]:
        """Raises InputError when a picture is missing or damaged."""
        pictures = unpack_pictures(self.files.read(self.frames_path), self.positions, self.box)
        stored = 1 if media_type(self.clip_id) == "image" else STORED_FRAMES
        return zip(present(self.positions, stored), pictures, strict=True)

    def in_words(self, positions: Indices) -> str:
        if media_type(self.clip_id) == "image":
            return "the picture"
        if len(positions) == STORED_FRAMES:
            return "stored frames"
        return f"stored {_listed(positions)} of 0..{STORED_FRAMES - 1}"


@dataclass(frozen=True)
class DecodedFrames:
    """Iterates over the indices of a clip's sampled frames, rising, and their pictures, RGB at full size.

    `clip` is a row of `clips` with what its source is read by, and `crop_box` where it is cropped. One picture is held
    at a time: every frame of a source may be a keyframe.
    """

    clip: Mapping[str, Any]
    sampling: Sampling

    def __iter__(self) -> Iterator[tuple[int, Picture]]:
        """Raises InputError for a clip that the method doesn't suit, and when its span doesn't hold its frames."""
        source = VideoSource.from_row(self.clip)
        keyframes = [0]
        chosen = Counter(self._indices(source, keyframes))
        for index, frame in enumerate(read_clip(source, self.clip)):
            if index and self.sampling.method in BY_KEYFRAME and frame.is_intra:
                keyframes.append(index)
                chosen = Counter(self._indices(source, keyframes))
            if index in chosen:
                picture = cropped(frame.rgb(), self.clip.get("crop_box"))
                yield from [(index, picture)] * chosen[index]

    def _indices(self, source: VideoSource, keyframes: Sequence[int]) -> list[int]:
        sampling = self.sampling
        if source.is_image:
            return [0]
        return sampled_indices(
            sampling.method,
            self.clip["frame_count"],
            frames=sampling.frames,
            stride=sampling.stride,
            seed=f"{sampling.seed} {self.clip['clip_id']}",
            frame_rate=source.frame_rate,
            keyframes=keyframes,
        )

    def in_words(self, indices: Indices) -> str:
        if media_type(self.clip["clip_id"]) == "image":
            return "the picture, decoded from the file"
        return f"{_listed(indices)} ({self.sampling.method}), decoded from the video"


ClipFrames = StoredFrames | DecodedFrames


def _listed(indices: Indices) -> str:
    return f"frame{'s' * (len(indices) > 1)} {', '.join(map(str, indices))}"
