"""What it costs to look: a preview of other thresholds and the report of a release, by the number of clips.

    python -m benchmarks.views [--clips 1000 100000 1000000]

A preview is the whole command, from the interpreter's start to its end. Writes benchmarks/views.md.
"""

import argparse
import datetime as dt
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import yaml

from benchmarks.bench import SAMPLES, SETTINGS_FILE
from benchmarks.job import Job, run_whole_job
from benchmarks.measure import seconds_of
from benchmarks.report import machine
from benchmarks.report_page import page_cost, report_cost
from benchmarks.scored_home import CAPTION_WORDS, CAPTIONED, CLIPS_A_VIDEO, SETTINGS, VIDEOS_A_SHARD, make_scored_home
from benchmarks.sizing import SIZING, VIEWS, sizing
from curation_assets.orchestration.headless import open_instance
from curation_assets.report.gallery import MAX_CLIPS
from curation_assets.settings import load_settings
from deployments.demo.sample_videos import make_sample_videos

CLIPS = (1_000, 100_000, 1_000_000)
REPEATS = 3


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--clips", type=int, nargs="+", default=CLIPS)
    sizes = arguments.parse_args().clips
    with tempfile.TemporaryDirectory(prefix="reelhouse-views-") as folder:
        parts = [*previews(Path(folder), sizes), *reports(Path(folder), sizes)]
    about = f"Written by `python -m benchmarks.views`. {machine()}, {dt.date.today().isoformat()}."
    VIEWS.write_text("\n".join(["# Looking at results", "", about, "", *parts, ""]), encoding="utf-8")
    SIZING.write_text(sizing(), encoding="utf-8")
    print(f"written to {VIEWS} and {SIZING}")


def previews(folder: Path, sizes: Sequence[int]) -> list[str]:
    lines = [
        "## `reelhouse preview --set selection.motion.max=15`",
        "",
        f"The whole command, median of {REPEATS}: 5 score tables, 12 filters; shards of {VIDEOS_A_SHARD} videos of "
        f"{CLIPS_A_VIDEO} clips. With captions: {CAPTIONED:.0%} of the clips have one of {CAPTION_WORDS} words, its "
        "rewrite and alignment, which the second step reads.",
        "",
        "| clips | s | s with captions |",
        "|---|---|---|",
    ]
    for clips in sizes:
        seconds = [_preview_s(folder / f"preview-{clips}-{captioned}", clips, captioned) for captioned in (False, True)]
        lines.append(f"| {clips:,} | {seconds[0]:.2f} | {seconds[1]:.2f} |")
    return [*lines, ""]


def _preview_s(home: Path, clips: int, captioned: bool) -> float:
    make_scored_home(home, clips, captioned)
    settings = home / "settings.yaml"
    settings.write_text(yaml.safe_dump(SETTINGS), encoding="utf-8")
    command = [sys.executable, "-m", "curation_assets.cli", "preview", "--set", "selection.motion.max=15"]
    places = ["--home", str(home), "--settings", str(settings)]
    return statistics.median(
        seconds_of(lambda: subprocess.run([*command, *places], check=True, capture_output=True)) for _ in range(REPEATS)
    )


def reports(folder: Path, sizes: Sequence[int]) -> list[str]:
    make_sample_videos(SAMPLES)
    demo = folder / "demo"
    with open_instance(str(demo)) as instance:
        run_whole_job(Job(str(demo), instance, load_settings(SETTINGS_FILE)), SAMPLES)
    lines = [
        "## `reelhouse report`",
        "",
        "Seconds are of making the page alone, without the interpreter's start and the imports.",
        "",
        "| clips | s | peak memory, MB | size, MB |",
        "|---|---|---|---|",
    ]
    for clips in sizes:
        cost = report_cost(demo, folder / f"report-{clips}", clips)
        memory, size = cost.peak_memory_bytes / 1e6, cost.size_bytes / 1e6
        lines.append(f"| {cost.clips:,} | {cost.seconds:.1f} | {memory:,.0f} | {size:.1f} |")
    return [*lines, "", *page(folder / "page", demo)]


def page(folder: Path, demo: Path) -> list[str]:
    made = report_cost(demo, folder, MAX_CLIPS - 1_000)  # a home has some more than are asked for
    cost = page_cost(folder / "report.html")
    return [
        f"## The page of {made.clips:,} clips in Chromium",
        "",
        f"Open and drawn after {cost.open_s:.1f} s.",
        "",
        "| | ms, median | ms, 95th percentile |",
        "|---|---|---|",
        *(
            f"| {name} | {median:.1f} | {slow:.1f} |"
            for name, (median, slow) in (
                ("a step of a dragged threshold: count again, show the funnel", cost.step_ms),
                ("a search", cost.search_ms),
                ("a scrolled frame of the clips", cost.scroll_ms),
            )
        ),
        "",
    ]


if __name__ == "__main__":
    main()
