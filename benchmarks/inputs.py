"""The videos that speed is measured on: real footage from packages, as it is and in other sizes, rates and codecs.

Made once and kept under .reelhouse-bench/. Footage that was scaled up has grain added at its new size, since it has no
detail of its own there and would be decoded faster than what a camera recorded.
"""

import os
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from deployments.demo.films import FILL_SMALL, Film, Shot
from deployments.demo.sample_videos import filter_graph, locate
from resources.ffmpeg import ffmpeg_program

FOLDER = Path(".reelhouse-bench")
GRAIN = "noise=alls=4:allf=t"
FOOTAGE = ("bunny", "bikes", "city")

_SCENES = (
    Shot("bunny", 0, 132, "null", there_and_back=True),
    Shot("city", 0, 116, "null", there_and_back=True),
    Shot("city", 116, 190, "null", there_and_back=True),
    Shot("bikes", 76, 137, FILL_SMALL, there_and_back=True),
)
_TWO_SCENES = (Shot("bunny", 0, 132, "null"), Shot("city", 0, 116, "null"))
_SHORT_SCENES = (Shot("bunny", 0, 100, "null"), Shot("city", 0, 40, "null"))

_X264 = "libx264 -preset veryfast -crf 22"
_X265 = "libx265 -preset ultrafast -crf 26 -x265-params log-level=error"
_VP9 = "libvpx-vp9 -deadline realtime -cpu-used 8 -row-mt 1 -crf 34 -b:v 0"
_AV1 = "libsvtav1 -preset 12 -crf 38 -svtav1-params film-grain=0"


@dataclass(frozen=True)
class Made:
    """A generated video; `encoder` is ffmpeg's name of one, with its options."""

    name: str
    height: int
    frames_per_s: int
    shots: tuple[Shot, ...]
    encoder: str

    @property
    def width(self) -> int:
        return round(self.height * 16 / 9 / 2) * 2


MADE = (
    Made("h264_480p24.mp4", 480, 24, _SCENES, _X264),
    Made("h264_720p30.mp4", 720, 30, _SCENES, _X264),
    Made("av1_720p25.mp4", 720, 25, _TWO_SCENES, _AV1),
    Made("vp9_1080p25.webm", 1080, 25, _TWO_SCENES, _VP9),
    Made("hevc_1080p30.mp4", 1080, 30, _TWO_SCENES, _X265),
    Made("h264_1080p60.mp4", 1080, 60, _SCENES[:2], _X264),
    Made("h264_2160p24.mp4", 2160, 24, _SHORT_SCENES, _X264),
)
_TINY = Made("tiny.mp4", 144, 24, _SCENES, _X264)


def footage(name: str) -> Path:
    """A package's own file, under a name of ours."""
    origin = locate(name)[1]
    return _kept(f"real_{name}{origin.suffix}", lambda partial: shutil.copyfile(origin, partial))


def generated() -> list[Path]:
    """Those of MADE whose encoder this ffmpeg has."""
    return [_make(video) for video in MADE if video.encoder.split()[0] in _encoders()]


def left_out() -> list[str]:
    return [f"{video.name}: no {name}" for video in MADE if (name := video.encoder.split()[0]) not in _encoders()]


def made(name: str) -> Path:
    return _make(next(video for video in MADE if video.name == name))


def mixed(samples: Path) -> list[Path]:
    """Two minutes of 272 to 1080 lines at 24 to 60 frames/s, for the whole path: as they come, films and generated.

    What they are chose them, not what they cost: real footage as it is; of the demo's films those with camera moves,
    and one with sound; a generated video of each larger size, and four seconds at 60 frames/s, which are rare. Left out
    are cityCC0.mpg, whose 405 lines the original's x264 refuses, and a title card, which costs flow and nothing else.
    """
    generated = [made(name) for name in ("h264_480p24.mp4", "h264_720p30.mp4", "hevc_1080p30.mp4")]
    films = [samples / f"composed_{name}.mp4" for name in ("town", "subtitled", "long_take", "out_and_about")]
    return [footage("bikes"), footage("bunny"), *films, *generated, looped(made("h264_1080p60.mp4"), 4)]


def long_video(seconds: int) -> Path:
    """256x144 at 24 frames/s: scenes over and over, without encoding them again."""
    return looped(_make(_TINY), seconds)


def looped(video: Path, seconds: int) -> Path:
    def make(partial: Path) -> None:
        _ffmpeg("-stream_loop", "-1", "-t", str(seconds), "-i", str(video), "-c", "copy", "-f", "mp4", str(partial))

    return _kept(f"{video.stem}_{seconds}s.mp4", make)


def _make(video: Made) -> Path:
    film = Film(video.name, video.width, video.height, video.frames_per_s, video.shots)
    names = sorted({shot.footage for shot in video.shots})
    graph = f"{filter_graph(film, names)};[film]{GRAIN}[grained]"
    inputs = [argument for name in names for argument in ("-i", str(locate(name)[1]))]
    coded = ["-map", "[grained]", "-c:v", *video.encoder.split(), "-g", "250", "-pix_fmt", "yuv420p"]
    file_format = "webm" if video.name.endswith("webm") else "mp4"

    def make(partial: Path) -> None:
        _ffmpeg(*inputs, "-filter_complex", graph, *coded, "-f", file_format, str(partial))

    return _kept(video.name, make)


def _kept(name: str, make: Callable[[Path], object]) -> Path:
    path = FOLDER / "videos" / name
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = path.with_suffix(".part")
        make(partial)
        partial.replace(path)
    return path


def _ffmpeg(*arguments: str) -> None:
    quiet = {**os.environ, "SVT_LOG": "1"}
    subprocess.run([ffmpeg_program(), "-nostdin", "-v", "error", "-y", *arguments], check=True, env=quiet)


@cache
def _encoders() -> str:
    return subprocess.run([ffmpeg_program(), "-v", "error", "-encoders"], capture_output=True, text=True).stdout
