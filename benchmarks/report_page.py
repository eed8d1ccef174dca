"""What the report of a release costs: time, memory and size by the number of clips.

The home is a demo job's tables, copied under other video ids with scores a hundredth off; frames are the demo's.
"""

import datetime as dt
import json
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl

from benchmarks.measure import peak_bytes
from curation_assets.report.page import made_report
from curation_assets.tables import TABLES, TRAINING_SET
from curation_assets.upkeep.releases import PARTITION, find_release, versions_of
from resources.delta_store import DeltaStore
from resources.files import Files
from tests.report.report_page import ReportPage

READ = (
    *("source_files", "raw_videos", "clips", "frames", "clip_selection"),
    *("captions", "rewritten_captions", "sample_selection", "training_manifest"),
)
COPIES_A_SHARD = 100
DIGITS = 8  # of a video id, in whose place stands the number of the copy
NOISE = 0.01
REPEATS = 100


@dataclass(frozen=True)
class Cost:
    """Of a report made in a process of its own."""

    clips: int
    seconds: float
    peak_memory_bytes: int
    size_bytes: int


def report_cost(demo: Path, folder: Path, clips: int) -> Cost:
    """`demo` is a home with a release, `folder` where a home of at least `clips` clips is made of it."""
    made = grown_home(demo, folder, clips)
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.report_page", str(folder)], check=True, capture_output=True, text=True
    )
    return Cost(made, **json.loads(done.stdout))


@dataclass(frozen=True)
class PageCost:
    """In Chromium: until all is drawn, and of steps of a drag and of scrolled frames the median and the slowest 5 %."""

    open_s: float
    step_ms: tuple[float, float]
    search_ms: tuple[float, float]
    scroll_ms: tuple[float, float]


def page_cost(report: Path) -> PageCost:
    """A step moves a bound, counts again, and lays the funnel out; a frame brings new cards, and is laid out too."""
    with ReportPage(1400, 1000) as page:
        started = time.monotonic()
        page.show(report)
        seconds = time.monotonic() - started
        step = "setBound(measures[0], 'min', k / 100); showAll()"
        search = "byId('search').value = 'motion blue'; refill()"
        scroll = "byId('cards').scrollTop += 700; drawCards(true)"
        return PageCost(seconds, *(_milliseconds(page, action) for action in (step, search, scroll)))


def _milliseconds(page: ReportPage, action: str) -> tuple[float, float]:
    times = page.evaluate(
        f"""(() => {{
          byId('search').value = '';
          refill();
          const times = [];
          for (let k = 0; k < {REPEATS}; k++) {{
            const started = performance.now();
            {action};
            document.body.getBoundingClientRect();
            times.push(performance.now() - started);
          }}
          return times;
        }})()"""
    )
    return float(np.median(times)), float(np.quantile(times, 0.95))


def grown_home(demo: Path, folder: Path, clips: int) -> int:
    """A home with so many copies of the demo's tables that it has `clips` clips or a few more; returns how many."""
    old, new = DeltaStore(str(demo)), DeltaStore(str(folder))
    release = find_release(old, "latest")
    tables = {}
    for name in READ:
        rows = old.scan(old.snapshot(name, versions_of(release)[name])).collect()
        tables[name] = pl.concat([pl.DataFrame(schema=TABLES[name].schema), rows], how="diagonal_relaxed")
    a_copy = tables["clip_selection"].height
    copies = -(-clips // a_copy)
    chance = np.random.default_rng(0)
    for first in range(0, copies, COPIES_A_SHARD):
        numbers = range(first, min(first + COPIES_A_SHARD, copies))
        for name, rows in tables.items():
            copied = _copied(rows, numbers).with_columns(shard=pl.lit(f"films-{first // COPIES_A_SHARD:04d}"))
            if name == "clip_selection":
                copied = _with_noise(copied, chance)
            shard = copied["shard"][0]
            new.replace(new.open(name, TABLES[name].schema), copied, shard, {"shard": shard})
    pins = [{"table": name, "version": new.snapshot(name).version()} for name in READ]
    samples = tables["training_manifest"].height * copies
    row = {**release, "table_versions": pins, "samples": samples, "computed_at": dt.datetime(2026, 1, 1, tzinfo=dt.UTC)}
    rows = pl.DataFrame([row], schema=TRAINING_SET.schema)
    new.replace(new.open(TRAINING_SET.name, TRAINING_SET.schema), rows, PARTITION, {"release": release["release"]})
    Path(folder, "frames").symlink_to(Path(demo, "frames").absolute())
    return a_copy * copies


def _copied(rows: pl.DataFrame, numbers: Sequence[int]) -> pl.DataFrame:
    names = rows.columns
    number = pl.Series("number", [f"{n:0{DIGITS}x}" for n in numbers])
    keys = [key for key in ("clip_id", "video_id") if key in names]
    other = [pl.format("{}{}", "number", pl.col(key).str.slice(DIGITS)).alias(key) for key in keys]
    return rows.join(number.to_frame(), how="cross").with_columns(other).select(names)


def _with_noise(decisions: pl.DataFrame, chance: np.random.Generator) -> pl.DataFrame:
    """Decisions on scores a hundredth off, by the same bounds."""
    long = decisions.select("clip_id", "measurements").explode("measurements").unnest("measurements")
    noise = pl.Series(chance.uniform(1 - NOISE, 1 + NOISE, long.height))
    low, high = pl.col("value") >= pl.col("min").fill_null(-np.inf), pl.col("value") <= pl.col("max").fill_null(np.inf)
    long = long.with_columns(value=(pl.col("value") * noise).round(5)).with_columns(passed=low & high)
    why = pl.format("{}: {} is outside its bounds", "filter", "value").filter(~pl.col("passed"))
    fields = [field.name for field in decisions.schema["measurements"].inner.fields]
    judged = long.group_by("clip_id", maintain_order=True).agg(
        measurements=pl.struct(fields), selected=pl.col("passed").all(), reasons=why
    )
    return decisions.drop("measurements", "selected", "reasons").join(judged, on="clip_id").select(decisions.columns)


def main(folder: str) -> None:
    store, files = DeltaStore(folder), Files(folder)
    started = time.monotonic()
    html = made_report(store, files, find_release(store, "latest"))
    seconds = time.monotonic() - started
    files.write("report.html", html)
    print(json.dumps({"seconds": seconds, "peak_memory_bytes": peak_bytes(), "size_bytes": len(html)}))


if __name__ == "__main__":
    main(sys.argv[1])
