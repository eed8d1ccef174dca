"""How long one waits before anything is done: definitions, and a command up to its first item."""

import os
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

from benchmarks import inputs
from benchmarks.measure import Cost, cost_of, median
from benchmarks.report import Section, Target

ITEM_AIM_S, DEFINITIONS_AIM_S = 6.0, 2.0
DEFINITIONS = "curation_assets.definitions"
FIRST_COMMIT = "tables/raw_videos/_delta_log/00000000000000000001.json"


def start_section(folder: Path, rounds: int) -> Section:
    section = Section("Start")
    source = folder / "source"
    source.mkdir(parents=True)
    (source / "bunny.mp4").write_bytes(inputs.footage("bunny").read_bytes())
    definitions, dagster, item = [], [], []
    for number in range(rounds):
        definitions.append(cost_of(lambda: python("-c", f"import {DEFINITIONS}")))
        dagster.append(cost_of(lambda: python("-c", "import dagster")))
        item.append(cost_of(partial(first_item, source, folder / f"home-{number}")))
    loaded, bare, first = median(definitions), median(dagster), median(item)
    section.add("definitions loaded", seconds(loaded), seconds(bare), "`import dagster`")
    section.add("`reelhouse run` until its first item is committed", seconds(first))
    section.targets = [
        Target("start: from the command to the first item", f"< {ITEM_AIM_S:g} s", *verdict(first, ITEM_AIM_S)),
        Target("start: definitions loaded", f"< {DEFINITIONS_AIM_S:g} s", *verdict(loaded, DEFINITIONS_AIM_S)),
    ]
    section.remarks.append(f"Each a process of its own, medians of {rounds}. The first item is a probed video.")
    return section


def python(*arguments: str) -> None:
    subprocess.run([sys.executable, *arguments], check=True)


def first_item(source: Path, home: Path) -> None:
    command = [sys.executable, "-m", "curation_assets.cli", "run", str(source), "--home", str(home)]
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    with subprocess.Popen([*command, "--until", "raw_videos"], **quiet, start_new_session=True) as run:
        while not (home / FIRST_COMMIT).exists():
            if run.poll() is not None:
                raise SystemExit(f"{' '.join(command)} ended with {run.returncode} before its first item")
            time.sleep(0.01)
        os.killpg(run.pid, signal.SIGKILL)


def seconds(cost: Cost) -> str:
    return f"{cost.wall_s:.2f} s, {cost.cpu_s:.2f} CPU s"


def verdict(cost: Cost, aim_s: float) -> tuple[str, bool]:
    return seconds(cost), cost.wall_s < aim_s
