"""Measures the pipeline on the demo's videos, each figure beside the limit that no implementation gets past.

    python -m benchmarks.bench

Prints the tables and writes them to benchmarks/RESULTS.md with the machine they were measured on. Nothing is taken
from elsewhere: a limit is measured in the same run too.
"""

import hashlib
import os
import platform
import re
import resource
import subprocess
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from dagster import DagsterInstance
from rich.console import Console
from rich.table import Table as TerminalTable

from curation_assets.clip_files import encoding
from curation_assets.clips.detection import detect_scenes
from curation_assets.frames.decoding import decode_clip
from curation_assets.frames.motion_engines import motion_engines
from curation_assets.headless import HeadlessRun, instance_folder
from curation_assets.refresh import Context, Done, Row, Stage, Work, refresh
from curation_assets.scores.text import frame_positions
from curation_assets.settings import Settings, Shards, Source, load_settings, parse_settings
from curation_assets.shards import register
from curation_assets.tables import TABLES, Table, col
from deployments.demo.sample_videos import make_sample_videos
from resources import media
from resources.delta_store import DeltaStore
from resources.ffmpeg import Limits, ffmpeg_program
from resources.files import Files
from resources.image_encoder import open_image_encoder
from resources.media import VideoSource
from resources.packages import package_file
from resources.pictures import unpack_pictures
from resources.text_reader import open_text_reader
from resources.workers import available_cores

SETTINGS_FILE = "deployments/demo/curation.yaml"
SAMPLES = Path(".reelhouse-demo/samples")
RESULTS = Path(__file__).parent / "RESULTS.md"
SOURCE = "samples"
SHARD = "samples-0000"
TOY_ROWS = 10_000
HASHED_FILES, HASHED_FILE_BYTES = 8, 64 * 2**20
ENCODER_FLOP = 2 * 407e6
"""Of a 224 x 224 px picture: EfficientNet-lite0's 407 million multiply-adds, by its authors' table."""
LIMITS = Limits(timeout_s=600, memory_bytes=8 * 2**30)


@dataclass(frozen=True)
class Line:
    what: str
    measured: str
    limit: str = ""
    limit_is: str = ""


@dataclass
class Section:
    title: str
    lines: list[Line] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)

    def add(self, what: str, measured: str, limit: str = "", limit_is: str = "") -> None:
        self.lines.append(Line(what, measured, limit, limit_is))


@dataclass
class Job:
    """The whole job on a fresh home: what every later measurement starts from."""

    home: str
    instance: DagsterInstance
    settings: Settings
    seconds: float = 0.0
    stages: list[tuple[str, dict[str, Any]]] = field(default_factory=list)

    @property
    def store(self) -> DeltaStore:
        return DeltaStore(self.home)

    def rows(self, table: str) -> pl.DataFrame:
        return self.store.scan(self.store.snapshot(table)).collect()


def main() -> None:
    make_sample_videos(SAMPLES)
    with tempfile.TemporaryDirectory(prefix="reelhouse-bench-") as folder:
        home = f"{folder}/home"
        os.environ["DAGSTER_HOME"] = str(instance_folder(home))
        with DagsterInstance.from_config(os.environ["DAGSTER_HOME"]) as instance:
            job = Job(home, instance, load_settings(SETTINGS_FILE))
            run_whole_job(job)
            decoding = Decoding.measure(job)
            sections = [
                stages_section(job, decoding),
                decoding.frames_section(),
                decoding.cpu_section(),
                refresh_section(job, Path(folder)),
                models_section(job),
                hashing_section(Path(folder) / "hashing"),
            ]
    show(sections)
    RESULTS.write_text(as_markdown(sections), encoding="utf-8")
    print(f"written to {RESULTS}")


def run_whole_job(job: Job) -> None:
    started = time.monotonic()
    run = HeadlessRun(job.settings, job.home, job.instance)
    if not run.register({"name": SOURCE, "path": str(SAMPLES.absolute()), "recursive": True}):
        raise SystemExit(f"registration failed: {run.outcome.step_failures}")
    run.shard(SHARD, run.assets)
    run.release()
    job.seconds = time.monotonic() - started
    job.stages = [(asset, metadata) for asset, _, metadata in run.outcome.materialized]
    if run.outcome.step_failures:
        raise SystemExit(f"steps failed: {run.outcome.step_failures}")


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
        limit_s, limit_is = limits.get(asset, (None, ""))
        measured = shared if asset == "motion_scores" else f"{seconds:.2f} s, {units} units, {rate}"
        section.add(asset, measured, "" if limit_s is None else f"{limit_s:.2f} s", limit_is)
    section.add("the whole job", f"{job.seconds:.1f} s")
    section.remarks.append(
        "Workers start and load their models inside these figures; the rest of the whole is Dagster's own work."
    )
    return section


@dataclass
class Decoding:
    """The three steps that decode, run in this process so that frames and CPU seconds can be counted."""

    source_frames: int
    clip_frames: int
    encoded_frames: int
    plain_cpu_s: float
    counted: dict[str, int]
    cpu_s: dict[str, float]
    ffmpeg_cpu_s: float

    @classmethod
    def measure(cls, job: Job) -> "Decoding":
        videos = {row["video_id"]: row for row in job.rows("raw_videos").to_dicts() if not row["error"]}
        clips = [row for row in job.rows("clips").to_dicts() if not row["error"] and not row["dropped"]]
        chosen = set(job.rows("clip_files").filter(pl.col("error").is_null()).get_column("clip_id"))
        engines = motion_engines(job.settings.motion)
        sources = {name: VideoSource.from_row(row) for name, row in videos.items()}

        def cuts() -> None:
            for name, source in sources.items():
                detect_scenes(source, name, job.settings.cuts)

        def frames_and_motion() -> None:
            for clip in clips:
                decode_clip(clip, sources[clip["video_id"]], frames=job.settings.frames, motion=engines)

        def encode(destination: Path) -> None:
            for clip in clips:
                if clip["clip_id"] in chosen:
                    video = videos[clip["video_id"]]
                    encoding.encode_clip(
                        clip,
                        sources[clip["video_id"]],
                        video["audio_stream_index"],
                        job.settings.clip_files,
                        destination,
                        LIMITS,
                    )

        counted, cpu_s = Counter[str](), {}
        with counting_decoded_frames() as decoded, tempfile.TemporaryDirectory() as scratch:
            for step, function in (
                ("cut detection", cuts),
                ("frames and motion", frames_and_motion),
                ("encoding", lambda: encode(Path(scratch) / "clip.mp4")),
            ):
                decoded.clear()
                children_s, own_s = children_cpu_s(), time.process_time()
                function()
                cpu_s[step] = time.process_time() - own_s
                ffmpeg_cpu_s = children_cpu_s() - children_s
                for by, frames in decoded.items():
                    counted[f"{step}: {by}"] += frames
        return cls(
            source_frames=sum(row["frame_count"] for row in videos.values()),
            clip_frames=sum(clip["frame_count"] for clip in clips),
            encoded_frames=sum(clip["frame_count"] for clip in clips if clip["clip_id"] in chosen),
            plain_cpu_s=sum(plain_decode_cpu_s(source) for source in sources.values()),
            counted=dict(counted),
            cpu_s=cpu_s,
            ffmpeg_cpu_s=ffmpeg_cpu_s,
        )

    def frames_section(self) -> Section:
        section = Section("Frames decoded, of the sources and of what was encoded")
        in_clips, encoded = self.clip_frames / self.source_frames, self.encoded_frames / self.source_frames
        aims = {"cut detection: source": 1.0, "frames and motion: source": in_clips, "encoding: source": encoded}
        of_sources = 0
        for step, frames in self.counted.items():
            aim = aims.get(step)
            share = frames / self.source_frames
            of_sources += frames if aim is not None else 0
            limit, limit_is = ("", "") if aim is None else (f"{aim:.3f}", "frames asked for / frames in the sources")
            if aim is None:
                limit, limit_is = f"{encoded:.3f}", "each encoded frame once, to check the file"
            section.add(step, f"{frames} frames, {share:.3f} x the sources", limit, limit_is)
        aim = 1 + 1.1 * in_clips + 1.1 * encoded
        section.add(
            "source frames decoded by all steps",
            f"{of_sources} frames, {of_sources / self.source_frames:.3f} x the sources",
            f"{aim:.3f}",
            f"aim: 1 + 1.1 x {in_clips:.3f} in clips + 1.1 x {encoded:.3f} encoded",
        )
        section.remarks.append(
            f"The sources hold {self.source_frames} frames, clips {self.clip_frames}, encoded clips "
            f"{self.encoded_frames}. Seeking lands on a keyframe before the span: that is the difference to the "
            "frames asked for."
        )
        return section

    def cpu_section(self) -> Section:
        section = Section("CPU seconds against a plain decode")
        plain = self.plain_cpu_s
        section.add("plain decode (`ffmpeg -threads 1 -f null`)", f"{plain:.2f} CPU s", "1", "itself")
        in_clips = self.clip_frames / self.source_frames
        for step, floor in (("cut detection", 1.0), ("frames and motion", in_clips)):
            seconds = self.cpu_s[step]
            section.add(
                step,
                f"{seconds:.2f} CPU s, {seconds / plain:.2f} x",
                f"{floor:.2f} x",
                "plain decode of the frames it looks at",
            )
        section.add(
            "encoding: ffmpeg",
            f"{self.ffmpeg_cpu_s:.2f} CPU s",
            f"{self.ffmpeg_cpu_s:.2f} CPU s",
            "is itself the floor at these encoder settings",
        )
        section.add("encoding: check of the files", f"{self.cpu_s['encoding']:.2f} CPU s")
        return section


@contextmanager
def counting_decoded_frames() -> Iterator[Counter[str]]:
    """Counts frames that leave a decoder: of sources, of encoded files, in this process and in ffmpeg."""
    decoded = Counter[str]()
    decode, run = media._decode, encoding.run_ffmpeg

    def counting_decode(source: VideoSource, *span: int | None) -> Iterator[Any]:
        of = "encoded files" if source.uri.endswith(".partial") else "source"
        for item in decode(source, *span):
            decoded[of] += 1
            yield item

    def counting_ffmpeg(arguments: Sequence[str], _: Limits) -> None:
        command = [ffmpeg_program(), "-nostdin", "-hide_banner", "-nostats", "-loglevel", "verbose", *arguments]
        said = subprocess.run(command, capture_output=True, text=True, errors="replace", check=True).stderr
        decoded["source"] += sum(map(int, re.findall(r"\(video\): .*?(\d+) frames decoded", said)))

    media._decode, encoding.run_ffmpeg = counting_decode, counting_ffmpeg  # type: ignore[assignment]
    try:
        yield decoded
    finally:
        media._decode, encoding.run_ffmpeg = decode, run


def plain_decode_cpu_s(source: VideoSource) -> float:
    before = children_cpu_s()
    options = ["-map", f"0:{source.stream_index}", "-fps_mode", "passthrough", "-f", "null", "-"]
    subprocess.run(
        [ffmpeg_program(), "-nostdin", "-loglevel", "error", "-threads", "1", "-i", f"file:{source.uri}", *options],
        check=True,
    )
    return children_cpu_s() - before


def children_cpu_s() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def refresh_section(job: Job, folder: Path) -> Section:
    section = Section("Refresh")
    again = HeadlessRun(job.settings, job.home, job.instance)
    started = time.monotonic()
    again.shard(SHARD, again.assets)
    wall_s = time.monotonic() - started
    reports = [metadata for _, _, metadata in again.outcome.materialized]
    if any(report["computed"] for report in reports):
        raise SystemExit("an unchanged shard was computed again")
    own_s = sum(report["seconds"] for asset, _, report in again.outcome.materialized if asset != "motion_scores")
    read_s = seconds_of(lambda: read_everything(job))
    rows = sum(report["dagster/partition_row_count"] for report in reports)
    what = f"unchanged shard, {len(reports)} assets, {rows} rows"
    section.add(f"{what}: refresh", f"{own_s:.2f} s", f"{read_s:.2f} s", "one read of every table")
    section.add(f"{what}: with Dagster's runs, events and checks", f"{wall_s:.2f} s")
    section.add(*threshold_line(job))
    toy_lines(section, folder / "toy")
    return section


def read_everything(job: Job) -> None:
    for name in TABLES:
        if name not in ("training_set", "beautified_prompts", "source_files"):
            job.store.read(job.store.snapshot(name), list(TABLES[name].schema), SHARD)


def threshold_line(job: Job) -> tuple[str, str, str, str]:
    """A tighter bound on the semantic score, that drops half of the samples, to a new manifest and release."""
    manifest = job.rows("training_manifest")
    median = float(manifest.get_column("semantic_score").median())  # type: ignore[arg-type]
    document = job.settings.model_dump(mode="json", exclude_unset=True)
    document |= {"selection": {"semantic": {"efficientnet_lite0": {"min": median}}}}
    started = time.monotonic()
    run = HeadlessRun(parse_settings(document, "benchmark"), job.home, job.instance)
    run.shard(SHARD, run.assets)
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
    pictures = [picture for clip in clips for picture in clip]
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

    settings = job.settings.text
    looked_at = [clip[k] for clip in clips for k in frame_positions(settings.frames, len(clip))]
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


def seconds_of(function: Callable[[], Any]) -> float:
    started = time.perf_counter()
    function()
    return time.perf_counter() - started


def machine() -> str:
    """CPU, cores this process may use, and memory."""
    about = Path("/proc/cpuinfo").read_text() if Path("/proc/cpuinfo").exists() else ""
    named = re.search(r"model name\s*:\s*(.+)", about)
    memory_gib = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return f"{named[1] if named else platform.processor()}, {available_cores()} cores, {memory_gib:.0f} GiB"


HEADINGS = ("", "measured", "limit", "the limit is")


def cells(line: Line) -> tuple[str, str, str, str]:
    return line.what, line.measured, line.limit, line.limit_is


def show(sections: Sequence[Section]) -> None:
    console = Console(width=150)
    for section in sections:
        table = TerminalTable(*HEADINGS, title=section.title, title_justify="left")
        for line in section.lines:
            table.add_row(*cells(line))
        console.print(table, markup=False)
        for remark in section.remarks:
            console.print(remark, markup=False)


def as_markdown(sections: Sequence[Section]) -> str:
    parts = [
        "# Results",
        f"Written by `make bench`. {machine()}, Python {platform.python_version()}, {date.today().isoformat()}. The "
        "videos are the demo's 16 samples.",
    ]
    for section in sections:
        lines = [f"| {' | '.join(HEADINGS)} |", "|---|---|---|---|"]
        lines += [f"| {' | '.join(cells(line))} |" for line in section.lines]
        parts += [f"## {section.title}", "\n".join(lines), *section.remarks]
    return "\n\n".join(parts) + "\n"


if __name__ == "__main__":
    main()
