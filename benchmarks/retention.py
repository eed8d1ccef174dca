"""What each filter keeps of the sample videos, and what is left after each step. Writes benchmarks/retention.md.

    python -m benchmarks.retention [--home FOLDER]

The job of `make demo`, in a temporary home, with its settings and every filter on that runs from packages alone; or the
job that was run in FOLDER.
"""

import argparse
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from datetime import date
from pathlib import Path
from typing import Any

import polars as pl
import yaml

from benchmarks.report import machine
from curation_assets import open_tables
from curation_assets.tables import Scan
from deployments.demo.sample_videos import make_sample_videos

DEMO = Path("deployments/demo/curation.yaml")
REPORT = Path(__file__).with_suffix(".md")
BESIDES: Mapping[str, Any] = {  # what is off by default, each with its default bound where it has one
    "embeddings": {"engines": ["efficientnet_lite0"]},
    "duplicates": {"kinds": ["exact", "perceptual", "semantic"]},
    "watermark": {"engines": ["static_overlay"]},
    "safety": {"engines": ["opennsfw"]},
    "selection": {"motion": {"dis": {"camera_shake": {"max": 5}}}},
}
TEXT = """\
# Retention

{machine}, {date}; `python -m benchmarks.retention`. The videos and settings of `make demo`, and with them all that runs
from packages and is off by default: {besides}, and a bound on the shake of the camera. The videos were made so that
each rule and filter meets what it is for ([what ought to happen](../deployments/demo/README.md)), and the composed ones
show parts of the others again: these are no shares to expect of other footage.

## By filter

Looked at: clips the filter is for. Alone: clips that no other filter drops. Share: of the seconds it looked at.

| filter | engine, kind | bounds | looked at | passed | dropped | alone | seconds kept | share |
|---|---|---|---|---|---|---|---|---|
{filters}

`duplicates` looks at the selected clips that were compared, and alignment at the captioned ones among those it keeps.

## From videos to samples

| | count | seconds | of the step before |
|---|---|---|---|
{steps}

Spans that are no clips: {rules}.
"""
DECISIONS = ("clip_selection", "sample_selection")


def filter_lines(scan: Scan) -> Iterator[str]:
    """A line a filter in the order they are applied, `duplicates` between the two selections."""
    of_clips, of_samples = (list(_lines_of(scan, table)) for table in DECISIONS)
    yield from of_clips
    decided = scan("duplicates").select("clip_id", "kind", passed=pl.col("duplicate_of").is_null())
    compared = chosen(scan).join(decided.collect(), on="clip_id").with_columns(alone=~pl.col("passed"))
    if compared.height:
        kinds = compared["kind"].drop_nulls().value_counts().sort("kind").iter_rows()
        yield _line("duplicates", ", ".join(f"{kind} {count}" for kind, count in kinds), "", compared)
    yield from of_samples


def _lines_of(scan: Scan, table: str) -> Iterator[str]:
    """`alone` is told of the filters of one selection: what the first drops, the second never sees."""
    judged = (
        scan(table)
        .filter(pl.col("error").is_null())
        .select("clip_id", "measurements", reasons=pl.col("reasons").list.len())
        .join(scan("clips").select("clip_id", "duration_s"), on="clip_id")
        .explode("measurements")
        .drop_nulls("measurements")
        .unnest("measurements")
        .filter(pl.col("passed").is_not_null())
        .with_columns(alone=~pl.col("passed") & (pl.col("reasons") == 1))
        .collect()
    )
    for (name, engine), rows in judged.group_by("filter", "engine", maintain_order=True):
        yield _line(str(name), str(engine), _bounds(rows["min"][0], rows["max"][0]), rows)


def _line(name: str, engine: str, bounds: str, clips: pl.DataFrame) -> str:
    """`clips`: duration_s, passed, alone."""
    kept = clips.filter("passed")
    counts = (clips.height, kept.height, clips.height - kept.height, clips["alone"].sum())
    kept_s, all_s = (float(rows["duration_s"].sum()) for rows in (kept, clips))
    share = f"{kept_s / all_s:.0%}" if all_s else "-"
    return f"| {name} | {engine} | {bounds} | {' | '.join(map(str, counts))} | {kept_s:.1f} | {share} |"


def _bounds(low: float | None, high: float | None) -> str:
    return " .. ".join(f"{bound:g}" if bound is not None else "" for bound in (low, high)).strip() or "none"


def chosen(scan: Scan) -> pl.DataFrame:
    """The selected clips: clip_id, duration_s."""
    selected = scan("clip_selection").filter("selected").select("clip_id")
    return selected.join(scan("clips").select("clip_id", "duration_s"), on="clip_id").collect()


def steps(scan: Scan) -> list[tuple[str, pl.Series]]:
    """Each step and the seconds of what is left after it."""
    videos = scan("raw_videos").filter(pl.col("error").is_null()).select("duration_s").collect()
    scenes = scan("scenes").filter(pl.col("error").is_null()).select(pl.col("end_s") - pl.col("start_s")).collect()
    spans = scan("clips").filter(pl.col("error").is_null()).select("dropped", "duration_s").collect()
    given_way = scan("duplicates").filter(pl.col("duplicate_of").is_not_null()).select("clip_id").collect()
    kept = chosen(scan).join(given_way, on="clip_id", how="anti")
    written = scan("rewritten_captions").filter(pl.col("status") != "failed").select("clip_id").collect()
    samples = scan("training_manifest").filter(pl.col("error").is_null()).select("duration_s").collect()
    return [
        ("videos", videos["duration_s"]),
        ("scenes", scenes["end_s"]),
        ("spans", spans["duration_s"]),
        ("clips", spans.filter(pl.col("dropped").is_null())["duration_s"]),
        ("selected", chosen(scan)["duration_s"]),
        ("not duplicates", kept["duration_s"]),
        ("captioned", kept.join(written, on="clip_id", how="semi")["duration_s"]),
        ("samples", samples["duration_s"]),
    ]


def step_lines(scan: Scan) -> Iterator[str]:
    before_s = 0.0
    for name, seconds in steps(scan):
        left_s = float(seconds.sum())
        share = f"{left_s / before_s:.0%}" if before_s else ""
        yield f"| {name} | {len(seconds)} | {left_s:.1f} | {share} |"
        before_s = left_s


def rules(scan: Scan) -> str:
    """How many spans each rule dropped, and their seconds."""
    dropped = scan("clips").drop_nulls("dropped").group_by(rule=pl.col("dropped").str.split(":").list.first())
    counted = dropped.agg(pl.len(), pl.col("duration_s").sum()).sort("len", "rule", descending=[True, False])
    return ", ".join(f"{rule} {count} ({seconds:.1f} s)" for rule, count, seconds in counted.collect().iter_rows())


def run_job(folder: Path) -> Path:
    """The home of the job; raises CalledProcessError where something fails."""
    demo = yaml.safe_load(DEMO.read_text(encoding="utf-8"))
    settings, samples, home = folder / "curation.yaml", folder / "samples", folder / "home"
    settings.write_text(yaml.safe_dump({**demo, **BESIDES}), encoding="utf-8")
    make_sample_videos(samples)
    where = ["--name", "samples", "--home", str(home), "--settings", str(settings)]
    subprocess.run([sys.executable, "-m", "curation_assets.cli", "run", str(samples), *where], check=True)
    return home


def retention(scan: Scan) -> str:
    return TEXT.format(
        machine=machine(),
        date=date.today().isoformat(),
        besides=", ".join(f"`{name}`" for name in BESIDES if name != "selection"),
        filters="\n".join(filter_lines(scan)),
        steps="\n".join(step_lines(scan)),
        rules=rules(scan),
    )


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--home", type=Path, help="where the job was run already")
    home = arguments.parse_args().home
    with tempfile.TemporaryDirectory(prefix="reelhouse-retention-") as folder:
        text = retention(open_tables(str(home or run_job(Path(folder)))).scan)
    REPORT.write_text(text, encoding="utf-8")
    print(f"written to {REPORT}")


if __name__ == "__main__":
    main()
