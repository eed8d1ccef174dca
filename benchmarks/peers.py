"""Packages that do the same, in an environment of their own: data-juicer's operators and scenedetect's command.

They and the locked packages don't go together, so they are looked for under .reelhouse-bench/peers, and what isn't
there is left out. One process each, without the seconds in which code is loaded.
"""

import subprocess
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from benchmarks import inputs
from benchmarks.measure import Cost, cost_of, median, median_ratio
from benchmarks.report import Section
from benchmarks.speed import warm_up
from benchmarks.stages import Home
from curation_assets.settings import parse_settings
from resources.ffmpeg import ffmpeg_program

ENVIRONMENT = inputs.FOLDER / "peers"
VIDEO = "h264_720p30.mp4"
SETTINGS = {
    "execution": {"workers": 1},
    "clips": {"min_duration_s": 0.1, "max_duration_s": 3600.0, "end_trim_s": 0.0},  # scenes as they are
}
_ENCODING = "-map 0:v:0 -map 0:a? -c:v libx264 -preset veryfast -crf 22 -c:a aac"
_COMMAND = """
import sys
from scenedetect.__main__ import main
def run(video, folder):
    sys.argv = ["scenedetect", "-q", "-i", video, "detect-content", "-m", "15"]
    main()
"""
_OPERATOR = """
from data_juicer.utils.constant import Fields
from data_juicer.ops.{module} import {name}
import cv2, scenedetect
def run(video, folder):
    sample = {{"videos": [video], "text": "", Fields.stats: {{}}, Fields.source_file: [video]}}
    {name}({arguments}).{method}(sample)
"""
_HARNESS = "\nimport sys\nprint('ready', flush=True)\nsys.stdin.readline()\nrun(*sys.argv[1:])\n"


@dataclass(frozen=True)
class Peer:
    """`program` is Python that defines `run(video, folder)`; `stages` of ours come to the same."""

    name: str
    packages: str
    program: str
    stages: tuple[str, ...]


def operator(name: str, arguments: str, said: str, stages: tuple[str, ...], kind: str, method: str) -> Peer:
    class_name = "".join(map(str.title, name.split("_")))
    program = _OPERATOR.format(module=f"{kind}.{name}", name=class_name, arguments=arguments, method=method)
    packages = "py-data-juicer aiohttp ray scenedetect av opencv-python-headless"
    return Peer(f"data-juicer `{name}`, {said}", packages, program, stages)


def motion_filter(arguments: str, said: str) -> Peer:
    return operator("video_motion_score_filter", arguments, said, ("frames",), "filter", "compute_stats_single")


PEERS = (
    Peer("`scenedetect detect-content`", "scenedetect opencv-python-headless", _COMMAND, ("scenes",)),
    motion_filter("", "as it comes: Farneback at full size"),
    motion_filter("size=180", "`size=180`"),
    operator(
        "video_split_by_scene_mapper",
        f"save_dir=folder, ffmpeg_extra_args={_ENCODING!r}",
        "encoding as `clip_files` does",
        ("scenes", "clip_files"),
        "mapper",
        "process_single",
    ),
)


def peers_section(folder: Path, rounds: int) -> Section:
    headings = ("peer", "wall s", "CPU s", "our stages", "wall s", "CPU s", "CPU ratio")
    section = Section("Peers", headings)
    settings = parse_settings(SETTINGS, "benchmark")
    warm_up(folder / "warm", settings)
    video = inputs.made(VIDEO)
    home = Home.of([video], folder / "home", settings)
    home.make("scenes", "clips", "frames")
    home.select(1.0)
    programs = folder / "bin"
    programs.mkdir()
    (programs / "ffmpeg").symlink_to(ffmpeg_program())
    for peer in PEERS:
        costs: list[Cost] = []
        ours: list[Cost] = []
        try:
            for _ in range(rounds):
                costs.append(cost_of_peer(peer, video, folder))
                ours.append(cost_of(partial(home.make, *peer.stages)))
        except FileNotFoundError:
            install = f"uv venv {ENVIRONMENT}; uv pip install --python {ENVIRONMENT} {peer.packages}"
            section.add(peer.name, "not installed", "", f"`{install}`")
            continue
        its, mine, ratio = median(costs), median(ours), median_ratio(costs, ours)
        cells = [f"{figure:.1f}" for cost in (its, mine) for figure in (cost.wall_s, cost.cpu_s)]
        section.add(peer.name, *cells[:2], ", ".join(peer.stages), *cells[2:], f"{ratio.cpu_s:.1f} x")
    section.remarks.append(
        f"{VIDEO}, one process each, pairs of runs: {rounds}. Motion is of 2 pairs of frames a second on either side, "
        "here by DIS at 320 px and with frames stored; the spans are the scenes, and ours are verified after encoding."
    )
    return section


def cost_of_peer(peer: Peer, video: Path, folder: Path) -> Cost:
    """Of what follows its loading. Raises FileNotFoundError where it isn't installed."""
    command = [str(ENVIRONMENT / "bin" / "python"), "-c", peer.program + _HARNESS, str(video.absolute()), str(folder)]
    with subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={"PATH": str(folder / "bin"), "HOME": str(folder), "OMP_NUM_THREADS": "1"},
        text=True,
    ) as process:
        assert process.stdout
        while (line := process.stdout.readline()) and line != "ready\n":
            pass
        said: list[str] = []
        cost = cost_of(lambda: said.extend(process.communicate("go\n")))
    if process.returncode:
        if "ModuleNotFoundError" in said[1]:
            raise FileNotFoundError(peer.packages)
        raise SystemExit(f"{peer.name}: {said[1]}")
    return cost
