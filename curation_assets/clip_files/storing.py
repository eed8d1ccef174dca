"""What a worker does with samples: encode their clips into the home, or copy an image."""

from collections.abc import Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

from curation_assets.clip_files.copying import copy_image
from curation_assets.clip_files.encoding import Wanted, encode_clip, encode_in_one_pass
from curation_assets.settings import ClipFiles
from resources.errors import InputError, TransientError
from resources.ffmpeg import Limits
from resources.files import Files
from resources.media import RGB, VideoSource
from resources.pictures import unpack_pictures

_FIRST_AND_LAST = (0, 8)  # of the stored frames


@dataclass(frozen=True)
class FileTask:
    """`clip` holds the columns of `clips`, `raw_videos` and `frames` that the span needs."""

    clip: Mapping[str, Any]
    file_path: str


@dataclass(frozen=True)
class ClipEncoder:
    """Runs in worker processes."""

    files: Files
    settings: ClipFiles
    limits: Limits

    def __call__(self, tasks: Sequence[FileTask]) -> list[dict[str, Any] | Exception]:
        """A row of `clip_files` for each task, or the InputError or TransientError that it ended in.

        Several tasks are clips of one video, one after another in time; their files are what they are alone.
        """
        if len(tasks) > 1 and not self.settings.copy_where_exact:
            with suppress(InputError, TransientError):
                return [*self._together(tasks)]
        return [self._alone(task) for task in tasks]

    def _together(self, tasks: Sequence[FileTask]) -> list[dict[str, Any]]:
        clip = tasks[0].clip
        with ExitStack() as files:
            wanted = [
                Wanted(task.clip, files.enter_context(self.files.new_file(task.file_path)), self._shown(task))
                for task in tasks
            ]
            rows = encode_in_one_pass(
                wanted, VideoSource.from_row(clip), clip["audio_stream_index"], self.settings, self.limits
            )
        return [{**row, "file_path": task.file_path} for task, row in zip(tasks, rows, strict=True)]

    def _alone(self, task: FileTask) -> dict[str, Any] | Exception:
        source = VideoSource.from_row(task.clip)
        try:
            if source.is_image:
                return copy_image(task.clip, source, str(PurePosixPath(task.file_path).parent), self.files)
            shown = self._shown(task)
            with self.files.new_file(task.file_path) as destination:
                row = encode_clip(
                    task.clip,
                    source,
                    task.clip["audio_stream_index"],
                    self.settings,
                    destination,
                    self.limits,
                    shown,
                )
            return {**row, "file_path": task.file_path}
        except (InputError, TransientError) as failure:
            return failure

    def _shown(self, task: FileTask) -> tuple[RGB, RGB] | None:
        """The stored first and last frame; none for a cropped clip, which isn't as much smaller as they are."""
        if task.clip.get("crop_box"):
            return None
        first, last = unpack_pictures(self.files.read(task.clip["frames_path"]), _FIRST_AND_LAST)
        return first, last
