"""What the length of a video costs: memory of a worker, and how well two workers share a long one."""

from collections.abc import Sequence
from functools import partial
from pathlib import Path

from benchmarks import inputs, limits
from benchmarks.measure import NOTHING, Cost, cost_of, median, median_ratio
from benchmarks.report import Section, Target
from benchmarks.speed import warm_up
from benchmarks.stages import Home, frame_count
from curation_assets.settings import parse_settings
from resources.workers import available_cores

HOUR_S, LONG_S, LARGE_S, SMALL_S = 3600, 300, 12, 60
LARGE = "h264_2160p24.mp4"
SHORT = ("h264_480p24.mp4", "h264_720p30.mp4", "hevc_1080p30.mp4", "h264_1080p60.mp4")
MEMORY_AIM, SCALING_AIM = 1.5, 1.8
STAGES = ("scenes", "frames", "clip_files")


def memory_section(folder: Path) -> Section:
    """At 4K of everything; of the small ones, whose clips are dropped for their size, of detection."""
    settings = parse_settings({"execution": {"workers": 1}}, "benchmark")
    headings = ("video", "stage", "MiB", "wall s", "CPU s", "frames/s")
    section = Section("Peak memory of a worker, with its ffmpeg", headings)
    stages = {
        inputs.made(LARGE): ("scenes", "frames"),  # whose encoding is in the section of the stages
        inputs.looped(inputs.made(LARGE), LARGE_S): STAGES,
        inputs.long_video(SMALL_S): ("scenes",),
        inputs.long_video(HOUR_S): ("scenes",),
    }
    peaks = []
    for video, measured in stages.items():
        home = Home.of([video], folder / video.stem, settings)
        (source,) = home.rows("raw_videos").to_dicts()
        costs = each_stage(home, measured)
        for table, cost in costs.items():
            frames = source["frame_count"] if table == "scenes" else frame_count(home.clips(table))
            seconds, rate = f"{cost.wall_s:.1f} {cost.cpu_s:.1f}".split(), f"{frames / cost.wall_s:.0f}"
            section.add(video.name, table, f"{cost.peak_bytes / 2**20:.0f}", *seconds, rate)
        peaks += [cost.peak_bytes for cost in costs.values()]
    plain = cost_of(lambda: limits.decode(source))
    section.add(video.name, "limit: plain decode", "", f"{plain.wall_s:.1f}", f"{plain.cpu_s:.1f}")
    highest = max(peaks) / 2**30
    verdict = f"{highest:.2f} GiB", highest < MEMORY_AIM
    section.targets.append(Target("memory of a worker, at 4K and over an hour", f"< {MEMORY_AIM} GiB", *verdict))
    return section


def workers_section(folder: Path, rounds: int) -> Section:
    """A mixed set whose detection is mostly that of one long video."""
    videos = [inputs.long_video(LONG_S), inputs.footage("bunny"), *map(inputs.made, SHORT)]
    homes: dict[int, Home] = {}
    for workers in (1, 2):
        settings = parse_settings({"execution": {"workers": workers}}, "benchmark")
        warm_up(folder / f"warm-{workers}", settings)
        homes[workers] = Home.of(videos, folder / f"{workers}", settings)
    runs = [[each_stage(home, STAGES) for home in homes.values()] for _ in range(rounds)]
    section = Section("Two workers against one", ("stage", "1 worker, wall s", "2 workers", "ratio"))

    def add(what: str, stages: Sequence[str]) -> float:
        one, two = (
            [sum((costs[stage] for stage in stages), NOTHING) for costs in each] for each in zip(*runs, strict=True)
        )
        ratio = median_ratio(one, two).wall_s
        section.add(what, f"{median(one).wall_s:.1f}", f"{median(two).wall_s:.1f}", f"{ratio:.2f} x")
        return ratio

    for stage in STAGES:
        add(stage, [stage])
    ratio = add("all", STAGES)
    section.remarks.append(
        f"{LONG_S / 60:.0f} minutes at 256x144, whose clips are too small to be kept, and {len(videos) - 1} short "
        f"videos; medians of {rounds} pairs of runs, workers started before. This machine has {available_cores()} "
        "cores; an encoder takes more than one of them for one worker too."
    )
    verdict = f"{ratio:.2f} x", ratio >= SCALING_AIM
    what = "2 workers against 1, wall time, a mixed set with one long video"
    section.targets.append(Target(what, f">= {SCALING_AIM} x", *verdict))
    return section


def each_stage(home: Home, stages: Sequence[str]) -> dict[str, Cost]:
    """What each takes, without the arithmetic between them."""
    costs = {}
    for stage in stages:
        if stage == "frames":
            home.make("clips")
        if stage == "clip_files":
            home.select()
        costs[stage] = cost_of(partial(home.make, stage))
    return costs
