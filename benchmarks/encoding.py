"""CPU and wall seconds of encoding a video's clips, beside plain ffmpeg's for the same spans and settings.

`python -m benchmarks.encoding VIDEO...` prints a line a video: the median of paired runs, ours over plain. Ours
include the check of every file. Plain is one ffmpeg a span, which stops at the first failure and checks nothing.
"""

import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from curation_assets.clip_files.storing import ClipEncoder, FileTask
from curation_assets.frames.storing import ClipSampler, ClipTask
from curation_assets.raw_videos.probing import probe_video
from curation_assets.settings import ClipFiles, Frames, Motion, RawVideos
from resources.ffmpeg import Limits, ffmpeg_program
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
        for task in self.tasks:
            subprocess.run(_plain(task.clip, self.home / "plain.mp4"), check=True)


def _plain(clip: Mapping[str, Any], destination: Path) -> list[str]:
    command = [ffmpeg_program(), "-nostdin", "-y", "-loglevel", "error", "-threads", "1"]
    command += ["-ss", f"{clip['start_s']:.6f}", "-to", f"{clip['end_s']:.6f}", "-i", f"file:{clip['source_uri']}"]
    command += ["-c:v", SETTINGS.video_codec, "-preset", SETTINGS.preset, "-crf", str(SETTINGS.crf)]
    command += ["-threads:v", str(SETTINGS.encoder_threads), "-g", str(SETTINGS.keyframe_interval)]
    command += ["-pix_fmt", SETTINGS.pixel_format, "-c:a", SETTINGS.audio, "-b:a", f"{SETTINGS.audio_bitrate_kbps}k"]
    return [*command, "-movflags", "+faststart", f"file:{destination}"]


def _spent(function: Callable[[], None]) -> tuple[float, float]:
    """CPU seconds, with those of the programs it runs, and wall seconds."""
    cpu_s, wall_s = _cpu_s(), time.monotonic()
    function()
    return _cpu_s() - cpu_s, time.monotonic() - wall_s


def _cpu_s() -> float:
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(one.ru_utime + one.ru_stime for one in used)


def main() -> None:
    for video in map(Path, sys.argv[1:]):
        with tempfile.TemporaryDirectory() as folder:
            clips = Clips.of(video, Path(folder))
            for at_once in (1, AT_ONCE):
                pairs = []
                for _ in range(PAIRS):
                    ours, plain = _spent(lambda: clips.encode(at_once)), _spent(clips.encode_plainly)  # noqa: B023
                    pairs.append((plain[0] / ours[0], plain[1] / ours[1], ours[0], plain[0]))
                cpu, wall, ours_s, plain_s = (statistics.median(column) for column in zip(*pairs, strict=True))
                print(
                    f"{video.name}, {len(clips.tasks)} clips, {at_once} at once: {cpu:.2f} x plain ffmpeg's speed by "
                    f"CPU seconds ({ours_s:.2f} and {plain_s:.2f}), {wall:.2f} x by wall seconds",
                    flush=True,
                )


if __name__ == "__main__":
    main()
