"""The whole story of a clip or a video, gathered from every table, release and file of a home."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import polars as pl
from deltalake.exceptions import DeltaError

from curation_assets.filters import slot_of, unit_of
from curation_assets.home import OpenHome
from curation_assets.inspection.lookup import Item, rows_of
from curation_assets.tables import TABLES, TAKEDOWNS, TRAINING_MANIFEST
from curation_assets.upkeep.releases import all_releases, versions_of

Row = dict[str, Any]

OF_VIDEO = ("source_files", "raw_videos", "scenes", "clips")
SCORES = (
    *("motion_scores", "semantic_scores", "aesthetic_scores", "text_scores", "technical_scores"),
    *("safety_scores", "watermark_scores"),
)
DECISIONS = ("clip_selection", "sample_selection")
TEXTS = ("captions", "rewritten_captions")
OF_CLIP = (
    *("frames", "clip_crops", *SCORES, "clip_embeddings", "clip_selection", "duplicates"),
    *(*TEXTS, "alignment_scores", "sample_selection", "clip_files"),
)
MANIFEST = TRAINING_MANIFEST.name
LONG = frozenset({"frame_pts", "pair_frames", "embedding", "measurements"})  # told otherwise, or no reading matter
EARLIER_VERSIONS = 50
GONE = "there is no such clip now: the cuts of its video changed, or its video is gone"


@dataclass
class Story:
    """`rows`: table -> its rows about the item, upstream first, errors included, the longest columns left out.

    `scores`: a row a filter or engine: filter, table, engine, model, revision, unit, sampling, value, min, max,
    margin, passed, error, run_id, computed_at; `table` is where the score lies. `files`: path -> bytes, None where
    it isn't there. `releases`: name, made_at, holds (null where that can't be told any more) and retired_at.
    `earlier`: of a clip that is gone, the last rows of older versions, each with table and version.
    """

    item: Item
    outcome: str = ""
    rows: dict[str, list[Row]] = field(default_factory=dict)
    scores: list[Row] = field(default_factory=list)
    files: dict[str, int | None] = field(default_factory=dict)
    exclusions: list[Row] = field(default_factory=list)
    takedown: Row | None = None
    failures: list[Row] = field(default_factory=list)
    releases: list[Row] = field(default_factory=list)
    earlier: list[Row] = field(default_factory=list)

    def one(self, table: str) -> Row | None:
        """The table's row, where there is one without error."""
        return next((row for row in self.rows.get(table, ()) if row["error"] is None), None)


def trace(home: OpenHome, item: Item) -> Story:
    """Everything that the home knows of a clip, or of a video and its spans. Changes nothing."""
    story = Story(item)
    found = {table: _read(home, table, item) for table in (*OF_VIDEO, *OF_CLIP, MANIFEST)}
    clip = next((row for row in found["clips"] if row.get("clip_id") == item.id), None)
    if item.kind == "clip":
        found["clips"] = [row for row in found["clips"] if row["clip_id"] in (item.id, None)]
        found["scenes"] = [
            row for row in found["scenes"] if row["error"] or (clip and row["scene_index"] == clip["scene_index"])
        ]
    story.scores = list(_scores(found)) if item.kind == "clip" else []
    story.rows = {
        table: [{name: value for name, value in row.items() if name not in LONG} for row in rows]
        for table, rows in found.items()
    }
    story.files = {
        row[column]: home.files.size(row[column])
        for table, column in (("frames", "frames_path"), ("clip_files", "file_path"))
        for row in found[table]
        if row[column]
    }
    story.failures = [
        {"table": table, "item": _named(row), "kind": row["error_kind"], "error": row["error"]}
        for table, rows in found.items()
        for row in rows
        if row["error"]
    ]
    excluded = pl.col("excluded_id").is_in([item.id, item.video_id])
    story.exclusions = rows_of(home.store, TABLES["exclusions"], excluded).collect().to_dicts()
    takedowns = rows_of(home.store, TAKEDOWNS, pl.col("video_id") == item.video_id).collect().to_dicts()
    story.takedown = next(iter(takedowns), None)
    story.releases = list(_releases(home, item))
    if item.kind == "clip" and clip is None:
        story.earlier = list(_earlier(home, item))
    story.outcome = _outcome(story, clip)
    return story


def _read(home: OpenHome, table: str, item: Item) -> list[Row]:
    """The rows about the item: of tables of videos those of its video, of a video also all rows of its clips."""
    column = "video_id" if table in OF_VIDEO else "clip_id"
    wanted = item.video_id if column == "video_id" or item.kind == "video" else item.id
    matches = pl.col(column).str.starts_with(wanted) if column == "clip_id" else pl.col(column) == wanted
    which = matches if item.shard is None else (pl.col("shard") == item.shard) & matches
    key = [name for name in TABLES[table].key if name in TABLES[table].schema]
    return rows_of(home.store, TABLES[table], which).sort(*key, nulls_last=True).collect().to_dicts()


def _named(row: Row) -> str:
    return str(row.get("clip_id") or row.get("path") or row.get("video_id") or "")


def _scores(found: dict[str, list[Row]]) -> Iterator[Row]:
    """Each score against its bound, in the order of the filters; then the scores that no filter reads."""
    rows = {(table, row["engine"]): row for table in (*SCORES, "alignment_scores") for row in found[table]}
    read = set()
    for decision in DECISIONS:
        for measured in (measured for row in found[decision] for measured in row["measurements"] or ()):
            name, engine = measured["filter"], measured["engine"]
            key = (f"{slot_of(name)}_scores", engine)
            read.add(key)
            yield {**measured, "table": key[0], **_measured_by(rows.get(key), unit_of(name, engine))}
    for (table, engine), row in rows.items():
        if (table, engine) not in read:
            unbound: Row = dict.fromkeys(("min", "max", "margin", "passed"))
            value = row[table.removesuffix("s")]
            yield {"filter": None, "engine": engine, "value": value, **unbound, "table": table, **_measured_by(row)}


def _measured_by(score: Row | None, unit: str = "") -> Row:
    names = ("model", "revision", "unit", "sampling", "error", "run_id", "computed_at")
    found: Row = {name: score[name] if score else None for name in names}
    return {**found, "unit": unit or found["unit"]}


def _releases(home: OpenHome, item: Item) -> Iterator[Row]:
    """The releases that hold it, or held it until it was taken down, and those where that can't be told any more."""
    for release in all_releases(home.store):
        forgotten = item.video_id in (release["forgotten"] or ())
        held = True if forgotten else holds(home, release, item)
        if held is not False:
            yield {
                "release": release["release"],
                "made_at": release["computed_at"],
                "holds": held,
                "forgotten": forgotten,
                "retired_at": release["retired_at"],
                "run_id": release["run_id"],
            }


def holds(home: OpenHome, release: Row, item: Item) -> bool | None:
    """By the manifest's version, else by the exported table; None where neither can be read."""
    which = pl.col("clip_id").str.starts_with(item.id)
    version = versions_of(release).get(MANIFEST)
    if version is not None:
        try:
            samples = home.store.scan(home.store.snapshot(MANIFEST, version), item.shard).filter(which)
            return samples.select("clip_id").head(1).collect().height > 0
        except (DeltaError, OSError, pl.exceptions.PolarsError):  # vacuumed, or the log was cleaned
            pass
    exported = next((path for path in release["exports"] or () if path.endswith(".parquet")), None)
    if exported is None or home.files.size(exported) is None:
        return None
    samples = pl.read_parquet(home.files.read(exported), columns=["clip_id"]).lazy()
    return samples.filter(which).collect().height > 0


def _earlier(home: OpenHome, item: Item) -> Iterator[Row]:
    """The clip's last rows in older versions of `clips`, its decision and the manifest, as far as they can be read."""
    for table in ("clips", "clip_selection", MANIFEST):
        try:
            newest = home.store.snapshot(table).version()
        except DeltaError:
            continue
        for version in range(newest, max(newest - EARLIER_VERSIONS, -1), -1):
            try:
                rows = home.store.scan(home.store.snapshot(table, version), item.shard)
                found = rows.filter(pl.col("clip_id") == item.id).collect().to_dicts()
            except (DeltaError, OSError, pl.exceptions.PolarsError):  # vacuumed, or the log was cleaned
                break
            if found:
                row = {name: value for name, value in found[0].items() if name not in LONG}
                yield {"table": table, "version": version, **row}
                break


def _outcome(story: Story, clip: Row | None) -> str:
    """What became of it, in one line; of a blocked clip the first cause."""
    if story.takedown:
        return f"taken down on {story.takedown['taken_down_on']}: nothing of it is kept, and it can't come back"
    if story.item.kind == "video":
        return _outcome_of_video(story)
    causes = [failure for failure in story.failures if failure["kind"] != "blocked"]
    if clip is None:
        return f"{GONE} ({causes[0]['table']}: {causes[0]['error']})" if causes else GONE
    if clip["dropped"]:
        return f"a span that was dropped when the video was cut: {clip['dropped']}"
    if story.one(MANIFEST):
        return "in the training manifest"
    for decision in DECISIONS:
        decided = story.one(decision)
        if decided and not decided["selected"]:
            return f"not selected by {decision}: {'; '.join(decided['reasons'])}"
    if story.failures:
        first = (causes or story.failures)[0]
        return f"failed in {first['table']}: {first['error']}"
    missing = next((table for table in (*DECISIONS, "clip_files", MANIFEST) if not story.one(table)), None)
    return f"not computed yet: {missing} has no row of it; refresh its shard"


def _outcome_of_video(story: Story) -> str:
    spans = [row for row in story.rows["clips"] if row["clip_id"]]
    kept = [row for row in spans if row["dropped"] is None]
    selected = [row for row in story.rows["clip_selection"] if row["selected"]]
    samples = [row for row in story.rows[MANIFEST] if row["error"] is None]
    causes = [failure for failure in story.failures if failure["kind"] != "blocked"]
    failed = f"; failed in {causes[0]['table']}: {causes[0]['error']}" if causes else ""
    return (
        f"{len(spans)} spans, {len(kept)} of them clips, {len(selected)} selected, {len(samples)} in the training "
        f"manifest{failed}"
    )
