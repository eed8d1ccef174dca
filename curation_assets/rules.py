"""What must hold of a table's rows for those made from them to be right; `checks.py` makes asset checks of it.

Rows that hold an error are failures and make no promise; a rule looks at the others. A rule names what breaks it.
"""

import hashlib
import io
import json
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from typing import NamedTuple

import polars as pl
from deltalake import DeltaTable

from curation_assets.incremental.committing import Report
from curation_assets.incremental.stage import Stage
from curation_assets.media_types import IS_IMAGE
from curation_assets.spot_checks import clip_is_as_described, frames_are_as_described
from curation_assets.tables import TABLES
from resources.calls import Call, Row, run_call
from resources.delta_store import DeltaStore
from resources.errors import InputError
from resources.files import Files
from resources.workers import WorkerPool

SPOT_CHECKS = 2  # files of a shard that are decoded again after a refresh that made some
_ROUNDING = 1e-6  # of sums and cosines of 64-bit floats


class Finding(NamedTuple):
    """What breaks a rule, of `rows` that were looked at; nothing: the rule holds."""

    rule: str
    rows: int
    wrong: Sequence[str]


class Range(NamedTuple):
    """Inclusive; None is no bound. A value is finite, and there is one unless `optional`, or `of_videos` alone."""

    min: float | None = None
    max: float | None = None
    optional: bool = False
    of_videos: bool = False


class Same(NamedTuple):
    """A column holds what another table's column holds for the same clip."""

    column: str
    table: str
    other: str


COSINE, SHARE, POSITIVE, COUNT = Range(-1, 1), Range(0, 1), Range(0, None), Range(1, None)
TEXT_AREA = POSITIVE  # a share, or craft's sum of boxes, which may overlap
ALIGNMENT = Range(-1, 100)  # a cosine, or by clip_score a hundred times one

PARENT: Mapping[str, tuple[str, str]] = {  # table -> the column that names its parent, and the parent's table
    "raw_videos": ("video_id", "source_files"),
    "scenes": ("video_id", "raw_videos"),
    "clips": ("video_id", "raw_videos"),
    "frames": ("clip_id", "clips"),
    "clip_crops": ("clip_id", "frames"),
    "motion_scores": ("clip_id", "clips"),
    "semantic_scores": ("clip_id", "frames"),
    "clip_embeddings": ("clip_id", "frames"),
    "aesthetic_scores": ("clip_id", "frames"),
    "text_scores": ("clip_id", "frames"),
    "technical_scores": ("clip_id", "frames"),
    "safety_scores": ("clip_id", "frames"),
    "watermark_scores": ("clip_id", "frames"),
    "clip_selection": ("clip_id", "clips"),
    "clip_hashes": ("clip_id", "frames"),
    "clip_neighbours": ("clip_id", "clip_hashes"),
    "captions": ("clip_id", "clip_selection"),
    "rewritten_captions": ("clip_id", "captions"),
    "alignment_scores": ("clip_id", "rewritten_captions"),
    "sample_selection": ("clip_id", "clip_selection"),
    "clip_files": ("clip_id", "clips"),
    "training_manifest": ("clip_id", "clip_files"),
    "beautified_prompts": ("prompt_id", "prompts"),
}

RANGES: Mapping[str, Mapping[str, Range]] = {
    "raw_videos": {"width": COUNT, "height": COUNT, "frame_count": COUNT, "duration_s": POSITIVE},
    "frames": {"width": COUNT, "height": COUNT, "frame_times_s": POSITIVE, "frames_size_bytes": COUNT},
    "clip_crops": {
        "area_share": SHARE,
        **dict.fromkeys(("crop_box", "frames_box"), POSITIVE._replace(optional=True)),
    },
    "motion_scores": {
        **dict.fromkeys(("motion_score", "motion_min", "motion_max", "motion_p90", "pair_scores"), POSITIVE),
        **dict.fromkeys(("camera_pan", "camera_tilt", "camera_zoom", "camera_roll"), Range(optional=True)),
        "camera_shake": POSITIVE._replace(optional=True),
        "camera_share": SHARE._replace(optional=True),
    },
    "semantic_scores": {"semantic_score": COSINE, "semantic_mean": COSINE, "pair_scores": COSINE},
    "clip_embeddings": {"length": SHARE},
    "aesthetic_scores": {"aesthetic_score": Range(), "frame_scores": Range()},
    "text_scores": {"text_score": TEXT_AREA, "frame_scores": TEXT_AREA},
    "technical_scores": {
        **dict.fromkeys(("technical_score", "frame_scores", "black_share", "white_share"), SHARE),
        "border_share": SHARE,
        "frozen_share": SHARE._replace(of_videos=True),
        "sharpness": POSITIVE,
        "luma": Range(0, 255),
        "colour": POSITIVE,
    },
    "safety_scores": {"safety_score": SHARE, "frame_scores": SHARE},
    "watermark_scores": {"watermark_score": SHARE, "watermark_box": POSITIVE._replace(optional=True)},
    "rewritten_captions": {"similarity": COSINE},
    "alignment_scores": {"alignment_score": ALIGNMENT, "frame_scores": ALIGNMENT},
    "clip_files": {
        **dict.fromkeys(("width", "height", "frame_count", "file_size_bytes"), COUNT),
        "duration_s": POSITIVE,
        "frames_per_s": POSITIVE._replace(of_videos=True),
        **dict.fromkeys(("first_frame_psnr_db", "last_frame_psnr_db"), Range(0, 100)),
    },
    "training_manifest": {
        **dict.fromkeys(("width", "height", "frame_count", "caption_tokens"), COUNT),
        **dict.fromkeys(("start_s", "end_s", "duration_s"), POSITIVE),
        "frames_per_s": POSITIVE._replace(of_videos=True),
        "motion_score": Range(0, None, optional=True),
        "aesthetic_score": Range(optional=True),
        "semantic_score": Range(-1, 1, optional=True),
        "alignment_score": ALIGNMENT._replace(optional=True),
        "text_score": TEXT_AREA._replace(optional=True),
        **dict.fromkeys(("technical_score", "safety_score", "watermark_score"), SHARE._replace(optional=True)),
    },
}

SAME: Mapping[str, Sequence[Same]] = {  # of clips that are selected today; paid rows of others may be older
    "captions": [Same("frames_sha256", "frames", "frames_sha256")],
    "rewritten_captions": [Same("original_caption", "captions", "caption")],
    "alignment_scores": [Same("caption", "rewritten_captions", "caption")],
    "sample_selection": [Same("caption", "rewritten_captions", "caption")],
    "training_manifest": [
        Same("text", "sample_selection", "caption"),
        Same("original_caption", "captions", "caption"),
        Same("file_path", "clip_files", "file_path"),
        Same("frame_count", "clip_files", "frame_count"),
    ],
}

CHOSEN_BY: Mapping[str, Sequence[str]] = {  # tables that hold rows of selected clips only
    "sample_selection": ["clip_selection"],
    "training_manifest": ["clip_selection", "sample_selection"],
}


class Shard:
    """A shard of a table as it was committed, with the versions of the tables that it was made from."""

    def __init__(self, report: Report, store: DeltaStore) -> None:
        self.report = report
        self.shard = report.shard
        self._store = store
        self._opened: dict[str, DeltaTable] = {}
        self._read: dict[tuple[str, tuple[str, ...]], pl.DataFrame] = {}

    def rows(self, *columns: str, table: str | None = None) -> pl.DataFrame:
        """The rows with a result, of this table or of another; a table that wasn't read is taken as it is now."""
        with_errors = self.all_rows(*columns, table=table)
        return with_errors.filter(pl.col("error").is_null()).drop("error")

    def all_rows(self, *columns: str, table: str | None = None) -> pl.DataFrame:
        """Failed rows included, with `error`."""
        name = table or self.report.table
        wanted = tuple(dict.fromkeys([*columns, "error"]))
        if (name, wanted) not in self._read:
            self._read[name, wanted] = self._store.read(self._open(name), list(wanted), self.shard)
        return self._read[name, wanted]

    def _open(self, name: str) -> DeltaTable:
        if name not in self._opened:
            versions = {**self.report.made_from, self.report.table: self.report.version}
            self._opened[name] = (
                self._store.snapshot(name, versions[name])
                if name in versions
                else self._store.open(name, TABLES[name].schema)
            )
        return self._opened[name]


def broken_rules(shard: Shard, stage: Stage, files: Files, pool: WorkerPool) -> Iterator[Finding]:
    """The findings of every rule on a shard that a refresh has just brought up to date, broken or not."""
    table = stage.table.name
    yield _adds_up(shard.report)
    yield _every_input_has_a_row(shard, stage)
    yield _keys_are_unique(shard, stage)
    yield _parents_exist(shard, stage)
    if table in RANGES:
        yield _in_range(shard, stage)
    for same in SAME.get(table, ()):
        yield _is_the_same(shard, table, same)
    for decision in CHOSEN_BY.get(table, ()):
        yield _is_selected(shard, decision)
    if table == "scenes":
        yield _scenes_lie_end_to_end(shard)
    if table == "clips":
        yield _spans_add_up(shard)
    if table == "training_manifest":
        yield _sources_are_known(shard)
    if stage.file is not None:
        yield _files_are_there(shard, stage, files)
        if shard.report.computed:
            yield _files_decode(shard, stage, files, pool)


def losses(shard: Shard, stage: Stage) -> Iterator[str]:
    """What a person may want to know of: inputs, seconds and samples that came to nothing, with the figures."""
    report, table = shard.report, stage.table.name
    if report.failed:
        yield f"{report.failed} of {report.inputs} failed"
    if report.blocked:
        yield f"{report.blocked} of {report.inputs} have no result because what they are made from failed"
    if table == "scenes":
        yield from _seconds_without_shot(shard)
    if table == "clips":
        rows = shard.rows("dropped")
        yield from _nothing_left(rows.get_column("dropped"), "span becomes a clip")
    if table in ("clip_selection", "sample_selection"):
        rows = shard.rows("reasons", "selected")
        reasons = rows.select(pl.when(~pl.col("selected")).then(pl.col("reasons").list.first().fill_null("unnamed")))
        yield from _nothing_left(reasons.to_series(), "clip is selected")
    if table == "training_manifest":
        selected = shard.rows("clip_id", "selected", table="sample_selection").filter("selected")
        without = selected.join(shard.rows("clip_id"), on="clip_id", how="anti").height
        if without:
            yield f"{without} of {selected.height} selected samples have no clip file or no source any more"


def _nothing_left(dropped: pl.Series, what: str) -> Iterator[str]:
    """Says so where every row is dropped, with how many for which reason (`<rule>: <figures>`)."""
    if len(dropped) and not dropped.null_count():
        reasons = dropped.str.split(": ").list.first().value_counts(sort=True).iter_rows()
        yield f"no {what}: " + ", ".join(f"{count} {reason}" for reason, count in reasons)


def _adds_up(report: Report) -> Finding:
    ended = report.computed + report.reused + report.failed + report.blocked
    wrong = [] if ended == report.inputs else [f"{report.inputs} inputs, {ended} ended"]
    return Finding("inputs = computed + reused + failed + blocked", report.inputs, wrong)


def _every_input_has_a_row(shard: Shard, stage: Stage) -> Finding:
    """An input that leaves no row, not even an error, would be lost without a trace."""
    report = shard.report
    names = shard.all_rows(stage.unit, *(["engine"] if "engine" in stage.table.key else [])).drop("error")
    missing = report.inputs - names.n_unique()
    wrong = [f"{report.inputs} inputs, rows of {names.n_unique()}"] if missing > 0 else []
    return Finding("every input has a row", report.inputs, wrong)


def _keys_are_unique(shard: Shard, stage: Stage) -> Finding:
    keys = shard.all_rows(*stage.table.key).drop("error").drop_nulls()
    twice = keys.filter(keys.is_duplicated()).unique().sort(stage.table.key)
    return Finding(f"no two rows share {', '.join(stage.table.key)}", keys.height, _named(twice, *stage.table.key))


def _parents_exist(shard: Shard, stage: Stage) -> Finding:
    column, parent = PARENT[stage.table.name]
    if parent == "frames" and parent not in stage.reads:
        parent = "clips"  # a score of frames that aren't stored
    rows = shard.all_rows(column).drop("error").drop_nulls()
    orphans = rows.join(shard.all_rows(column, table=parent), on=column, how="anti")
    return Finding(f"every {column} is in {parent}", rows.height, _named(orphans.unique().sort(column), column))


def _in_range(shard: Shard, stage: Stage) -> Finding:
    ranges = RANGES[stage.table.name]
    rows = shard.rows(*stage.table.key, *ranges)
    wrong: list[str] = []
    for name, allowed in ranges.items():
        values = rows.select(*stage.table.key, pl.col(name).alias("value"))
        if values.schema["value"] == pl.List:
            values = values.explode("value", empty_as_null=True)
        value = pl.col("value").cast(pl.Float64)
        inside = value.is_finite()
        if allowed.min is not None:
            inside &= value >= allowed.min - _ROUNDING
        if allowed.max is not None:
            inside &= value <= allowed.max + _ROUNDING
        may_lack = IS_IMAGE if allowed.of_videos else pl.lit(allowed.optional)
        outside = values.filter(~inside.fill_null(may_lack)).with_columns(pl.lit(name).alias("column"))
        wrong += _named(outside, *stage.table.key, "column", "value")
    return Finding("numbers are finite and in range", rows.height, wrong)


def _is_the_same(shard: Shard, table: str, same: Same) -> Finding:
    rule = f"{same.column} is that of {same.table} for the clip"
    rows = shard.rows("clip_id", same.column)
    if table not in CHOSEN_BY:
        rows = rows.join(_chosen(shard), on="clip_id", how="semi")
    theirs = shard.rows("clip_id", same.other, table=same.table).select("clip_id", theirs=same.other)
    other = rows.join(theirs, on="clip_id").filter(pl.col(same.column) != pl.col("theirs"))
    return Finding(rule, rows.height, _named(other.sort("clip_id"), "clip_id"))


def _chosen(shard: Shard) -> pl.DataFrame:
    """The selected clips, where duplicates are left out without those."""
    chosen = shard.rows("clip_id", "selected", table="clip_selection").filter("selected")
    if "duplicates" not in shard.report.made_from:
        return chosen
    kept = shard.rows("clip_id", "duplicate_of", table="duplicates").filter(pl.col("duplicate_of").is_null())
    return chosen.join(kept, on="clip_id", how="semi")


def _is_selected(shard: Shard, decision: str) -> Finding:
    rows = shard.all_rows("clip_id").drop("error")
    chosen = shard.rows("clip_id", "selected", table=decision).filter("selected")
    strays = rows.join(chosen, on="clip_id", how="anti")
    return Finding(f"{decision} selects the clip", rows.height, _named(strays.sort("clip_id"), "clip_id"))


def _scenes_lie_end_to_end(shard: Shard) -> Finding:
    columns = ("video_id", "scene_index", "start_frame", "end_frame", "start_s", "end_s")
    rows = shard.rows(*columns).sort("video_id", "start_frame")
    before = rows.with_columns(
        pl.col(name).shift(1, fill_value=0).over("video_id").alias(f"before_{name}") for name in ("end_frame", "end_s")
    )
    wrong = before.filter(
        (pl.col("start_frame") != pl.col("before_end_frame"))
        | ((pl.col("start_s") - pl.col("before_end_s")).abs() > _ROUNDING)
        | (pl.col("end_frame") <= pl.col("start_frame"))
    )
    return Finding("a video's shots lie end to end", rows.height, _named(wrong, "video_id", "scene_index"))


def _spans_add_up(shard: Shard) -> Finding:
    """Frames and seconds of a video's spans, kept and dropped, are those of its shots: nothing is lost between."""

    def total(rows: pl.DataFrame, name: str) -> pl.DataFrame:
        length = pl.col("end_frame") - pl.col("start_frame")
        seconds = pl.col("end_s") - pl.col("start_s")
        return rows.group_by("video_id").agg(length.sum().alias(f"{name}_frames"), seconds.sum().alias(f"{name}_s"))

    columns = ("video_id", "start_frame", "end_frame", "start_s", "end_s")
    spans, shots = total(shard.rows(*columns), "span"), total(shard.rows(*columns, table="scenes"), "shot")
    wrong = spans.join(shots, on="video_id", how="left").filter(
        pl.col("span_frames").ne_missing(pl.col("shot_frames"))
        | ((pl.col("span_s") - pl.col("shot_s")).abs() > _ROUNDING * (1 + pl.col("shot_s")))
    )
    names = _named(wrong.sort("video_id"), "video_id", "span_s", "shot_s")
    return Finding("a video's spans add up to its shots", spans.height, names)


def _seconds_without_shot(shard: Shard) -> Iterator[str]:
    """Frames that were counted but can't be decoded: the shots of a damaged video are shorter than the video."""
    shots = shard.rows("video_id", "end_s").group_by("video_id").agg(pl.col("end_s").max())
    videos = shard.rows("video_id", "duration_s", "frames_per_s", table="raw_videos")
    lost = pl.col("duration_s") - pl.col("end_s")
    short = shots.join(videos, on="video_id").filter(lost.abs() > 1.5 / pl.col("frames_per_s"))
    if short.height:
        seconds = short.select(lost).to_series().sum()
        yield f"{seconds:.1f} s of {short.height} videos can't be decoded: {_listed(_named(short, 'video_id'))}"


def _sources_are_known(shard: Shard) -> Finding:
    columns = ("video_id", "source", "source_uri")
    rows = shard.rows(*columns, "clip_id")
    videos = shard.rows(*columns, "missing", table="raw_videos").filter(~pl.col("missing"))
    strays = rows.join(videos, on=columns, how="anti")
    return Finding("the source is registered and there", rows.height, _named(strays.sort("clip_id"), "clip_id"))


def _files_are_there(shard: Shard, stage: Stage, files: Files) -> Finding:
    assert stage.file is not None
    path, size = stage.file
    rows = shard.rows(*stage.table.key, path, size).sort(stage.table.key)
    folders = rows.get_column(path).drop_nulls().str.replace(r"/[^/]*$", "").unique()
    sizes = {name: found for folder in folders for name, found in files.sizes(folder).items()}
    wrong = [row for row in rows.to_dicts() if sizes.get(row[path]) != row[size] or row[path] is None]
    names = [f"{row[path]} should have {row[size]} bytes, has {sizes.get(row[path], 'none')}" for row in wrong]
    return Finding("files are there with the size of their row", rows.height, names)


SPOT_CHECK: Mapping[str, tuple[Callable[..., Row], Sequence[str]]] = {  # what decodes a table's file; the columns
    "frames": (frames_are_as_described, ("frames_path", "frame_indices", "width", "height", "frames_sha256")),
    "clip_files": (
        clip_is_as_described,
        ("file_path", "frame_count", "width", "height", "duration_s", "video_codec", "audio_codec"),
    ),
}


def _files_decode(shard: Shard, stage: Stage, files: Files, pool: WorkerPool) -> Finding:
    """Some files, the same for the same rows, decoded in worker processes; all were when they were made."""
    function, columns = SPOT_CHECK[stage.table.name]
    rows = shard.rows("clip_id", "input_fingerprint", *columns).to_dicts()
    rows.sort(key=lambda row: hashlib.sha256(f"{row['clip_id']}{row['input_fingerprint']}".encode()).digest())
    calls = [
        Call(row["clip_id"], "", function, {"files": files, "described": {name: row[name] for name in columns}})
        for row in rows[:SPOT_CHECKS]
    ]
    wrong = [
        f"{call.unit}: {outcome}" for call, outcome in pool.map(run_call, calls) if isinstance(outcome, InputError)
    ]
    return Finding("some files, decoded again, are as their rows say", len(calls), sorted(wrong))


def registration_rules(rows: pl.DataFrame, shards: Collection[str]) -> Iterator[Finding]:
    """`rows` are all of `source_files`, `shards` the partitions that Dagster knows."""
    key = ("source", "path", "video_id")
    twice = rows.filter(rows.select(key).is_duplicated()).unique(key).sort(key)
    yield Finding(f"no two rows share {', '.join(key)}", rows.height, _named(twice, *key))
    of_video = rows.group_by("video_id").agg(pl.col("shard").drop_nulls().n_unique().alias("shards"))
    other = of_video.filter(pl.col("shards") != 1).sort("video_id")
    yield Finding("a video has one shard", of_video.height, _named(other, "video_id", "shards"))
    strange = set(rows.get_column("shard").drop_nulls()) - set(shards)
    yield Finding("every shard is a partition", rows.get_column("shard").n_unique(), sorted(strange))


def duplicate_rules(rows: pl.DataFrame) -> Iterator[Finding]:
    """`rows` are all of `duplicates`."""
    twice = rows.filter(rows["clip_id"].is_duplicated()).unique("clip_id").sort("clip_id")
    yield Finding("no two rows share clip_id", rows.height, _named(twice, "clip_id"))
    kept = rows.filter(pl.col("duplicate_of").is_null()).select(duplicate_of="clip_id")
    dropped = rows.filter(pl.col("duplicate_of").is_not_null()).sort("clip_id")
    astray = dropped.join(kept, on="duplicate_of", how="anti")
    yield Finding("duplicate_of is a clip that is kept", dropped.height, _named(astray, "clip_id", "duplicate_of"))


def release_rules(release: Row, is_new: bool, clip_files: pl.Series, files: Files) -> Iterator[Finding]:
    """`release` is a row of `training_set`, `clip_files` the path of each sample's clip.

    The exports of a new release are read back; those of one that was there already are looked for.
    """
    if is_new:
        exports = list(zip(release["exports"], release["export_sha256"], strict=True))
        read = {path: files.read(path) for path, _ in exports}
        other = [path for path, sha256 in exports if hashlib.sha256(read[path]).hexdigest() != sha256]
        yield Finding("exports are those of the row", len(exports), other)
        counts = {path: _rows_of_export(path, data) for path, data in read.items()}
        wrong = [f"{path} has {count}" for path, count in counts.items() if count != release["samples"]]
        yield Finding(f"exports hold {release['samples']} samples", len(exports), wrong)
    else:
        gone = [path for path in release["exports"] if files.size(path) is None]
        yield Finding("exports are there", len(release["exports"]), gone)
    folders = clip_files.str.replace(r"/[^/]*$", "").unique()
    there = {path for folder in folders for path in files.sizes(folder)}
    yield Finding("the clip of every sample is there", len(clip_files), sorted(set(clip_files) - there))


def _rows_of_export(path: str, data: bytes) -> int:
    if path.endswith(".json"):
        return len(json.loads(data))
    if path.endswith(".jsonl"):
        return data.count(b"\n")
    if path.endswith(".csv"):
        return pl.read_csv(io.BytesIO(data), infer_schema=False, columns=[0]).height
    return pl.read_parquet(io.BytesIO(data), columns=[0]).height


NAMED = 5
"""Examples of what breaks a rule."""


def _named(rows: pl.DataFrame, *columns: str) -> list[str]:
    return [" ".join(str(value) for value in row) for row in rows.select(columns).iter_rows()]


def _listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    return ", ".join(names[:NAMED]) + more
