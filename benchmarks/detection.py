"""Cut detection beside PySceneDetect's own: which scenes differ, and what it costs. Writes benchmarks/detection.md.

    python -m benchmarks.detection

Scenes are compared on every video that an installed package ships, the demo's films, the benchmark's videos and hostile
ones; costs on the benchmark's videos.
"""

import importlib.metadata
from collections.abc import Iterator, Sequence
from datetime import date
from functools import partial
from pathlib import Path

import av
import scenedetect

from benchmarks import inputs, limits
from benchmarks.measure import cost_of, median, median_ratio
from benchmarks.report import machine
from curation_assets.clips.detection import detect_or_split, detect_scenes
from curation_assets.raw_videos.probing import probe_video
from curation_assets.settings import Cuts, RawVideos
from deployments.demo.sample_videos import make_sample_videos
from resources.calls import Row, Split
from resources.media import VideoSource, read_frames
from tests import videos

SAMPLES = Path(".reelhouse-demo/samples")
REPORT = Path(__file__).with_suffix(".md")
CUTS = Cuts(stretch_frames=60)
VIDEO_SUFFIXES = {".mp4", ".mkv", ".webm", ".avi", ".mov", ".mpg", ".mpeg", ".ogv"}
SAME_TIME_S = 0.001
ROUNDS = 3

INTRODUCTION = """\
# Cut detection beside PySceneDetect's
{machine}, {date}. `cuts.detector: content` beside the ContentDetector of scenedetect {scenedetect} with the same
threshold and shortest scene, its own PyAV reader (PyAV {pyav}) and its automatic downscaling.

## Scenes
The same: as many, each beginning within a millisecond of its like. Joined: split into stretches of {stretch_frames}
frames, as long videos are, and not read again in one pass.

| videos | number | same as PySceneDetect's | joined | joined to the same rows |
|---|---|---|---|---|
"""
COSTS = """
## CPU seconds
Multiples of `ffmpeg -threads 1 -f null` on the same file, medians of {rounds} pairs.

| video | plain decode, ms a frame | decode by PyAV | cuts | PySceneDetect |
|---|---|---|---|---|
"""


def packaged() -> list[Path]:
    files = (file for package in importlib.metadata.distributions() for file in package.files or [])
    paths = {Path(str(file.locate())).resolve() for file in files if file.suffix.lower() in VIDEO_SUFFIXES}
    return sorted(path for path in paths if path.exists())


def demo() -> list[Path]:
    return [SAMPLES / Path(sample.file).name for sample in make_sample_videos(SAMPLES)]


def hostile() -> list[Path]:
    """Variable rate, rotation, a late start, open GOPs, fields, damage, no timestamps, odd sizes, other pixels."""
    return [
        *map(videos.ride, videos.RIDES),
        videos.turned_ride(),
        videos.slow_shot(),
        videos.shots("shots.mp4", 40, 25, 60, 15, 30),
        videos.shots("flash.mp4", 30, 5, 30),
        videos.variable_frame_rate(),
        videos.damaged(),
        videos.raw_h264(),
        videos.avi_h264(),
        videos.odd_size(),
        videos.anamorphic(),
        videos.fade_through_black(),
        videos.two_shots(),
    ]


def probed(path: Path) -> Row:
    return {"source_uri": str(path), **probe_video(str(path), RawVideos())}


def one_pass(video: Row) -> list[Row]:
    return detect_scenes(VideoSource.from_row(video), "v", CUTS)


def from_stretches(video: Row) -> list[Row] | None:
    """None where the video isn't split, or its stretches don't join."""
    answer = detect_or_split(VideoSource.from_row(video), "v", CUTS, video["frame_count"])
    return answer.join([part() for part in answer.parts]) if isinstance(answer, Split) else None


def pyscenedetect(video: Row) -> list[float]:
    """Where scenes after the first begin, s."""
    manager = scenedetect.SceneManager()
    manager.add_detector(scenedetect.ContentDetector(CUTS.content_threshold, CUTS.min_scene_frames))
    manager.detect_scenes(scenedetect.open_video(video["source_uri"], backend="pyav"))
    return [start.seconds for start, _ in manager.get_scene_list()[1:]]


def same_times(ours: Sequence[float], theirs: Sequence[float]) -> bool:
    return len(ours) == len(theirs) and all(abs(a - b) < SAME_TIME_S for a, b in zip(ours, theirs, strict=True))


def compared(kind: str, paths: Sequence[Path]) -> tuple[str, list[str]]:
    """A line of the table, and each difference."""
    differences, joined = [], []
    for path in paths:
        video = probed(path)
        rows, in_stretches, theirs = one_pass(video), from_stretches(video), pyscenedetect(video)
        ours = [row["start_s"] for row in rows[1:]]
        if not same_times(ours, theirs):
            differences.append(f"* {path.name}: scenes begin at {_times(ours)} here, at {_times(theirs)} there")
        if in_stretches is not None:
            joined.append(in_stretches == rows)
    number = len(paths)
    return f"| {kind} | {number} | {number - len(differences)} | {len(joined)} | {sum(joined)} |", differences


def _times(starts_s: Sequence[float]) -> str:
    return ", ".join(f"{start_s:.3f}" for start_s in starts_s) + " s" if starts_s else "0 s alone"


def decode(video: Row) -> None:
    for _ in read_frames(VideoSource.from_row(video)):
        pass


def cost_lines(paths: Sequence[Path]) -> Iterator[str]:
    for video in map(probed, paths):
        functions = (limits.decode, decode, one_pass, pyscenedetect)
        rounds = [[cost_of(partial(function, video)) for function in functions] for _ in range(ROUNDS)]
        plain, *others = zip(*rounds, strict=True)
        each_ms = 1000 * median(plain).cpu_s / video["frame_count"]
        ratios = " | ".join(f"{median_ratio(costs, plain).cpu_s:.2f}" for costs in others)
        yield f"| {Path(video['source_uri']).name} | {each_ms:.2f} | {ratios} |"


def main() -> None:
    generated = inputs.generated()
    groups = {"from packages": packaged(), "the demo's": demo(), "the benchmark's": generated, "hostile": hostile()}
    lines, differences = zip(*(compared(kind, paths) for kind, paths in groups.items()), strict=True)
    versions = {"scenedetect": scenedetect.__version__, "pyav": av.__version__}
    text = INTRODUCTION.format(
        machine=machine(), date=f"{date.today():%Y-%m-%d}", stretch_frames=CUTS.stretch_frames, **versions
    )
    found = [difference for group in differences for difference in group]
    text += "\n".join([*lines, "", "Differences:" if found else "No differences.", *found, ""])
    text += COSTS.format(rounds=ROUNDS) + "\n".join(cost_lines(generated)) + "\n"
    REPORT.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
