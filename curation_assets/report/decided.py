"""Every clip's scores and decisions as the release's tables hold them, as columns of numbers."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from curation_assets.filters import slot_of, unit_of
from curation_assets.upkeep.releases import TablesAt

Numbers = NDArray[np.float64]
Marks = NDArray[np.bool_]
NOT_FOR_IT = float("inf")
"""In the place of a score: the filter isn't for the clip's media type. A score that isn't there is NaN."""
_SECTIONS = {"clip_selection": "selection", "sample_selection": "sample_selection"}  # of the settings, by table


@dataclass(frozen=True)
class Measure:
    """A filter over all clips: its bounds, and a score a clip."""

    table: str
    name: str
    engine: str
    min: float | None
    max: float | None
    scores: Numbers

    @property
    def unit(self) -> str:
        return unit_of(self.name, self.engine)

    @property
    def setting(self) -> str:
        """The section of its bounds in the settings."""
        section, slot = _SECTIONS[self.table], slot_of(self.name)
        of_engine = f"{section}.{slot}.{self.engine}"
        return of_engine if slot == self.name else f"{of_engine}.{self.name}"

    def passes(self) -> Marks:
        """Clips that the bounds let through, as the selections judge them."""
        low = -np.inf if self.min is None else self.min
        high = np.inf if self.max is None else self.max
        passed: Marks = (self.scores == NOT_FOR_IT) | ((self.scores >= low) & (self.scores <= high))
        return passed


@dataclass(frozen=True)
class Decided:
    """Clips in order of clip_id.

    `clips` has clip_id, video_id, source and path of the video, start_s, duration_s, and of both selections whether
    the clip has a row (`judged`, `captioned`), a reason that no bound gives (`excluded`, `wordless`), and was chosen
    (`selected`, `chosen`); `in_manifest`; `notes`, its reasons that hold no figure.
    """

    clips: pl.DataFrame
    measures: Sequence[Measure]

    def of(self, table: str) -> list[Measure]:
        return [measure for measure in self.measures if measure.table == table]


def read_decided(tables: TablesAt) -> Decided:
    """Raises InputError where a version is gone."""
    is_clip = pl.col("error").is_null() & pl.col("clip_id").is_not_null() & pl.col("dropped").is_null()
    clips = tables.read("clips", ["clip_id", "video_id", "start_s", "duration_s"], is_clip).sort("clip_id")
    videos = tables.read("raw_videos", ["video_id", "source", "path"])
    manifest = tables.read(
        "training_manifest", ["clip_id", pl.lit(True).alias("in_manifest")], pl.col("error").is_null()
    )
    clips = clips.join(videos, on="video_id", how="left", maintain_order="left")
    clips = clips.join(manifest, on="clip_id", how="left", maintain_order="left")
    names = {
        "clip_selection": {"judged": "judged", "outside": "excluded", "selected": "selected"},
        "sample_selection": {"judged": "captioned", "outside": "wordless", "selected": "chosen"},
    }
    measures: list[Measure] = []
    notes = []
    for table, columns in names.items():
        rows, bounds = _judged(tables, table)
        rows = rows.rename({**columns, "notes": f"notes_{table}"})
        clips = clips.join(rows, on="clip_id", how="left", maintain_order="left")
        notes.append(pl.col(f"notes_{table}").fill_null([]))
        measures += [_measure(table, clips, bound) for bound in bounds]
        clips = clips.drop([name for name in clips.columns if "/" in name])
    marks = ["in_manifest", *(name for columns in names.values() for name in columns.values())]
    clips = clips.with_columns(pl.col(marks).fill_null(False), notes=pl.concat_list(notes))
    return Decided(clips.drop(f"notes_{table}" for table in names), measures)


Bounds = tuple[str, float | None, float | None]


def _judged(tables: TablesAt, table: str) -> tuple[pl.DataFrame, list[Bounds]]:
    """A row a clip with a column a filter, `<filter>/<engine>`, and the bounds most clips were judged by, in order."""
    empty = pl.DataFrame(schema={"clip_id": pl.String, "reasons": pl.List(pl.String), "selected": pl.Boolean})
    wide: list[pl.DataFrame] = []
    bounds: list[pl.DataFrame] = []
    for part in tables.in_parts():
        names = ["clip_id", "selected", "reasons", "measurements"]
        rows = part.read(table, names, pl.col("error").is_null())
        if rows.is_empty():
            continue
        long = rows.select("clip_id", "measurements").explode("measurements").drop_nulls("measurements")
        long = long.unnest("measurements").with_columns(
            key=pl.format("{}/{}", "filter", "engine"),
            score=pl.when(pl.col("passed").is_null()).then(NOT_FOR_IT).otherwise(pl.col("value").fill_null(np.nan)),
            position=pl.int_range(pl.len()).over("clip_id"),
            failed=~pl.col("passed"),
        )
        failed = long.group_by("clip_id").agg(pl.col("failed").sum())
        scores = long.pivot("key", index="clip_id", values="score")
        bounds.append(long.group_by("key", "min", "max").agg(pl.len(), pl.col("position").min()))
        wide.append(rows.drop("measurements").join(failed, "clip_id", "left").join(scores, "clip_id", "left"))
    rows = pl.concat(wide, how="diagonal") if wide else empty.with_columns(failed=pl.lit(0))
    outside = pl.col("reasons").list.len() - pl.col("failed").fill_null(0)  # decide puts these first
    is_unscored = pl.element().str.contains(": not scored: ", literal=True)
    rows = rows.select(
        pl.all().exclude("reasons", "failed"),
        judged=pl.lit(True),
        outside=outside > 0,
        notes=pl.concat_list(pl.col("reasons").list.head(outside), pl.col("reasons").list.filter(is_unscored)),
    )
    return rows, _most_used(bounds)


def _most_used(bounds: Sequence[pl.DataFrame]) -> list[Bounds]:
    if not bounds:
        return []
    counted = pl.concat(bounds).group_by("key", "min", "max").agg(pl.col("len").sum(), pl.col("position").min())
    chosen = counted.sort("len", "min", "max", descending=True, nulls_last=True).unique("key", keep="first")
    return [(row["key"], row["min"], row["max"]) for row in chosen.sort("position", "key").to_dicts()]


def _measure(table: str, clips: pl.DataFrame, bounds: Bounds) -> Measure:
    key, low, high = bounds
    name, _, engine = key.partition("/")
    return Measure(table, name, engine, low, high, clips[key].fill_null(np.nan).to_numpy())


@dataclass(frozen=True)
class Step:
    """Clips and hours that are left after a step and all before it.

    `alone`: of the clips that reach its selection's filters those that it removes as the only one, `last`: those that
    it alone removes, `unscored`: of `alone`, for want of a score. What is no filter has only `alone`: what it removes.
    """

    name: str
    clips: int
    hours: float
    alone: int = 0
    last: int = 0
    unscored: int = 0


def funnel(decided: Decided) -> list[Step]:
    """From all clips to the samples, at the bounds of the release. The page computes the same for other bounds."""
    clips = decided.clips
    hours = clips["duration_s"].fill_null(0).to_numpy() / 3600
    left = np.ones(clips.height, dtype=np.bool_)
    steps = [_step("clips", left, hours)]
    for table, name, required, forbidden in (
        ("clip_selection", "not excluded", "judged", "excluded"),
        ("sample_selection", "captioned", "captioned", "wordless"),
    ):
        before, left = left, left & (clips[required] & ~clips[forbidden]).to_numpy()
        steps.append(_step(name, left, hours, int((before & ~left).sum())))
        measures = decided.of(table)
        failed = [left & ~measure.passes() for measure in measures]
        failures = np.sum(failed, axis=0)
        for measure, fails in zip(measures, failed, strict=True):
            left = left & ~fails
            unscored = int((fails & np.isnan(measure.scores)).sum())
            last = int((fails & (failures == 1)).sum())
            steps.append(_step(f"{measure.name}/{measure.engine}", left, hours, int(fails.sum()), last, unscored))
    lost = (clips["chosen"] & ~clips["in_manifest"]).to_numpy()
    steps.append(_step("samples", left & ~lost, hours, int((left & lost).sum())))
    return steps


def _step(name: str, left: Marks, hours: Numbers, alone: int = 0, last: int = 0, unscored: int = 0) -> Step:
    return Step(name, int(left.sum()), float(hours[left].sum()), alone, last, unscored)
