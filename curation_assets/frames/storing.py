"""What a worker does with a clip: decode its span, store the frames, score the motion."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from curation_assets.frames.decoding import decode_clip
from curation_assets.frames.motion_engines import motion_engines
from curation_assets.settings import Frames, Motion
from resources.errors import InputError
from resources.files import Files
from resources.media import VideoSource


@dataclass(frozen=True)
class ClipTask:
    """`frames_path` is where to store the frames, None to store none; `engines` are the motion engines wanted."""

    clip: Mapping[str, Any]
    frames_path: str | None
    engines: Sequence[str]


@dataclass(frozen=True)
class SampledClip:
    frames_row: dict[str, Any] | None
    motion: Mapping[str, dict[str, Any] | InputError]


@dataclass(frozen=True)
class ClipSampler:
    """Runs in worker processes."""

    files: Files
    frames: Frames
    motion: Motion

    def __call__(self, task: ClipTask) -> SampledClip:
        """Raises InputError when the span can't be decoded as it was counted."""
        decoded = decode_clip(
            task.clip,
            VideoSource.from_row(task.clip),
            frames=self.frames if task.frames_path else None,
            motion={name: engine for name, engine in motion_engines(self.motion).items() if name in task.engines},
        )
        row = decoded.frames_row
        if row is not None and decoded.pictures is not None and task.frames_path is not None:
            self.files.write(task.frames_path, decoded.pictures)
            row |= {
                "video_id": task.clip["video_id"],
                "frames_path": task.frames_path,
                "frames_size_bytes": len(decoded.pictures),
            }
        return SampledClip(row, decoded.motion)
