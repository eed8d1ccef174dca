"""What a worker does with clips: decode their spans, store the frames, score the motion."""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from curation_assets.frames.decoding import ClipDecoding, DecodedClip, decode_clip, decode_in_one_pass
from curation_assets.frames.motion_engines import motion_engines
from curation_assets.settings import Frames, Motion
from resources.errors import InputError, TransientError
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

    def __call__(self, tasks: Sequence[ClipTask]) -> list[SampledClip | Exception]:
        """What each task gave, or the InputError or TransientError that it ended in.

        Several tasks are clips of one video, one after another in time; what they give is what each gives alone.
        """
        source = VideoSource.from_row(tasks[0].clip)
        together: Sequence[DecodedClip | None] = [None] * len(tasks)
        if not source.is_image:
            with suppress(InputError, TransientError):
                clips = [ClipDecoding(task.clip, source, **self._wanted(task)) for task in tasks]
                together = decode_in_one_pass(source, clips)
        return [self._sampled(task, source, decoded) for task, decoded in zip(tasks, together, strict=True)]

    def _wanted(self, task: ClipTask) -> dict[str, Any]:
        engines = motion_engines(self.motion)
        return {
            "frames": self.frames if task.frames_path else None,
            "motion": {name: engine for name, engine in engines.items() if name in task.engines},
        }

    def _sampled(self, task: ClipTask, source: VideoSource, decoded: DecodedClip | None) -> SampledClip | Exception:
        try:
            return self._stored(task, decoded or decode_clip(task.clip, source, **self._wanted(task)))
        except (InputError, TransientError) as failure:
            return failure

    def _stored(self, task: ClipTask, decoded: DecodedClip) -> SampledClip:
        row = decoded.frames_row
        if row is not None and decoded.pictures is not None and task.frames_path is not None:
            self.files.write(task.frames_path, decoded.pictures)
            row |= {
                "video_id": task.clip["video_id"],
                "frames_path": task.frames_path,
                "frames_size_bytes": len(decoded.pictures),
            }
        return SampledClip(row, decoded.motion)
