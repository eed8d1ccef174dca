"""Measures the pipeline, each figure beside the limit that no implementation gets past, and beside what was aimed at.

    python -m benchmarks.bench [--rounds 3] [--peers]

Prints the tables and writes them to benchmarks/RESULTS.md with the machine they were measured on. A limit is measured
in the same run too. Of cut detectors, which take longer, the figures of `python -m benchmarks.detectors` are repeated.
"""

import argparse
import hashlib
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import polars as pl

from benchmarks import inputs
from benchmarks.automation import automation_section
from benchmarks.job import SHARD, Job, run_whole_job
from benchmarks.long_videos import memory_section, workers_section
from benchmarks.measure import seconds_of
from benchmarks.models import models_sections
from benchmarks.peers import peers_section
from benchmarks.report import Section, as_markdown, quoted, show, targets_section
from benchmarks.sizing import SIZING, sizing
from benchmarks.speed import speed_sections
from benchmarks.stages import frame_count
from benchmarks.start import start_section
from benchmarks.table_speed import CLIPS, TARGET_SHARDS, query_section, threshold_section, unchanged_section
from benchmarks.whole_path import whole_path_sections
from curation_assets.incremental.context import Context
from curation_assets.incremental.refresh import refresh
from curation_assets.incremental.stage import Stage
from curation_assets.incremental.work import Done, Work
from curation_assets.orchestration.headless import HeadlessRun, open_instance
from curation_assets.settings import Shards, Source, load_settings, parse_settings
from curation_assets.shards import register
from curation_assets.tables import TABLES, Row, Table, col
from deployments.demo.sample_videos import make_sample_videos
from resources.delta_store import DeltaStore
from resources.files import Files
from resources.workers import available_cores

SETTINGS_FILE = "deployments/demo/curation.yaml"
SAMPLES = Path(".reelhouse-demo/samples")
RESULTS = Path(__file__).parent / "RESULTS.md"
DETECTORS = Path(__file__).parent / "detectors.md"
TOY_ROWS = 10_000
HASHED_FILES, HASHED_FILE_BYTES = 8, 64 * 2**20
QUIET = {"TRANSFORMERS_VERBOSITY": "error", "TQDM_DISABLE": "1", "OMP_WAIT_POLICY": "passive"}
"""For all processes; the last has threads that wait for each other sleep, which else count as at work."""


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--rounds", type=int, default=3, help="pairs of runs that a median is of")
    arguments.add_argument("--peers", action="store_true", help="also packages that do the same")
    options = arguments.parse_args()
    os.environ |= QUIET
    started = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="reelhouse-bench-") as folder:
        sections = measure(Path(folder), options.rounds, options.peers)
    sections = [targets_section(sections), *sections, *quoted(DETECTORS, "In sum", "F1 by kind of transition")]
    show(sections)
    RESULTS.write_text(as_markdown(sections, time.monotonic() - started), encoding="utf-8")
    SIZING.write_text(sizing(), encoding="utf-8")
    print(f"written to {RESULTS} and {SIZING}")


def measure(folder: Path, rounds: int, peers: bool) -> list[Section]:
    """Every part, told of on the terminal as it ends."""
    make_sample_videos(SAMPLES)
    few = max(1, rounds // 2)  # pairs of what takes longest
    parts: dict[str, Callable[[Path], list[Section]]] = {
        "stages beside their limits": lambda folder: speed_sections(folder, rounds, few),
        "the original's algorithm": lambda folder: whole_path_sections(inputs.mixed(SAMPLES), folder, few),
        "two workers": lambda folder: [workers_section(folder, few)],
        "memory": lambda folder: [memory_section(folder)],
        "start": lambda folder: [start_section(folder, rounds)],
        "models": lambda folder: models_sections(folder, rounds),
        "the whole job": job_sections,
        "thresholds": lambda folder: [threshold_section(folder, CLIPS, [TARGET_SHARDS])],
        "queries": lambda folder: [query_section(folder)],
        "registration": lambda folder: [hashing_section(folder)],
        "automation": lambda folder: [automation_section(folder)],
    }
    if peers:
        parts["peers"] = lambda folder: [peers_section(folder, few)]
    sections = []
    for number, (name, part) in enumerate(parts.items()):
        started = time.monotonic()
        sections += part(folder / f"{number}")
        print(f"{name}: {time.monotonic() - started:.0f} s", flush=True)
        shutil.rmtree(folder / f"{number}", ignore_errors=True)
    return sections


def job_sections(folder: Path) -> list[Section]:
    home = str(folder / "home")
    with open_instance(home) as instance:
        job = Job(home, instance, load_settings(SETTINGS_FILE))
        run_whole_job(job, SAMPLES)
        return [job_section(job), unchanged_section(job, folder / "unchanged"), refresh_section(job, folder)]


def job_section(job: Job) -> Section:
    headings = ("", "measured", "CPU s", "limit", "the limit is")
    section = Section(f"The whole job on a fresh home, {available_cores()} worker processes", headings)
    for asset, metadata in job.stages:
        seconds, units = metadata.get("seconds", 0.0), metadata.get("computed", 0)
        rate = f"{units / seconds:.1f}/s" if seconds and units else "-"
        shared = asset == "motion_scores"
        measured = "with frames" if shared else f"{seconds:.2f} s, {units} units, {rate}"
        limit_s = None if shared else metadata.get("limit_seconds")
        limit = () if limit_s is None else (f"{limit_s:.2f} s", metadata["limit_is"])
        section.add(asset, measured, "" if shared else f"{job.cpu_s[asset]:.2f}", *limit)
    section.add("the whole job", f"{job.seconds:.1f} s")
    in_sources = frame_count(job.rows("raw_videos"))
    in_clips = frame_count(job.rows("clips").filter(pl.col("dropped").is_null()))
    section.add("frames in clips", f"{in_clips} of {in_sources}, {in_clips / in_sources:.3f} of the sources")
    section.remarks.append(
        "The demo's samples. Workers start and load their models inside these figures; the rest of the whole is "
        "Dagster's own work."
    )
    return section


def refresh_section(job: Job, folder: Path) -> Section:
    section = Section("Refresh")
    again = HeadlessRun(job.settings, job.home, job.instance)
    started = time.monotonic()
    again.shard(SHARD, again.up_to("training_set"))
    wall_s = time.monotonic() - started
    reports = {asset: metadata for asset, _, metadata in again.outcome.materialized}
    computed = {asset: report["computed"] for asset, report in reports.items() if report["computed"]}
    if computed:
        raise SystemExit(f"an unchanged shard was computed again: {computed}")
    own_s = sum(report["seconds"] for asset, report in reports.items() if asset != "motion_scores")  # with frames
    read_s = seconds_of(lambda: read_everything(job))
    rows = sum(report["dagster/partition_row_count"] for report in reports.values())
    what = f"unchanged shard, {len(reports)} assets, {rows} rows"
    section.add(f"{what}: refresh", f"{own_s:.2f} s", f"{read_s:.2f} s", "one read of every table")
    section.add(f"{what}: with Dagster's runs, events and checks", f"{wall_s:.2f} s")
    section.add(*threshold_line(job))
    toy_lines(section, folder / "toy")
    return section


def read_everything(job: Job) -> None:
    for name, metadata in job.stages:
        if "dagster/partition_row_count" in metadata:  # the partitioned ones
            job.store.read(job.store.snapshot(name), list(TABLES[name].schema), SHARD)


def threshold_line(job: Job) -> tuple[str, str, str, str]:
    """A tighter bound on the semantic score, that drops half of the samples, to a new manifest and release."""
    manifest = job.rows("training_manifest")
    median = float(manifest.get_column("semantic_score").median())  # type: ignore[arg-type]
    document = job.settings.model_dump(mode="json", exclude_unset=True)
    document |= {"selection": {"semantic": {"efficientnet_lite0": {"min": median}}}}
    started = time.monotonic()
    run = HeadlessRun(parse_settings(document, "benchmark"), job.home, job.instance)
    run.shard(SHARD, run.up_to("training_set"))
    run.release()
    seconds = time.monotonic() - started
    remaining = job.rows("training_manifest").height
    computed = {asset: metadata["computed"] for asset, _, metadata in run.outcome.materialized if metadata["computed"]}
    if "frames" in computed or "captions" in computed or remaining >= manifest.height:
        raise SystemExit(f"the threshold did not do what it should: {computed}, {remaining} samples")

    def write_manifest() -> None:
        store = DeltaStore(f"{job.home}/limit")
        table = TABLES["training_manifest"]
        store.replace(store.open(table.name, table.schema), manifest, SHARD, {})

    limit_s = seconds_of(lambda: read_everything(job)) + seconds_of(write_manifest)
    return (
        f"threshold changed, {manifest.height} samples become {remaining}: to the new manifest and release",
        f"{seconds:.2f} s",
        f"{limit_s:.2f} s",
        "one read of every table and one write of the manifest",
    )


def toy_lines(section: Section, home: Path) -> None:
    """10,000 units whose computation costs nothing: what is left is the mechanism's own cost."""
    given = Table("bench_inputs", "a toy", ("toy_id",), {"toy_id": col(pl.String, ""), "value": col(pl.Float64, "")})
    made = Table("bench_results", "a toy", ("toy_id",), {"toy_id": col(pl.String, ""), "double": col(pl.Float64, "")})
    TABLES.update({table.name: table for table in (given, made)})
    store = DeltaStore(str(home))
    inputs = pl.DataFrame({"toy_id": [f"{k:08d}" for k in range(TOY_ROWS)], "value": np.arange(float(TOY_ROWS))})
    bookkeeping = [
        pl.lit("toys-0000" if name == "shard" else None, dtype).alias(name)
        for name, dtype in given.schema.items()
        if name not in inputs.columns
    ]
    store.replace(store.open(given.name, given.schema), inputs.with_columns(bookkeeping), "toys-0000", {})
    stage = Stage(
        made,
        unit="toy_id",
        reads={given.name: ["toy_id", "value"]},
        units=lambda reads: reads[given.name].select("toy_id", "value"),
        version="1",
    )

    def compute(work: Sequence[Work]) -> Iterable[Done]:
        return (Done(unit.unit, [double(unit.values)]) for unit in work)

    def double(values: Row) -> Row:
        return {"double": 2 * values["value"]}

    context = Context(store, Files(str(home)), "benchmark")
    times = [seconds_of(lambda: refresh([stage], "toys-0000", compute, context)) for _ in range(2)]
    rows = store.scan(store.snapshot(made.name)).collect()
    other = DeltaStore(f"{home}/limit")
    write_s = seconds_of(lambda: other.replace(other.open(made.name, made.schema), rows, "toys-0000", {}))
    read_s = seconds_of(lambda: store.read(store.snapshot(made.name), list(made.schema), "toys-0000"))
    for what, seconds, limit_s, limit_is in (
        ("computed and committed", times[0], write_s, "one Delta write of the same rows"),
        ("found unchanged", times[1], read_s, "one read of the same rows"),
    ):
        section.add(
            f"{TOY_ROWS} toy rows {what}",
            f"{seconds:.2f} s, {TOY_ROWS / seconds:,.0f} rows/s",
            f"{limit_s:.3f} s",
            limit_is,
        )


def hashing_section(folder: Path) -> Section:
    section = Section("Registration")
    videos = folder / "videos"
    videos.mkdir(parents=True)
    block = os.urandom(HASHED_FILE_BYTES)
    for k in range(HASHED_FILES):
        (videos / f"{k}.mp4").write_bytes(bytes([k]) + block[1:])
    store = DeltaStore(str(folder / "home"))
    source = {"toys": Source(path=str(videos))}
    seconds = seconds_of(lambda: register(source, Shards(), store, "benchmark"))

    def plain() -> None:
        with ThreadPoolExecutor(available_cores()) as threads:
            list(threads.map(lambda _: hashlib.sha256(block).digest(), range(HASHED_FILES)))

    megabytes = HASHED_FILES * HASHED_FILE_BYTES / 1e6
    section.add(
        f"new files, {HASHED_FILES} x {HASHED_FILE_BYTES / 2**20:.0f} MiB: listed, hashed, committed",
        f"{megabytes / seconds:,.0f} MB/s",
        f"{megabytes / seconds_of(plain):,.0f} MB/s",
        "SHA-256 of the same bytes in memory, on all cores",
    )
    again_s = seconds_of(lambda: register(source, Shards(), store, "benchmark"))
    section.add("the same files again", f"{again_s:.3f} s, nothing hashed")
    return section


if __name__ == "__main__":
    main()
