"""What a materialization shows in the Dagster UI.

Counts keep their labels from run to run, 0 where there is nothing to count: Dagster plots what has a label.
Schema, lineage and code are the definition's (`views.definition`) and not repeated in each event.
"""

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import dagster as dg
import polars as pl
from deltalake.exceptions import TableNotFoundError

from curation_assets.field_help import FieldHelp, field_help, plain
from curation_assets.filters import Filter, clip_filters, sample_filters
from curation_assets.incremental.committing import Report
from curation_assets.progress import TERMINAL
from curation_assets.settings import Settings
from curation_assets.tables import CLIP_EMBEDDINGS, CLIPS, DROP_RULES, FRAMES, Table
from curation_assets.views.contact_sheet import Picture, contact_sheet, image, of_clips, of_decisions, of_scores
from curation_assets.views.histogram import histogram
from curation_assets.views.scores import scores_of
from curation_assets.views.speed import speed
from resources.delta_store import DeltaStore
from resources.errors import InputError, TransientError
from resources.files import Files
from resources.text import one_line
from resources.thumbnails import thumbnail

COUNTS = ("inputs", "computed", "reused", "failed", "blocked", "removed", "kept", "recovered")
PICTURES = ("scores", "contact_sheet")
PICTURES_TAG = "reelhouse/pictures_of"
LISTED_FAILURES = 50
PREVIEW_ROWS = 8
PREVIEW_CHARACTERS = 120
NOT_PREVIEWED = {
    *("start_pts", "end_pts", "frame_pts", "pair_frames", "measurements", "facts", "table_versions"),
    *("unit", "model", "revision", "sampling", "embedding", "frames_sha256", "prompt_sha256", "samples_sha256"),
    *("export_sha256", "paths_from", "written_by", "settings", "gaps"),
}
DECISIONS: Mapping[str, tuple[Callable[[Settings], list[Filter]], tuple[str, ...]]] = {
    "clip_selection": (clip_filters, ("excluded",)),
    "sample_selection": (sample_filters, ("duplicates", "caption", "rewrite")),
}
"""Table of decisions -> its filters, and what else drops a clip."""
_SECTIONS = {
    "source_files": "shards",
    "scenes": "cuts",
    "clip_crops": "crop",
    "clip_embeddings": "embeddings",
    "clip_selection": "selection",
    "clip_hashes": "duplicates",
    "clip_neighbours": "duplicates",
    "rewritten_captions": "rewriting",
    "beautified_prompts": "beautifying",
    "training_manifest": "training_set",
}

Values = dict[str, dg.MetadataValue]


@dataclass(frozen=True)
class Refreshed:
    """A shard of a table after its refresh."""

    report: Report
    table: Table
    settings: Settings
    store: DeltaStore
    files: Files

    @property
    def has_pictures(self) -> bool:
        return "clip_id" in self.table.key and self.table.name != CLIPS.name  # clips have no frames yet

    def metadata(self, before: dg.AssetMaterialization | None) -> Values:
        """In the order in which the UI shows it; `before`: the last materialization, whose pictures may do."""
        report = self.report
        return {
            "dagster/partition_row_count": dg.MetadataValue.int(report.rows),
            **numbers({name: getattr(report, name) for name in COUNTS}),
            **numbers(self._decided()),
            **numbers(self._dimensions()),
            **numbers(speed(report)),
            **failures(report.failures),
            **self._pictures(before),
            **settings_in_force(self.table, self.settings),
            "preview": preview(self._rows.lazy(), self.table),
            **where(self.store, self.table, report.version),
        }

    @cached_property
    def tags(self) -> dict[str, str]:
        """Names what the pictures show: rows and bounds. Where both are as before, so are the pictures."""
        if not self.has_pictures:
            return {}
        shown = [self.report.data_version, *(repr(filter_) for filter_ in self._filters)]
        return {PICTURES_TAG: hashlib.sha256(json.dumps(shown).encode()).hexdigest()[:16]}

    @cached_property
    def _rows(self) -> pl.DataFrame:
        """The columns that are shown."""
        hidden = NOT_PREVIEWED.difference(self.table.key)
        return self._read(*(name for name in self.table.stage_columns if name not in hidden), "error")

    def _read(self, *columns: str) -> pl.DataFrame:
        handle = self.store.snapshot(self.report.table, self.report.version)
        return self.store.read(handle, columns, self.report.shard)

    @cached_property
    def _filters(self) -> list[Filter]:
        """Those that judge this table's scores, or that the table's decisions are made by."""
        if self.table.name in DECISIONS:
            return DECISIONS[self.table.name][0](self.settings)
        return [f for f in (*clip_filters(self.settings), *sample_filters(self.settings)) if f.table == self.table.name]

    def _decided(self) -> dict[str, int]:
        """Clips or spans that stay, and the dropped ones by rule; a clip counts once for each of its filters."""
        sound = self._rows.filter(pl.col("error").is_null())
        if self.table.name == CLIPS.name:
            spans = sound.select("clip_id", why="dropped")
            return {"clips": spans["why"].null_count(), **_dropped(DROP_RULES, spans)}
        if self.table.name in DECISIONS:
            rules = [*DECISIONS[self.table.name][1], *(filter_.name for filter_ in self._filters)]
            reasons = sound.select("clip_id", why="reasons").explode("why", empty_as_null=False)
            return {"selected": int(sound["selected"].sum()), **_dropped(rules, reasons)}
        return {}

    def _dimensions(self) -> dict[str, int]:
        """Of each engine's vectors."""
        if self.table.name != CLIP_EMBEDDINGS.name:
            return {}
        rows = self.store.scan(self.store.snapshot(self.report.table, self.report.version), self.report.shard)
        sound = rows.filter(pl.col("error").is_null())
        found = sound.group_by("engine").agg(pl.col("embedding").list.len().first()).collect()
        sizes = dict(found.iter_rows())
        return {f"dimensions: {engine}": sizes.get(engine, 0) for engine in self.settings.embeddings.engines}

    def _pictures(self, before: dg.AssetMaterialization | None) -> Values:
        """Those of `before` where they would come out the same."""
        if not self.has_pictures:
            return {}
        made: Values = {}
        if before and (before.tags or {}).get(PICTURES_TAG) == self.tags[PICTURES_TAG]:
            made = {name: before.metadata[name] for name in PICTURES if name in before.metadata}
        if made:
            return made
        for name, make in zip(PICTURES, (self._histogram, self._contact_sheet), strict=True):
            try:
                if picture := make():
                    made[name] = dg.MetadataValue.md(picture)
            except Exception as failure:  # whatever plotting raises, the rows are as they should be
                why = one_line(f"{type(failure).__name__}: {failure}")
                TERMINAL.warning("%s %s: no %s: %s", self.table.name, self.report.shard, name, why)
        return made

    def _histogram(self) -> str | None:
        drawn = histogram(self._scores, self._filters)
        return drawn and image(drawn.encode(), "svg+xml", "histogram")

    def _contact_sheet(self) -> str | None:
        rows, name = self._rows, self.table.name
        if name in DECISIONS:
            sheet = of_decisions(rows, self._scores)
        elif self._filters:
            sheet = of_scores(rows, f"{name.removesuffix('_scores')}_score", self._scores, self._filters)
        else:
            text = next((column for column in ("caption", "text") if column in self.table.stage_columns), None)
            sheet = of_clips(rows, text)
        return contact_sheet(sheet, stored_pictures(self.store, self.files, self.report.shard))

    @cached_property
    def _scores(self) -> pl.DataFrame:
        is_decided = self.table.name in DECISIONS  # the largest column, which is read for nothing else
        rows = self._read("clip_id", "measurements", "error") if is_decided else self._rows
        return scores_of(rows, self._filters)


def _dropped(rules: Sequence[str], reasons: pl.DataFrame) -> dict[str, int]:
    """How many clips each rule dropped, `why` being "<rule>: <the rest>"."""
    rule = pl.col("why").str.extract("^([^:]*)").alias("rule")
    dropped = reasons.drop_nulls("why").select("clip_id", rule).unique()
    found = dict(dropped.group_by("rule").len().sort("rule").iter_rows())
    return {f"dropped: {rule}": found.get(rule, 0) for rule in dict.fromkeys([*rules, *found])}


def stored_pictures(store: DeltaStore, files: Files, shard: str) -> Picture:
    """Small pictures of the shard's clips; none where the stored frames are missing or damaged."""
    try:
        rows = store.read(store.snapshot(FRAMES.name), ["clip_id", "frames_path"], shard)
    except TableNotFoundError:
        return lambda clip_id: None
    paths = dict(rows.drop_nulls().iter_rows())

    def picture(clip_id: str) -> bytes | None:
        try:
            return thumbnail(files.read(paths[clip_id]))
        except (KeyError, OSError, InputError, TransientError):
            return None

    return picture


def numbers(values: Mapping[str, float | str]) -> Values:
    """Whole numbers, other numbers, and the words among them."""
    return {name: _figure(value) for name, value in values.items()}


def _figure(value: float | str) -> dg.MetadataValue:
    if isinstance(value, str):
        return dg.MetadataValue.text(value)
    return dg.MetadataValue.int(value) if isinstance(value, int) else dg.MetadataValue.float(value)


def failures(found: Sequence[tuple[str, str]]) -> Values:
    """The first failures, if any: item and error."""
    listed = [{"item": one_line(item, PREVIEW_CHARACTERS), "error": one_line(error)} for item, error in found]
    return {"failures": as_table(["item", "error"], listed[:LISTED_FAILURES])} if listed else {}


def settings_in_force(table: Table, settings: Settings) -> Values:
    """The settings that the table's results depend on."""
    key = _SECTIONS.get(table.name, table.name.removesuffix("_scores"))
    section = getattr(settings, key)
    found = [field for field in field_help(section, key) if not field.execution]
    if table.name in DECISIONS:  # bounds of engines that are off decide nothing
        on = {(f.slot, f.engine) for f in DECISIONS[table.name][0](settings)}
        found = [field for field in found if tuple(field.key.split(".")[1:3]) in on]
    columns = ["setting", "value", "unit", "allowed", "default", "meaning"]
    return {"settings": as_table(columns, [_setting(field) for field in found])}


def _setting(field: FieldHelp) -> dict[str, str]:
    return {
        "setting": field.key,
        "value": plain(field.value),
        "unit": field.unit,
        "allowed": ", ".join(part for part in (field.type, field.range) if part),
        "default": plain(field.default),
        "meaning": field.description,
    }


def preview(rows: pl.LazyFrame, table: Table) -> dg.MetadataValue:
    """The first rows with a result, without the columns that are no reading matter."""
    names = [name for name in table.stage_columns if name not in NOT_PREVIEWED]
    first = rows.filter(pl.col("error").is_null()).sort(table.key).head(PREVIEW_ROWS).select(names).collect()
    return as_table(names, [{name: _readable(value) for name, value in row.items()} for row in first.to_dicts()])


def where(store: DeltaStore, table: Table, version: int) -> Values:
    """Where the table lies and which of its versions this is."""
    return {
        "delta_version": dg.MetadataValue.int(version),
        "dagster/uri": dg.MetadataValue.text(store.location(table.name)),
    }


def as_table(columns: Sequence[str], rows: Sequence[Mapping[str, Any]]) -> dg.MetadataValue:
    """Also without rows, which Dagster couldn't tell the columns of."""
    schema = dg.TableSchema(columns=[dg.TableColumn(name) for name in columns])
    return dg.MetadataValue.table([dg.TableRecord(dict(row)) for row in rows], schema)


def _readable(value: Any) -> str | None:
    """A value as a cell's text, shortened."""
    if value is None:
        return None
    if isinstance(value, list):
        text = "; ".join(_readable(item) or "" for item in value)
    elif isinstance(value, float):
        text = f"{value:.6g}"
    else:
        text = str(value)
    return text if len(text) <= PREVIEW_CHARACTERS else text[: PREVIEW_CHARACTERS - 1] + "…"
