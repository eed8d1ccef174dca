"""Measures the pipeline on the demo's videos, each figure beside the limit that no implementation gets past.

    python -m benchmarks.bench

Prints the tables and writes them to benchmarks/RESULTS.md with the machine they were measured on. Nothing is taken
from elsewhere: a limit is measured in the same run too.
"""

import hashlib
import os
import tempfile
import time
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from benchmarks.automation import automation_section
from benchmarks.decoding import Decoding
from benchmarks.job import SHARD, Job, run_whole_job
from benchmarks.report import Section, as_markdown, seconds_of, show
from benchmarks.sizing import SIZING, sizing
from curation_assets.headless import HeadlessRun, open_instance
from curation_assets.refresh import Context, Done, Row, Stage, Work, refresh
from curation_assets.settings import Shards, Source, load_settings, parse_settings
from curation_assets.shards import register
from curation_assets.tables import TABLES, Table, col
from deployments.demo.sample_videos import make_sample_videos
from resources.delta_store import DeltaStore
from resources.files import Files
from resources.image_encoder import open_image_encoder
from resources.packages import package_file
from resources.pictures import unpack_pictures
from resources.text_reader import open_text_reader
from resources.workers import available_cores

SETTINGS_FILE = "deployments/demo/curation.yaml"
SAMPLES = Path(".reelhouse-demo/samples")
RESULTS = Path(__file__).parent / "RESULTS.md"
TOY_ROWS = 10_000
HASHED_FILES, HASHED_FILE_BYTES = 8, 64 * 2**20
PICTURES = 64
REWRITER_FLOP_PER_TOKEN = 2 * 135e6
ENCODER_FLOP = 2 * 407e6
"""Of a 224 x 224 px picture: EfficientNet-lite0's 407 million multiply-adds, by its authors' table."""


def main() -> None:
    make_sample_videos(SAMPLES)
    with tempfile.TemporaryDirectory(prefix="reelhouse-bench-") as folder:
        home = f"{folder}/home"
        with open_instance(home) as instance:
            job = Job(home, instance, load_settings(SETTINGS_FILE))
            run_whole_job(job, SAMPLES)
            decoding = Decoding.measure(job)
            sections = [
                stages_section(job, decoding),
                decoding.frames_section(),
                decoding.cpu_section(),
                refresh_section(job, Path(folder)),
                models_section(job),
                hashing_section(Path(folder) / "hashing"),
                automation_section(Path(folder) / "automation"),
            ]
    show(sections)
    RESULTS.write_text(as_markdown(sections), encoding="utf-8")
    SIZING.write_text(sizing(), encoding="utf-8")
    print(f"written to {RESULTS} and {SIZING}")


def stages_section(job: Job, decoding: "Decoding") -> Section:
    cores = available_cores()
    section = Section(f"The whole job on a fresh home, {cores} worker processes")
    in_clips = decoding.clip_frames / decoding.source_frames
    limits = {
        "scenes": (decoding.plain_cpu_s / cores, "plain decode of the sources on all cores"),
        "frames": (in_clips * decoding.plain_cpu_s / cores, "plain decode of the clips on all cores"),
        "clip_files": (decoding.ffmpeg_cpu_s / cores, "ffmpeg alone, decode and encode, on all cores"),
    }
    shared = "with frames"
    for asset, metadata in job.stages:
        seconds = metadata.get("seconds", 0.0)
        units = metadata.get("computed", 0)
        rate = f"{units / seconds:.1f}/s" if seconds and units else "-"
        limit_s, limit_is = limits.get(asset, (metadata.get("limit_seconds"), metadata.get("limit_is", "")))
        measured = shared if asset == "motion_scores" else f"{seconds:.2f} s, {units} units, {rate}"
        section.add(asset, measured, "" if limit_s is None else f"{limit_s:.2f} s", limit_is)
    section.add("the whole job", f"{job.seconds:.1f} s")
    section.remarks.append(
        "Workers start and load their models inside these figures; the rest of the whole is Dagster's own work."
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

    def compute(work: list[Work]) -> Iterable[Done]:
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


def models_section(job: Job) -> Section:
    import torch

    section = Section("Models, one thread")
    files = Files(job.home)
    paths = job.rows("frames").filter(pl.col("error").is_null()).sort("clip_id").get_column("frames_path")
    clips = [unpack_pictures(files.read(path)) for path in paths]

    encoder = open_image_encoder("efficientnet_lite0")
    pictures = [picture for clip in clips for picture in clip][:: max(1, 9 * len(clips) // PICTURES)]
    encoder.encode(pictures[:2])
    encoder_s = seconds_of(lambda: encoder.encode(pictures)) / len(pictures)
    square = torch.ones(1024, 1024)
    flop_per_s = 2 * 1024**3 / min(seconds_of(lambda: square @ square) for _ in range(10))
    section.add(
        "image encoder (EfficientNet-lite0)",
        f"{1000 * encoder_s:.1f} ms/picture",
        f"{1000 * ENCODER_FLOP / flop_per_s:.1f} ms",
        f"407 M multiply-adds at this core's {flop_per_s / 1e9:.0f} GFLOP/s of matrix product",
    )

    rewritten = job.rows("rewritten_captions")
    tokens = int(rewritten.get_column("completion_tokens").sum())
    rewriting_s = next(metadata["seconds"] for asset, metadata in job.stages if asset == "rewritten_captions")
    section.add(
        f"caption rewriting (SmolLM2-135M), {rewritten.height} captions, {tokens} tokens written",
        f"{rewriting_s:.1f} s",
        f"{tokens * REWRITER_FLOP_PER_TOKEN / flop_per_s / available_cores():.2f} s",
        "135 M multiply-adds a token written, on all cores",
    )

    settings = job.settings.text
    looked_at = [clip[len(clip) // 2] for clip in clips]
    reader = open_text_reader("rapidocr")
    reader.read(looked_at[0], settings.longest_side_px, settings.min_confidence)

    def read_all() -> None:
        for picture in looked_at:
            reader.read(picture, settings.longest_side_px, settings.min_confidence)

    reader_s = seconds_of(read_all) / len(looked_at)
    detector_s = text_detector_s(settings.longest_side_px, looked_at)
    section.add(
        "text reader (RapidOCR)",
        f"{1000 * reader_s:.0f} ms/picture",
        f"{1000 * detector_s:.0f} ms",
        "its detector network alone, without a text to read",
    )
    return section


def text_detector_s(longest_side_px: int, pictures: Sequence[Any]) -> float:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    model = str(package_file("rapidocr", "PP-OCRv6_det_small.onnx"))
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    inputs = []
    for height, width, _ in (picture.shape for picture in pictures):
        scale = min(1.0, longest_side_px / max(height, width))
        sides = [max(32, round(side * scale / 32) * 32) for side in (height, width)]
        inputs.append(np.zeros((1, 3, *sides), np.float32))
    session.run(None, {name: inputs[0]})

    def run_all() -> None:
        for pixels in inputs:
            session.run(None, {name: pixels})

    return seconds_of(run_all) / len(inputs)


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
