"""A clip's file holds exactly its span, whatever the source looks like."""

import resource
import subprocess
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import av
import numpy as np
import pytest

from curation_assets.clip_files.encoding import encode_clip
from curation_assets.raw_videos.probing import probe_video
from curation_assets.settings import ClipFiles, RawVideos
from curation_assets.tables import CLIP_FILES
from resources.errors import InputError, TransientError
from resources.ffmpeg import Limits, ffmpeg_program, run_ffmpeg
from resources.media import VideoSource, read_frames
from resources.timestamps import Timeline
from tests import videos

LIMITS = Limits(timeout_s=60, memory_bytes=4 * 2**30)
SETTINGS = ClipFiles()


class Probed(NamedTuple):
    source: VideoSource
    audio_stream_index: int | None
    timeline: Timeline


def probed(path: Path) -> Probed:
    row = {"source_uri": str(path), **probe_video(str(path), RawVideos())}
    source = VideoSource.from_row(row)
    frames = [(frame.pts, frame.duration) for frame in read_frames(source)]
    boundaries = [*(pts for pts, _ in frames), sum(frames[-1])]
    return Probed(source, row["audio_stream_index"], Timeline(boundaries, source.time_base))


def span(video: Probed, start: int, end: int) -> dict[str, Any]:
    return {**video.timeline.span(start, end), "frame_count": end - start}


def encode(
    video: Probed, start: int, end: int, folder: Path, settings: ClipFiles = SETTINGS
) -> tuple[dict[str, Any], Path]:
    path = folder / "clip.mp4"
    clip = span(video, start, end)
    return encode_clip(clip, video.source, video.audio_stream_index, settings, path, LIMITS), path


def decoded(path: Path) -> tuple[list[np.ndarray], list[Fraction]]:
    with av.open(str(path)) as container:
        frames = list(container.decode(video=0))
        return [f.to_ndarray(format="rgb24") for f in frames], [f.pts * f.time_base for f in frames]


def numbers(path: Path) -> list[int]:
    return [videos.frame_number(picture) for picture in decoded(path)[0]]


X264 = ("-c:v", "libx264", "-preset", "ultrafast", "-bf", "2", "-c:a", "aac")
LONG_GOP = ("-c:v", "libx264", "-preset", "veryfast", "-g", "600", "-sc_threshold", "0", "-c:a", "aac")
MPEG2 = ("-c:v", "mpeg2video", "-q:v", "2", "-g", "12", "-bf", "2", "-c:a", "mp2")


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("plain.mp4", X264),
        ("long_gop.mp4", LONG_GOP),
        ("long_gop.mkv", LONG_GOP),
        ("late.mkv", (*X264, "-output_ts_offset", "5.3")),
        ("late.mp4", (*X264, "-output_ts_offset", "5.3")),
        ("late.ts", (*X264, "-output_ts_offset", "5.3")),
        ("long_gop.ts", (*LONG_GOP, "-output_ts_offset", "5.3")),
        ("mpeg2.ts", MPEG2),
        ("ps.mpg", (*MPEG2, "-output_ts_offset", "5.3")),
        ("b_frames.avi", X264),
        ("rare_keyframes.webm", ("-c:v", "libvpx", "-g", "400", "-deadline", "realtime", "-cpu-used", "8")),
        ("film.mov", (*X264, "-r", "24000/1001")),
        ("flash.flv", (*X264, "-ar", "44100")),
    ],
)
def test_the_file_holds_exactly_the_frames_of_the_span(name, arguments, tmp_path):
    video = probed(videos.numbered(f"numbered_{name}", *arguments, frames=400))
    start, end = 331, 356
    row, path = encode(video, start, end, tmp_path)
    # The film's frames are a selection of the 400 made; the source's own numbers are the truth.
    times = video.timeline.boundaries
    wanted = [
        videos.frame_number(f.rgb()) for f in read_frames(video.source) if times[start] <= f.pts < times[end]
    ]
    assert numbers(path) == wanted
    assert row["frame_count"] == end - start == len(wanted)
    assert row["duration_s"] == pytest.approx(float((times[end] - times[start]) * video.source.time_base), abs=1e-6)
    assert min(row["first_frame_psnr_db"], row["last_frame_psnr_db"]) > 25
    assert decoded(path)[1][0] == 0
    if video.audio_stream_index is not None:
        with av.open(str(path)) as container:
            sound = container.streams.audio[0]
            assert float(sound.duration * sound.time_base) == pytest.approx(
                row["duration_s"], abs=1024 / sound.rate
            )


@pytest.mark.parametrize(("start", "end"), [(0, 400), (0, 1), (399, 400), (250, 251), (249, 301)])
def test_spans_at_the_edges_of_a_video_and_of_its_groups_of_pictures(start, end, tmp_path):
    video = probed(videos.numbered("numbered_plain.mp4", *X264, frames=400))
    _, path = encode(video, start, end, tmp_path)
    assert numbers(path) == list(range(start, end))
