"""CPU and wall seconds of encoding a video's clips, beside plain ffmpeg's for the same spans and settings.

`python -m benchmarks.encoding VIDEO...` prints a line a video: the median of paired runs, ours over plain. Ours
include the check of every file. Plain is one ffmpeg a span, which stops at the first failure and checks nothing.
"""

import sys
import tempfile
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from benchmarks import limits
from benchmarks.measure import cost_of, median, median_ratio
from curation_assets.clip_files.storing import ClipEncoder, FileTask
from curation_assets.frames.storing import ClipSampler, ClipTask
from curation_assets.raw_videos.probing import probe_video
from curation_assets.settings import ClipFiles, Frames, Motion, RawVideos
from resources.ffmpeg import Limits
from resources.files import Files
from resources.media import VideoSource, read_frames
from resources.timestamps import Timeline

PAIRS = 3
CLIP_S = 4
AT_ONCE = 4
LIMITS = Limits(timeout_s=600, memory_bytes=8 * 2**30)
SETTINGS = ClipFiles()


@dataclass(frozen=True)
class Clips:
    """Spans of `CLIP_S` that fill a video, with their stored frames in `home`."""

    home: Path
    tasks: list[FileTask]

    @classmethod
    def of(cls, video: Path, home: Path) -> "Clips":
        row = {"source_uri": str(video), "video_id": video.stem, **probe_video(str(video), RawVideos())}
        source = VideoSource.from_row(row)
        frames = [(frame.pts, frame.duration) for frame in read_frames(source)]
        timeline = Timeline([*(pts for pts, _ in frames), sum(frames[-1])], source.time_base)
        length = round(CLIP_S * source.frame_rate)
        tasks = []
        for start in range(0, len(frames) - length + 1, length):
            span = timeline.span(start, start + length)
            clip = {**row, **span, "clip_id": f"{start:06d}", "frame_count": length, "frames_path": f"{start}.zip"}
            tasks.append(FileTask(clip, f"{start:06d}.mp4"))
        sampler = ClipSampler(Files(str(home)), Frames(), Motion())
        sampler([ClipTask(task.clip, task.clip["frames_path"], ()) for task in tasks])
        return cls(home, tasks)

    def encode(self, at_once: int) -> None:
        encoder = ClipEncoder(Files(str(self.home)), SETTINGS, LIMITS)
        for first in range(0, len(self.tasks), at_once):
            for outcome in encoder(self.tasks[first : first + at_once]):
                if isinstance(outcome, Exception):
                    raise outcome

    def encode_plainly(self) -> None:
        limits.encode([task.clip for task in self.tasks], self.tasks[0].clip, SETTINGS, self.home / "plain")


def main() -> None:
    for video in map(Path, sys.argv[1:]):
        with tempfile.TemporaryDirectory() as folder:
            clips = Clips.of(video, Path(folder))
            for at_once in (1, AT_ONCE):
                rounds = [
                    (cost_of(clips.encode_plainly), cost_of(partial(clips.encode, at_once))) for _ in range(PAIRS)
                ]
                plain, ours = zip(*rounds, strict=True)
                speed = median_ratio(plain, ours)
                print(
                    f"{video.name}, {len(clips.tasks)} clips, {at_once} at once: {speed.cpu_s:.2f} x plain ffmpeg's "
                    f"speed by CPU seconds ({median(ours).cpu_s:.2f} and {median(plain).cpu_s:.2f}), "
                    f"{speed.wall_s:.2f} x by wall seconds",
                    flush=True,
                )


if __name__ == "__main__":
    main()
