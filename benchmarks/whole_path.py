"""The whole CPU path against the original's algorithm, on the same videos and with as many processes.

Both have the code and weights they need loaded before the clock starts. Networks are tiny, so that what is compared is
decoding, flow and encoding; scores of theirs say nothing, and decisions are compared on motion.
"""

import tempfile
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from benchmarks import inputs, original
from benchmarks.measure import NOTHING, Cost, cost_of, in_new_process, median, median_ratio
from benchmarks.original import Clip, Networks, Rules, Scored
from benchmarks.report import Section, Target
from benchmarks.stages import SURVIVORS, Home
from curation_assets.settings import ClipFiles, Settings, parse_settings
from resources.workers import available_cores
from tests.checkpoints import SMALL, save_clip, save_head, save_siglip

MIN_S, MIN_AREA_PX = 1, 160_000
RATIO_AIM, AGREEMENT_AIM = 5.0, 0.99
SAME_START_S = 0.05
TABLES = ("raw_videos", "scenes", "clips", "frames", "semantic_scores", "aesthetic_scores", "clip_selection")
LARGER = ("h264_720p30.mp4", "h264_1080p60.mp4")
OTHERS = "splitting, other encoder settings"


@dataclass(frozen=True)
class Decided:
    """A clip of ours: the motion score and whether it passes."""

    video: str
    start_s: float
    score: float
    passes: bool


@dataclass(frozen=True)
class Ours:
    costs: dict[str, Cost]
    decided: list[Decided]


def whole_path_sections(videos: Sequence[Path], folder: Path, rounds: int) -> list[Section]:
    videos = [*videos, *(inputs.made(name) for name in LARGER)]
    networks = save_networks(folder)
    theirs, ours = [], []
    for _ in range(rounds):
        theirs.append(in_new_process(run_original, videos, folder, networks))
        ours.append(in_new_process(run_ours, videos, folder, networks, "dis"))
    farneback = in_new_process(run_ours, videos, folder, networks, "farneback")
    return [
        costs_section(theirs, ours, farneback, rounds),
        decisions_section(theirs[0], {"farneback": farneback.decided, "dis": ours[0].decided}),
    ]


def save_networks(folder: Path) -> Networks:
    folder.mkdir(parents=True, exist_ok=True)
    head = save_head(folder / "head.pth", SMALL["hidden_size"], [f"head.{n}" for n in original.HEAD_LAYERS])
    return Networks(save_clip(folder / "clip"), save_siglip(folder / "siglip"), head)


def run_original(videos: Sequence[Path], folder: Path, networks: Networks) -> Scored:
    import torch

    torch.set_num_threads(1)
    rules = Rules(MIN_S, MIN_AREA_PX, available_cores())
    encoder = ClipFiles()
    ours = f"-c:v {encoder.video_codec} -preset {encoder.preset} -crf {encoder.crf} -g {encoder.keyframe_interval} "
    ours += f"-threads:v {encoder.encoder_threads} -pix_fmt {encoder.pixel_format} -c:a aac -b:a 128k"
    with tempfile.TemporaryDirectory(dir=folder) as scratch:
        original.run([inputs.footage("bunny")], Path(scratch) / "warm", networks, rules, ours)  # whose pools are forked
        return original.run(videos, Path(scratch) / "original", networks, rules, ours)


def run_ours(videos: Sequence[Path], folder: Path, networks: Networks, engine: str) -> Ours:
    with tempfile.TemporaryDirectory(dir=folder) as scratch:
        settings = comparable_settings(networks, engine)
        path([inputs.footage(name) for name in inputs.FOOTAGE], Path(scratch) / "warm", settings)  # for every worker
        return path(videos, Path(scratch) / "ours", settings)


def comparable_settings(networks: Networks, engine: str) -> Settings:
    clip, siglip = ({"source": str(source), "revision": "tiny"} for source in (networks.clip, networks.siglip))
    return parse_settings(
        {
            "clips": {"min_duration_s": MIN_S, "min_source_area_px": MIN_AREA_PX},
            "motion": {"engines": [engine]},
            "semantic": {"engines": ["clip_b32"], "clip_b32": clip},
            "aesthetic": {
                "engines": ["siglip_v2_5"],
                "siglip_v2_5": {**siglip, "head": str(networks.head), "head_md5": None},
            },
            "text": {"engines": []},
            "technical": {"engines": []},
        },
        "benchmark",
    )


def path(videos: Sequence[Path], folder: Path, settings: Settings) -> Ours:
    """Every step from the files to the encoded clips that survive."""
    homes: list[Home] = []
    costs = {"registration": cost_of(lambda: homes.append(Home.of(videos, folder, settings)))}
    (home,) = homes
    for table in TABLES[1:]:
        costs[table] = cost_of(partial(home.make, table))
    home.select()
    costs["clip_files"] = cost_of(lambda: home.make("clip_files"))
    return Ours(costs, decided(home))


def decided(home: Home) -> list[Decided]:
    (engine,) = home.settings.motion.engines
    bound = getattr(home.settings.selection.motion, engine)
    clips = home.rows("clips").join(home.rows("motion_scores").select("clip_id", "motion_score"), on="clip_id")
    rows = clips.join(home.rows("raw_videos").select("video_id", "path"), on="video_id")
    return [
        Decided(video, start_s, score, bound.min <= score <= bound.max)
        for video, start_s, score in rows.select("path", "start_s", "motion_score").iter_rows()
    ]


def costs_section(theirs: Sequence[Scored], ours: Sequence[Ours], farneback: Ours, rounds: int) -> Section:
    headings = ("step", "wall s", "CPU s", "the original's wall s", "its CPU s", "its step")
    section = Section("The whole CPU path against the original's algorithm", headings)

    def of_ours(*tables: str, runs: Sequence[Ours] = ours) -> Cost:
        return median([sum((run.costs[table] for table in tables), NOTHING) for run in runs])

    def of_theirs(*steps: str) -> Cost:
        return median([sum((run.costs[step] for step in steps), NOTHING) for run in theirs])

    def line(what: str, mine: Cost, its: Cost | None = None, step: str = "") -> None:
        cells = [f"{cost.wall_s:.1f} {cost.cpu_s:.1f}".split() for cost in (mine, its) if cost]
        section.add(what, *cells[0], *(cells[1] if its else ("", "")), step)

    line("registration and probing", of_ours("registration"))
    line("scenes and clips", of_ours("scenes", "clips"), of_theirs("cut detection"), "PySceneDetect over each video")
    line("frames and motion (dis)", of_ours("frames"), of_theirs("motion"), "Farneback at full size, each clip decoded")
    line("semantic", of_ours("semantic_scores"), of_theirs("semantic"), "two decodes a clip")
    line("aesthetic", of_ours("aesthetic_scores"), of_theirs("aesthetic"), "a decode a clip")
    line("selection", of_ours("clip_selection"))
    line(f"{SURVIVORS:.0%} of the clips encoded", of_ours("clip_files"), of_theirs("splitting"), "all clips encoded")
    line("", NOTHING, of_theirs(OTHERS), "the same with our encoder settings")
    section.lines[-1] = ("", "", "", *section.lines[-1][3:])
    all_ours, all_theirs = [whole(run.costs) for run in ours], [whole(run.costs, OTHERS) for run in theirs]
    with_ours = [whole(run.costs, "splitting") for run in theirs]
    line("**whole path**", median(all_ours), median(all_theirs), "whole")
    line("with engine `farneback`", whole(farneback.costs), median(with_ours), "whole, with our encoder settings")
    ratio, same_encoder = median_ratio(all_theirs, all_ours), median_ratio(with_ours, all_ours)
    own = median_ratio(all_theirs, [whole(farneback.costs)] * len(all_theirs))
    clips = ours[0].decided
    section.remarks.append(
        f"Medians of {rounds} pairs of runs on {len({clip.video for clip in clips})} videos, {len(clips)} clips, "
        f"{available_cores()} processes each, networks tiny. The original takes {ratio.cpu_s:.1f} x the CPU and "
        f"{ratio.wall_s:.1f} x the wall time; with our encoder settings {same_encoder.cpu_s:.1f} x and "
        f"{same_encoder.wall_s:.1f} x; against engine `farneback`, one run, {own.cpu_s:.1f} x and {own.wall_s:.1f} x."
    )
    section.targets.append(
        Target(
            f"whole CPU path at {SURVIVORS:.0%} survivors against the original's algorithm",
            f">= {RATIO_AIM:g} x less CPU and wall",
            f"{ratio.cpu_s:.1f} x CPU, {ratio.wall_s:.1f} x wall",
            min(ratio.cpu_s, ratio.wall_s) >= RATIO_AIM,
        )
    )
    return section


def whole(costs: Mapping[str, Cost], without: str = "") -> Cost:
    return sum((cost for step, cost in costs.items() if step != without), NOTHING)


def decisions_section(theirs: Scored, ours: Mapping[str, Sequence[Decided]]) -> Section:
    headings = ("engine", "clips of both", "same decision", "otherwise: its score, our decision")
    section = Section("Motion decisions against the original's", headings)
    low, high = original.MOTION_BOUNDS
    for engine, clips in ours.items():
        pairs = [(score, mine) for clip, score in theirs.motion for mine in clips if is_same(clip, mine)]
        others = [(score, mine) for score, mine in pairs if (low <= score <= high) != mine.passes]
        share = 1 - len(others) / len(pairs)
        why = Counter(f"{side(score, low, high)}, {'kept' if mine.passes else 'dropped'}" for score, mine in others)
        section.add(
            engine,
            str(len(pairs)),
            f"{share:.1%}",
            "; ".join(f"{count} {reason}" for reason, count in why.most_common()) or "none",
        )
        if engine == "farneback":
            section.targets.append(
                Target(
                    f"motion decisions of engine `farneback`, {len(pairs)} clips",
                    f">= {AGREEMENT_AIM:.0%} as the original's",
                    f"{share:.1%}",
                    share >= AGREEMENT_AIM,
                )
            )
    ours_alone = sum(not any(is_same(clip, mine) for clip, _ in theirs.motion) for mine in ours["dis"])
    theirs_alone = sum(not any(is_same(clip, mine) for mine in ours["dis"]) for clip, _ in theirs.motion)
    section.remarks.append(
        f"Clips are the same where they start within {SAME_START_S:g} s of each other. The original alone has "
        f"{theirs_alone}, ours alone {ours_alone}: it trims 0.5 s after testing the length, long scenes not at all. "
        "Its bounds are in px of the clip's own size over half a second, those of `dis` in per cent of the diagonal a "
        "second, so that the same movement is judged alike at every size."
    )
    return section


def is_same(clip: Clip, mine: Decided) -> bool:
    return clip.video.name == mine.video and abs(clip.start_s - mine.start_s) < SAME_START_S


def side(score: float, low: float, high: float) -> str:
    return "below its bounds" if score < low else "above its bounds" if score > high else "within its bounds"
