"""Frames decoded and CPU seconds of the steps that decode, counted in this process and in ffmpeg."""

import re
import resource
import subprocess
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest.mock import patch

import polars as pl

from benchmarks.job import Job
from benchmarks.report import Section
from curation_assets.clip_files import encoding
from curation_assets.clips.detection import detect_scenes
from curation_assets.frames.decoding import decode_clip
from curation_assets.frames.motion_engines import motion_engines
from resources import media
from resources.ffmpeg import Limits, ffmpeg_program
from resources.media import RGB, VideoSource
from resources.pictures import unpack_pictures

LIMITS = Limits(timeout_s=600, memory_bytes=8 * 2**30)


@dataclass
class Decoding:
    """The three steps that decode, run in this process so that frames and CPU seconds can be counted."""

    source_frames: int
    clip_frames: int
    encoded_frames: int
    plain_cpu_s: float
    counted: dict[str, int]
    cpu_s: dict[str, float]
    ffmpeg_cpu_s: float

    @classmethod
    def measure(cls, job: Job) -> "Decoding":
        videos = {row["video_id"]: row for row in job.rows("raw_videos").to_dicts() if not row["error"]}
        clips = [row for row in job.rows("clips").to_dicts() if not row["error"] and not row["dropped"]]
        chosen = set(job.rows("clip_files").filter(pl.col("error").is_null()).get_column("clip_id"))
        engines = motion_engines(job.settings.motion)
        sources = {name: VideoSource.from_row(row) for name, row in videos.items()}

        shown: dict[str, tuple[RGB, RGB]] = {}

        def cuts() -> None:
            for name, source in sources.items():
                detect_scenes(source, name, job.settings.cuts)

        def frames_and_motion() -> None:
            for clip in clips:
                made = decode_clip(clip, sources[clip["video_id"]], frames=job.settings.frames, motion=engines)
                if made.pictures is not None and clip["clip_id"] in chosen:
                    first, *_, last = unpack_pictures(made.pictures)
                    shown[clip["clip_id"]] = first, last

        def encode(destination: Path) -> None:
            for clip in clips:
                if clip["clip_id"] in chosen:
                    video = videos[clip["video_id"]]
                    encoding.encode_clip(
                        clip,
                        sources[clip["video_id"]],
                        video["audio_stream_index"],
                        job.settings.clip_files,
                        destination,
                        LIMITS,
                        shown[clip["clip_id"]],
                    )

        counted, cpu_s = Counter[str](), {}
        with counting_decoded_frames() as decoded, tempfile.TemporaryDirectory() as scratch:
            for step, function in (
                ("cut detection", cuts),
                ("frames and motion", frames_and_motion),
                ("encoding", lambda: encode(Path(scratch) / "clip.mp4")),
            ):
                decoded.clear()
                children_s, own_s = children_cpu_s(), time.process_time()
                function()
                cpu_s[step] = time.process_time() - own_s
                ffmpeg_cpu_s = children_cpu_s() - children_s
                for by, frames in decoded.items():
                    counted[f"{step}: {by}"] += frames
        return cls(
            source_frames=sum(row["frame_count"] for row in videos.values()),
            clip_frames=sum(clip["frame_count"] for clip in clips),
            encoded_frames=sum(clip["frame_count"] for clip in clips if clip["clip_id"] in chosen),
            plain_cpu_s=sum(plain_decode_cpu_s(source) for source in sources.values()),
            counted=dict(counted),
            cpu_s=cpu_s,
            ffmpeg_cpu_s=ffmpeg_cpu_s,
        )

    def frames_section(self) -> Section:
        section = Section("Frames decoded, of the sources and of what was encoded")
        in_clips, encoded = self.clip_frames / self.source_frames, self.encoded_frames / self.source_frames
        asked_for = {
            "cut detection: source": (1.0, "every frame once"),
            "frames and motion: source": (in_clips, "the clips' frames once"),
            "encoding: source, by ffmpeg": (encoded, "the encoded clips' frames once"),
            "encoding: source, for the check": (0.0, "none: the file's ends are compared with the stored frames"),
            "encoding: encoded files": (encoded, "each encoded frame once, to check the file"),
        }
        for step, (share, why) in asked_for.items():
            frames = self.counted.get(step.removesuffix(", for the check"), 0)
            measured = f"{frames} frames, {frames / self.source_frames:.3f} x the sources"
            section.add(step, measured, f"{share:.3f} x", why)
        of_sources = sum(frames for step, frames in self.counted.items() if "source" in step)
        aim = 1 + 1.1 * in_clips + 1.1 * encoded
        section.add(
            "source frames decoded by all steps",
            f"{of_sources} frames, {of_sources / self.source_frames:.3f} x the sources",
            f"{aim:.3f} x",
            f"aim: 1 + 1.1 x {in_clips:.3f} in clips + 1.1 x {encoded:.3f} encoded",
        )
        section.remarks.append(
            f"The sources hold {self.source_frames} frames, clips {self.clip_frames}, encoded clips "
            f"{self.encoded_frames}. Decoding starts at a keyframe before the span, which is the difference to the "
            "frames asked for."
        )
        return section

    def cpu_section(self) -> Section:
        section = Section("CPU seconds against a plain decode")
        plain = self.plain_cpu_s
        section.add("plain decode (`ffmpeg -threads 1 -f null`)", f"{plain:.2f} CPU s", "1", "itself")
        in_clips = self.clip_frames / self.source_frames
        for step, floor in (("cut detection", 1.0), ("frames and motion", in_clips)):
            seconds = self.cpu_s[step]
            section.add(
                step,
                f"{seconds:.2f} CPU s, {seconds / plain:.2f} x",
                f"{floor:.2f} x",
                "plain decode of the frames it looks at",
            )
        section.add("encoding: ffmpeg", f"{self.ffmpeg_cpu_s:.2f} CPU s")
        section.add("encoding: check of the files", f"{self.cpu_s['encoding']:.2f} CPU s")
        return section


@contextmanager
def counting_decoded_frames() -> Iterator[Counter[str]]:
    """Counts frames that leave a decoder: of sources, of encoded files, in this process and in ffmpeg."""
    decoded = Counter[str]()
    decode = media._decode

    def counting_decode(source: VideoSource, *span: int | None) -> Iterator[Any]:
        of = "encoded files" if source.uri.endswith(".partial") else "source"
        for item in decode(source, *span):
            decoded[of] += 1
            yield item

    def counting_ffmpeg(arguments: Sequence[str], _: Limits) -> None:
        command = [ffmpeg_program(), "-nostdin", "-hide_banner", "-nostats", "-loglevel", "verbose", *arguments]
        said = subprocess.run(command, capture_output=True, text=True, errors="replace", check=True).stderr
        decoded["source, by ffmpeg"] += sum(map(int, re.findall(r"\(video\): .*?(\d+) frames decoded", said)))

    with patch.object(media, "_decode", counting_decode), patch.object(encoding, "run_ffmpeg", counting_ffmpeg):
        yield decoded


def plain_decode_cpu_s(source: VideoSource) -> float:
    before = children_cpu_s()
    options = ["-map", f"0:{source.stream_index}", "-fps_mode", "passthrough", "-f", "null", "-"]
    subprocess.run(
        [ffmpeg_program(), "-nostdin", "-loglevel", "error", "-threads", "1", "-i", f"file:{source.uri}", *options],
        check=True,
    )
    return children_cpu_s() - before


def children_cpu_s() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime
