"""What 10,000 shards and 10 million clips cost, measured per item, for `deployments/kubernetes/SIZING.md`.

    python -m benchmarks.scale [--shards 10000] [--clips-per-shard 1000]

The tables are real, written by the product's store and refresh; `simulated_home.py` says how they come to be so many.
Writes benchmarks/scale.md, whose figures `sizing.py` multiplies.
"""

import argparse
import datetime as dt
import hashlib
import json
import multiprocessing as mp
import os
import statistics
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from multiprocessing.synchronize import Barrier
from pathlib import Path
from typing import Any
from unittest.mock import patch

import dagster as dg
import polars as pl
from dagster_graphql.test.utils import execute_dagster_graphql
from dagster_shared.serdes import serialize_value

from benchmarks.automation import settled_instance
from benchmarks.bench import SAMPLES, SETTINGS_FILE
from benchmarks.job import SHARD, SOURCE, Job, run_whole_job
from benchmarks.measure import in_new_process, peak_bytes, seconds_of
from benchmarks.report import machine
from benchmarks.simulated_home import ARITHMETIC, NOT_PER_SHARD, SimulatedHome, shard_name
from benchmarks.sizing import RECORD, SIZING, Figure, as_markdown, sizing
from curation_assets.incremental.digests import data_version
from curation_assets.orchestration.headless import HeadlessRun, open_instance
from curation_assets.orchestration.stage_asset import SHARDS
from curation_assets.settings import Maintenance, Shards, Source, load_settings, parse_settings
from curation_assets.shards import register
from curation_assets.tables import SOURCE_FILES, TABLES, TRAINING_MANIFEST
from curation_assets.training_set.gaps import find_gaps
from curation_assets.training_set.release import export_samples, released_samples
from curation_assets.upkeep import releases
from curation_assets.upkeep.maintenance import maintain
from curation_assets.upkeep.releases import tables_now
from deployments.demo.sample_videos import make_sample_videos
from resources.delta_store import Conflict, DeltaStore
from resources.files import Files
from resources.object_store import filesystem
from tests.automation.daemon import open_daemon
from tests.object_store.faulty_proxy import faulty_proxy
from tests.object_store.store import environment, object_store
from tests.postgres.server import PASSWORD, PASSWORD_VARIABLE, postgres

DISTINCT = 32  # shards made by refreshes
EXPORTED = (75, 150)  # shards, whose difference gives a sample's memory
RECORDED_RUNS = 3
REPEATS = 12  # of a commit, so that one writes a checkpoint
TABLE = "clip_selection"  # its refresh opens seven tables
WRITERS = (1, 2, 8)
COMMITS = 20  # a writer
UNNAMED_FILES = 50_000
REGISTERED_FILES = 50_000
FILMS = 5  # on the object store
STATUSES = """{assetNodeOrError(assetKey: {path: ["clip_selection"]}) {... on AssetNode {
  partitionKeys partitionStats {numMaterialized}
  assetPartitionStatuses {... on DefaultPartitionStatuses {materializedPartitions unmaterializedPartitions}}}}}"""

Row = dict[str, Any]


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--shards", type=int, default=10_000)
    arguments.add_argument("--clips-per-shard", type=int, default=1_000)
    options = arguments.parse_args()
    make_sample_videos(SAMPLES)
    started = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="reelhouse-scale-") as name:
        folder = Path(name)
        with open_instance(f"{folder}/demo") as instance:
            job = Job(f"{folder}/demo", instance, load_settings(SETTINGS_FILE))
            run_whole_job(job, SAMPLES)
            figures = [*shard_run(job), in_postgres(job, folder / "postgres")]
            home = simulated_home(job, folder / "home", options.clips_per_shard)
        tables = tables_of(home)
        figures += [*registration(folder / "registration"), *release(home), *reselection(home)]
        growth = [at_size(home, shards) for shards in sizes_up_to(options.shards)]
        figures += [*scan(home), *writers(home), *maintenance(home)]
        figures += [*partitions(folder / "instance", options.shards), *requests(folder / "remote")]
    about = (
        f"Written by `make bench-scale` in {time.monotonic() - started:.0f} s. {machine()}, "
        f"{dt.date.today().isoformat()}. {options.shards:,} shards of {clips_of(home, tables):,} clips."
    )
    RECORD.write_text(as_markdown(about, figures, tables, growth), encoding="utf-8")
    SIZING.write_text(sizing(), encoding="utf-8")
    print(f"written to {RECORD} and {SIZING}")


def sizes_up_to(shards: int) -> list[int]:
    """Decades from the distinct shards up."""
    return sorted({*(10**power for power in range(2, 7) if DISTINCT < 10**power < shards), DISTINCT, shards})


def shard_run(job: Job) -> list[Figure]:
    """The demo's own figures, and what Dagster keeps of a shard's run."""
    videos = job.rows("raw_videos")
    hours = float(videos.get_column("duration_s").sum()) / 3600
    clips, samples = job.rows("frames").height, job.rows("training_manifest").height
    (run,) = [run for run in job.instance.get_runs() if run.tags.get("dagster/partition") == SHARD]
    events = [serialize_value(entry) for entry in job.instance.all_logs(run.run_id)]
    return [
        Figure("demo_hours", hours, "h", "the demo's sources"),
        Figure("demo_pixels", mean_pixels(videos), "px/frame", "the same"),
        Figure("demo_source_bytes", float(videos.get_column("size_bytes").sum()), "B", "the same"),
        Figure("demo_clips", clips, "clips", "the demo's, scored"),
        Figure("samples_per_clip", samples / clips, "samples/clip", "the demo's; a matter of sources and thresholds"),
        Figure("frames_bytes", mean(job, "frames", "frames_size_bytes"), "B/clip", "nine stored frames"),
        Figure("clip_file_bytes", mean(job, "clip_files", "file_size_bytes"), "B/sample", "the demo's encoded clips"),
        Figure("steps", len(run_steps(job, run.run_id)), "/run", "of a shard's run; on Kubernetes a pod each"),
        Figure("events", len(events), "/run", "of a shard's run in Dagster's log, in-process executor"),
        Figure("event_bytes", sum(map(len, events)), "B/run", "the same, as JSON"),
    ]


def in_postgres(job: Job, folder: Path) -> Figure:
    """By the growth of the database over unchanged runs, which tell as much as the first."""
    folder.mkdir()
    with postgres() as server, patch.dict(os.environ, {PASSWORD_VARIABLE: PASSWORD}):
        server.ask("CREATE DATABASE dagster")
        (folder / "dagster.yaml").write_text(server.dagster_yaml("dagster"))
        with dg.DagsterInstance.from_config(str(folder)) as instance:
            instance.add_dynamic_partitions(str(SHARDS.name), [SHARD])
            runs = HeadlessRun(job.settings, job.home, instance)
            sizes = []
            for _ in range(1 + RECORDED_RUNS):
                runs.shard(SHARD, runs.assets)
                sizes += server.ask("SELECT pg_database_size('dagster')")
    return Figure(
        "postgres_bytes", (sizes[-1][0] - sizes[0][0]) / RECORDED_RUNS, "B/run", "PostgreSQL's growth by a shard's run"
    )


def run_steps(job: Job, run_id: str) -> set[str]:
    started = job.instance.all_logs(run_id, of_type=dg.DagsterEventType.STEP_START)
    return {str(entry.step_key) for entry in started}


def mean_pixels(videos: pl.DataFrame) -> float:
    frames = videos.select(pixels=pl.col("width") * pl.col("height") * pl.col("frame_count"), frames="frame_count")
    pixels, count = frames.drop_nulls().sum().row(0)
    return float(pixels / count)


def mean(job: Job, table: str, column: str) -> float:
    return float(job.rows(table).get_column(column).mean())  # type: ignore[arg-type]


def simulated_home(job: Job, folder: Path, clips_per_shard: int) -> SimulatedHome:
    home = SimulatedHome(folder, job.settings)
    names = [name for name in TABLES if name not in (*ARITHMETIC, *NOT_PER_SHARD)]
    demo = {name: job.rows(name) for name in names if name in os.listdir(f"{job.home}/tables")}
    copies = -(-clips_per_shard // demo["frames"].height)
    for number in range(DISTINCT):
        home.add_distinct(demo, copies, number)
    return home


def tables_of(home: SimulatedHome) -> list[Row]:
    """Rows and bytes of each table, of a distinct shard."""
    found = []
    for name in home.tables:
        table = home.store.snapshot(name)
        files = pl.DataFrame(table.get_add_actions(flatten=True))
        rows = home.store.read(table, list(TABLES[name].schema))
        if rows.height:
            disk = int(files.get_column("size_bytes").sum())
            found.append({"table": name, "rows": rows.height, "disk": disk, "memory": rows.estimated_size()})
    return found


def clips_of(home: SimulatedHome, tables: list[Row]) -> int:
    return next(table["rows"] for table in tables if table["table"] == "frames") // DISTINCT


def release(home: SimulatedHome) -> list[Figure]:
    """The search for gaps, over distinct clips, since it joins them; memory from a quarter at once to all."""
    few, many = (own_process(look_for_gaps, home, parts) for parts in (4, 1))
    clips, seconds, _ = many
    return [
        Figure("gaps_s", seconds / clips, "s/clip", "a release's search for gaps, all tables"),
        Figure("gaps_memory", (many[2] - few[2]) / (clips * 0.75), "B/clip", "its peak, of those it looks at together"),
        Figure("gaps_rows", releases.ROWS_AT_ONCE, "rows", "of a table that it looks at together"),
    ]


def export(home: SimulatedHome, shards: int) -> tuple[int, int]:
    """Samples, and bytes of their exports."""
    tables = replace(tables_now(home.store), shards=[shard_name(number) for number in range(shards)])
    samples = released_samples(tables)
    data_version(samples, TRAINING_MANIFEST)
    return samples.height, sum(len(data) for _, data in export_samples(samples, None))


def look_for_gaps(home: SimulatedHome, parts: int) -> int:
    most = max(home.store.scan(home.store.snapshot(table)).select(pl.len()).collect().item() for table in home.tables)
    with patch.object(releases, "ROWS_AT_ONCE", most // parts):
        find_gaps(home.stages, tables_now(home.store))
    return home.store.read(home.store.snapshot("frames"), ["clip_id"]).height


def scan(home: SimulatedHome) -> list[Figure]:
    """What of a release depends on the samples alone: at full size, and with digest and exports of some shards."""
    samples, seconds, peak = own_process(scan_samples, home)
    few, many = (own_process(export, home, shards) for shards in EXPORTED)
    (exported, written), export_s, export_peak = many
    return [
        Figure("export_s", export_s / exported, "s/sample", "a release's scan, digest and four exports"),
        Figure("export_memory", (export_peak - few[2]) / (exported - few[0][0]), "B/sample", "the same, at its peak"),
        Figure("export_bytes", written / exported, "B/sample", "the four exports"),
        Figure("scanned_samples", samples, "samples", "of all shards, read and sorted as a release does"),
        Figure("scan_s", seconds, "s", "the same"),
        Figure("scan_memory", peak, "B", "the same, at its peak"),
    ]


def scan_samples(home: SimulatedHome) -> int:
    return released_samples(tables_now(home.store)).height


def own_process(function: Callable[..., Any], *arguments: Any) -> tuple[Any, float, int]:
    """What the function returns, its seconds, and by how much the process grew at its peak, bytes."""
    cost: tuple[Any, float, int] = in_new_process(measured, function, arguments)
    return cost


def measured(function: Callable[..., Any], arguments: tuple[Any, ...]) -> tuple[Any, float, int]:
    before, started = peak_bytes(), time.perf_counter()
    result = function(*arguments)
    return result, time.perf_counter() - started, peak_bytes() - before


def registration(folder: Path) -> list[Figure]:
    """Of one new file among many that are known."""
    (folder / "films").mkdir(parents=True)
    for number in range(REGISTERED_FILES):
        (folder / "films" / f"{number:08d}.mp4").touch()
    own_process(registered, folder)
    (folder / "films" / "new.mp4").touch()
    written, seconds, peak = own_process(registered, folder)
    return [
        Figure("register_s", seconds / REGISTERED_FILES, "s/file", "a registration that finds one file more"),
        Figure("register_memory", peak / REGISTERED_FILES, "B/file", "the same, at its peak"),
        Figure("register_files", written, "files", "that it writes, whatever the number of shards"),
    ]


def registered(folder: Path) -> int:
    """How many data files the table got."""
    store = DeltaStore(str(folder / "home"))
    before = set(store.open(SOURCE_FILES.name, SOURCE_FILES.schema).file_uris())
    source = {"films": Source(path=str(folder / "films"))}
    register(source, Shards(), store, "benchmark", lambda entry: hashlib.sha256(entry.path.encode()).hexdigest()[:16])
    return len(set(store.snapshot(SOURCE_FILES.name).file_uris()) - before)


def reselection(home: SimulatedHome) -> list[Figure]:
    """Another threshold, over stored scores."""
    tighter = home.settings.model_dump(mode="json", exclude_unset=True)
    tighter |= {"selection": {"semantic": {"efficientnet_lite0": {"min": 0.9}}}}
    other = replace(home, settings=parse_settings(tighter, "benchmark"))
    started = time.perf_counter()
    computed = sum(other.refresh(TABLE, shard_name(number)).computed for number in range(DISTINCT // 2))
    return [Figure("reselect_s", (time.perf_counter() - started) / computed, "s/clip", "another threshold, one core")]


def at_size(home: SimulatedHome, shards: int) -> Row:
    """Medians of what a shard costs in tables of so many."""
    home.grow(shards)
    opens, reads, commits = [], [], []
    schema = TABLES[TABLE].schema
    for number in range(REPEATS):
        shard = shard_name(number)
        started = time.perf_counter()
        handle = home.store.open(TABLE, schema)
        opened = time.perf_counter()
        rows = home.store.read(handle, list(schema), shard)
        read = time.perf_counter()
        home.store.replace(handle, rows.with_columns(run_id=pl.lit(f"run {number} of {shards}")), shard, {})
        commits.append(time.perf_counter() - read)
        opens.append(opened - started)
        reads.append(read - opened)
    home.refresh(TABLE, shard_name(0))  # back to what it finds unchanged
    refreshes = [seconds_of(lambda: home.refresh(TABLE, shard_name(0))) for _ in range(REPEATS // 2)]
    log = {path.name: path.stat().st_size for path in (home.folder / "tables" / TABLE / "_delta_log").iterdir()}
    checkpoint = max((size for name, size in log.items() if name.endswith(".checkpoint.parquet")), default=0)
    commit = statistics.median(sorted(size for name, size in log.items() if name.endswith(".json"))[:-1])
    medians = {"open": opens, "read": reads, "commit": commits, "refresh": refreshes}
    return {
        "shards": shards,
        **{f"{what}_s": statistics.median(seconds) for what, seconds in medians.items()},
        "checkpoint_bytes": checkpoint,
        "commit_bytes": commit,
    }


def writers(home: SimulatedHome) -> list[Figure]:
    """Processes that read and replace different shards of one table, as fast as they can."""
    context, figures = mp.get_context("spawn"), []
    for count in WRITERS:
        before = home.store.snapshot(TABLE).version()
        barrier = context.Barrier(count)
        with ProcessPoolExecutor(count, context, take_part, (barrier,)) as pool:
            made_by = [pool.submit(commit_shards, home.folder, writer, count) for writer in range(count)]
            spans = [writer.result() for writer in made_by]
        table = home.store.snapshot(TABLE)
        made = table.version() - before
        retries = sum(commit["operationMetrics"].get("num_retries", 0) for commit in table.history(made))
        rate = made / (max(end for _, end, _ in spans) - min(start for start, _, _ in spans))
        conflicts = sum(lost for _, _, lost in spans)
        what = f"commits of {count} processes to one table: {retries} retries, {conflicts} conflicts"
        figures.append(Figure(f"commits_of_{count}", rate, "/s", what))
    return figures


_barrier: Barrier


def take_part(barrier: Barrier) -> None:
    global _barrier
    _barrier = barrier


def commit_shards(folder: Path, writer: int, writers: int) -> tuple[float, float, int]:
    """Start, end, and commits lost to a conflict."""
    store, schema, lost = DeltaStore(str(folder)), TABLES[TABLE].schema, 0
    _barrier.wait()
    started = time.time()
    for number in range(COMMITS):
        shard = shard_name(writer + writers * (number % max(1, DISTINCT // writers)))
        while True:
            handle = store.open(TABLE, schema)
            rows = store.read(handle, list(schema), shard).with_columns(run_id=pl.lit(f"{writers} {writer} {number}"))
            try:
                store.replace(handle, rows, shard, {})
                break
            except Conflict:
                lost += 1
    return started, time.time(), lost


def maintenance(home: SimulatedHome) -> list[Figure]:
    """Of all tables now; of files that nothing names; and of what two months later is old enough to go."""
    now = dt.datetime.now(dt.UTC)
    _, seconds, peak = own_process(maintained, home, now)
    unnamed = home.folder / "frames" / shard_name(0)
    unnamed.mkdir(parents=True)
    for number in range(UNNAMED_FILES):
        (unnamed / f"{number:08d}.zip").touch()
    listed, listing_s, listing_peak = own_process(listing, home)
    (before, after), _, _ = own_process(maintained, home, now + dt.timedelta(days=60))
    return [
        Figure("maintain_s", seconds, "s", "`reelhouse maintain` of these tables, without clips' files"),
        Figure("maintain_memory", peak, "B", "the same, at its peak"),
        Figure("file_s", listing_s / listed, "s/file", "a file under frames or clips: its place in the list of all"),
        Figure("file_memory", listing_peak / listed, "B/file", "the same, at its peak"),
        Figure("log_before", before, "B", f"{TABLE}'s log before it is trimmed"),
        Figure("log_after", after, "B", "the same after"),
    ]


def listing(home: SimulatedHome) -> int:
    return len(Files(str(home.folder)).found("frames"))


def maintained(home: SimulatedHome, now: dt.datetime) -> tuple[int, int]:
    files, log = Files(str(home.folder)), f"tables/{TABLE}/_delta_log"
    before = sum(file.size_bytes for file in files.found(log))
    maintain(home.store, files, Maintenance(), now)
    return before, sum(file.size_bytes for file in files.found(log))


def partitions(folder: Path, shards: int) -> list[Figure]:
    """What the UI asks for an asset's partitions."""
    names = [shard_name(number) for number in range(shards)]
    with settled_instance(folder, names) as instance, open_daemon(instance) as daemon:
        context = daemon.workspace.create_request_context()
        answers: list[Any] = []
        seconds = [seconds_of(lambda: answers.append(execute_dagster_graphql(context, STATUSES))) for _ in range(3)]
    answer = answers[-1].data["assetNodeOrError"]
    if answer["partitionStats"]["numMaterialized"] != shards:
        raise SystemExit(f"not every shard is materialized: {answer['partitionStats']}")
    return [
        Figure("statuses_first_s", seconds[0], "s", f"GraphQL: keys, counts and statuses of {shards:,} shards, first"),
        Figure("statuses_s", min(seconds), "s", "the same again"),
        Figure("statuses_bytes", len(json.dumps(answers[-1].data)), "B", "its answer"),
    ]


def requests(folder: Path) -> list[Figure]:
    """Of a whole job with home and source on an object store, by what they are for."""
    folder.mkdir()
    with object_store() as store, faulty_proxy(store.url) as proxy, patch.dict(os.environ, environment(proxy.url)):
        bucket = store.make_bucket("bench")
        for path in sorted(SAMPLES.glob("composed_*.mp4"))[:FILMS]:
            filesystem(bucket).put_file(str(path), f"{bucket}/films/{path.name}")
        proxy.requests.clear()
        run_remote_job(bucket, folder)
        asked = [(request.method in ("PUT", "POST", "DELETE"), request.path) for request in proxy.requests]
        home = DeltaStore(f"{bucket}/home")
        clips = home.read(home.snapshot("frames"), ["clip_id"]).height
    made = Counter((is_write, asked_for(path)) for is_write, path in asked)
    counts = {"video": FILMS, "clip": clips, "shard": 1}
    return [
        Figure(
            f"{kind}_per_{what}", made[is_write, what] / count, f"/{what}", f"{kind} of an object store for a {what}"
        )
        for what, count in counts.items()
        for is_write, kind in ((True, "writes"), (False, "reads"))
    ]


def asked_for(path: str) -> str:
    """What the number of such requests grows with."""
    if path.startswith("/bench/films/"):
        return "video"
    return "clip" if path.startswith(("/bench/home/frames/", "/bench/home/clips/")) else "shard"


def run_remote_job(bucket: str, folder: Path) -> None:
    document = load_settings(SETTINGS_FILE).model_dump(mode="json", exclude_unset=True)
    document |= {"rewriting": {"engine": "off"}, "execution": {"item_timeout_s": 599.0}}  # workers that know the store
    with dg.DagsterInstance.local_temp(str(folder)) as instance:
        runs = HeadlessRun(parse_settings(document, "benchmark"), f"{bucket}/home", instance)
        runs.register({"name": SOURCE, "path": f"{bucket}/films"})
        runs.shard(SHARD, runs.assets)
    if runs.outcome.step_failures:
        raise SystemExit(f"the job on an object store failed: {runs.outcome.step_failures}")


if __name__ == "__main__":
    main()
