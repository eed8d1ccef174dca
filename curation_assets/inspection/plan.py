"""What a run would do now, and why, without doing it.

The refreshes themselves run on a copy of the tables in memory. What arithmetic gives is computed, so a change of a
threshold is followed to the end. What only a decode or an engine can give is guessed, in two futures: the results
come out as they were, or they all come out otherwise and every clip passes. Where both agree the figure is exact,
else it lies between them. Results that nothing was like before (clips of a new video) go by the home's averages.
"""

import hashlib
import math
import sys
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields
from functools import cached_property, partial
from typing import Any

import polars as pl

from curation_assets import definitions
from curation_assets.incremental.context import Context
from curation_assets.incremental.refresh import refresh
from curation_assets.incremental.stage import Stage
from curation_assets.incremental.work import Done, Pending, Work
from curation_assets.inspection.causes import cause, earlier_stages
from curation_assets.inspection.overlay import Before, Overlay, ReadOnlyFiles
from curation_assets.orchestration.stage_asset import StageAsset
from curation_assets.raw_videos.listing import Entry
from curation_assets.settings import Settings, SettingsError, Source, settings_hash
from curation_assets.shards import Registration, register, stored_time
from curation_assets.tables import CLIPS, SOURCE_FILES, TABLES, TRAINING_MANIFEST, TRAINING_SET, Row, Table
from curation_assets.tools import Tools
from curation_assets.training_set.release import samples_sha256
from resources.delta_store import DeltaStore
from resources.files import Files

_RowsByKey = defaultdict[tuple[str, str], list[Row]]  # unit, engine


@dataclass
class Tally:
    """Work on one table. Work is counted in units, times engines where a unit has a row for each.

    `assumed`: how many of the units are there by the home's averages only. `clipless`: new videos with an unknown
    number of clips, not counted otherwise. A decode shared by two tables is counted at the first; an encode decodes
    its clip too, which isn't counted again. `calls`: of engines, a chat server's repeated requests left out.
    """

    units: int = 0
    reused: int = 0
    video_decodes: int = 0
    clip_decodes: int = 0
    encodes: int = 0
    calls: int = 0
    assumed: int = 0
    clipless: int = 0
    reasons: Counter[str] = field(default_factory=Counter)

    def add(self, other: "Tally") -> None:
        for each in fields(self):
            setattr(self, each.name, getattr(self, each.name) + getattr(other, each.name))


@dataclass(frozen=True)
class Figure:
    """A number from `low` to `high`; `about`: estimated from averages; `clipless`: plus the clips of new videos."""

    low: int
    high: int
    about: bool = False
    clipless: int = 0

    @property
    def is_exact(self) -> bool:
        return self.low == self.high and not self.about and not self.clipless

    def __str__(self) -> str:
        text = f"{self.low}" if self.low == self.high else f"{self.low} .. {self.high}"
        if self.about and self.high:
            text = f"about {text}"
        if self.clipless:
            videos = f"clips of {self.clipless}"
            text = f"{text} + {videos}" if self.high else videos
        return text


@dataclass
class Line:
    """One asset: its work if results come out as they were (`same`) and if they come out otherwise (`other`).

    `seconds_per_unit` is from the home's own commits, None where there are none. Assets of one `group` are computed
    together, in the time of the slowest. `counted_as`: the field beside `units` that clips of new videos add to.
    """

    asset: str
    group: str
    same: Tally
    other: Tally
    seconds_per_unit: float | None = None
    counted_as: str | None = None

    def figure(self, name: str) -> Figure:
        """Of a field of `Tally`."""
        low, high = sorted((getattr(self.same, name), getattr(self.other, name)))
        about = name != "reused" and bool(self.same.assumed or self.other.assumed)
        return Figure(low, high, about, self.other.clipless if name in ("units", self.counted_as) else 0)

    @property
    def seconds(self) -> tuple[float, float] | None:
        """Estimated s of computing, from and to; None where nothing like it was timed or counted."""
        units = self.figure("units")
        if units.high == 0 and not units.clipless:
            return 0.0, 0.0
        if self.seconds_per_unit is None or units.clipless:
            return None
        return units.low * self.seconds_per_unit, units.high * self.seconds_per_unit

    @property
    def reasons(self) -> Counter[str]:
        """Why, with the number of units; what only the other future computes follows from results above."""
        more = self.other.units - self.same.units
        return self.same.reasons + Counter({"if results above change": more})


@dataclass
class Plan:
    """`problems` are of sources that can't be scanned; the rest of the plan is as if they hadn't been asked for."""

    lines: list[Line]
    shards: list[str]
    problems: list[str]
    hashed_bytes: int

    def line(self, asset: str) -> Line:
        return next(line for line in self.lines if line.asset == asset)

    def figure(self, name: str) -> Figure:
        """Of a field of `Tally`, all assets together."""
        found = [line.figure(name) for line in self.lines]
        return Figure(
            sum(figure.low for figure in found),
            sum(figure.high for figure in found),
            any(figure.about for figure in found),
            max((figure.clipless for figure in found), default=0),
        )

    @property
    def seconds(self) -> tuple[float, float]:
        """Estimated s of all that could be timed."""
        least: defaultdict[str, float] = defaultdict(float)
        most: defaultdict[str, float] = defaultdict(float)
        for line in self.lines:
            low, high = line.seconds or (0.0, 0.0)
            least[line.group] = max(least[line.group], low)
            most[line.group] = max(most[line.group], high)
        return sum(least.values()), sum(most.values())

    @property
    def untimed(self) -> list[str]:
        """Assets with work whose time can't be told."""
        return [line.asset for line in self.lines if line.seconds is None]


def make_plan(
    settings: Settings,
    home: str,
    sources: Mapping[str, Source],
    only: str | None = None,
    until: str | None = None,
    retry_failed: bool = False,
) -> Plan:
    """What a registration of `sources` and a refresh would do; `only` the shards of that source, else all.

    Nothing is hashed: a new file with size and time of a known one is taken for it, one with its size may be it or
    not. Nothing under `home` is created or changed. Raises SettingsError where there is no asset `until`.
    """
    past = _Past(Before(DeltaStore(home)))
    files = ReadOnlyFiles(home)
    steps = _steps(settings, until)
    same, other = _Future(past, files, settings, False), _Future(past, files, settings, True)
    for future in (same, other):
        future.register(sources)
    problems = same.registration.source_errors
    shards = [] if only and problems else sorted({*same.shards(only), *other.shards(only)})
    tallies: dict[str, tuple[Tally, Tally]] = {}
    for shard in shards:
        past.before.let_go()
        found = same.refresh(shard, steps, retry_failed)
        differs = same.has_guessed or other.hashing_matters
        for name, pair in _pairs(found, other.refresh(shard, steps, retry_failed) if differs else found):
            whole = tallies.setdefault(name, (Tally(), Tally()))
            whole[0].add(pair[0])
            whole[1].add(pair[1])
    lines = [_source_line(same.registration, same.hashing, past)]
    for stages in (stages for _, stages in steps):
        group = stages[0].table.name
        for stage in stages:
            name = stage.table.name
            counted = _counted_as(stage) if name == group else None
            lines.append(Line(name, group, *tallies.get(name, (Tally(), Tally())), past.rate(name), counted))
    if until in (None, TRAINING_SET.name):
        lines.append(_release_line(lines[-1], same, past))
    return Plan(lines, shards, problems, same.registration.hashed_bytes)


def _pairs(same: Mapping[str, Tally], other: Mapping[str, Tally]) -> Iterator[tuple[str, tuple[Tally, Tally]]]:
    for name in {**same, **other}:
        yield name, (same.get(name, Tally()), other.get(name, Tally()))


def _steps(settings: Settings, until: str | None) -> list[tuple[StageAsset, list[Stage]]]:
    """The assets made from videos, upstream first, each with those of its stages that `until` needs."""
    assets = definitions.video_assets(settings)
    stages = [stage for asset in assets for stage in asset.stages]
    names = [stage.table.name for stage in stages]
    if until and until not in (*names, SOURCE_FILES.name, TRAINING_SET.name):
        raise SettingsError(f"--until {until}: no such asset; choose one of {', '.join(names)}")
    needed = {until} if until in names or until == SOURCE_FILES.name else set(names)
    for stage in reversed(stages):
        if stage.table.name in needed:
            needed |= set(stage.reads)
    chosen = ((asset, [stage for stage in asset.stages if stage.table.name in needed]) for asset in assets)
    return [(asset, stages) for asset, stages in chosen if stages]


def _counted_as(stage: Stage) -> str | None:
    """The field of `Tally` that the stage's work is also counted in."""
    decode = "video_decodes" if stage.unit == "video_id" else "clip_decodes"
    return {"decode": decode, "encode": "encodes", "call": "calls"}.get(stage.effort)


def _source_line(found: Registration, hashing: Counter[str], past: "_Past") -> Line:
    tally = Tally(units=found.hashed, reused=found.files - found.hashed, reasons=hashing)
    rate = past.rate(SOURCE_FILES.name, "hashed_bytes")
    mean = None if rate is None else rate * found.hashed_bytes / max(found.hashed, 1)
    return Line(SOURCE_FILES.name, SOURCE_FILES.name, tally, tally, mean)


def _release_line(manifest: Line, same: "_Future", past: "_Past") -> Line:
    """A release is new when it holds other samples, or the same under other settings."""
    samples = same.rows(TRAINING_MANIFEST).filter(pl.col("error").is_null())
    newest = past.rows(TRAINING_SET).sort("computed_at").tail(1)
    digest, hashed = samples_sha256(samples), settings_hash(same.settings)
    is_new = newest.filter(samples_sha256=digest, settings_hash=hashed).is_empty() and not samples.is_empty()
    reason = "other samples or settings than the newest release"
    tally = Tally(reused=samples.height)
    if is_new:
        tally = Tally(units=samples.height, reasons=Counter({reason: samples.height}))
    tally.assumed, tally.clipless = manifest.same.assumed, manifest.same.clipless
    other = tally
    if manifest.other.units > manifest.same.units:
        other = Tally(units=max(samples.height, manifest.other.units), assumed=manifest.other.assumed)
    return Line(TRAINING_SET.name, TRAINING_SET.name, tally, other, 0.0)


class _Past:
    """What the home knows from before: rows, averages, speeds."""

    def __init__(self, before: Before) -> None:
        self.before = before
        self._earlier: dict[str, list[Stage]] = {}

    def rows(self, table: Table, shard: str | None = None) -> pl.DataFrame:
        return self.before.rows(table.name, table.schema, shard)

    def earlier(self, stage: Stage) -> list[Stage]:
        name = stage.table.name
        if name not in self._earlier:
            self._earlier[name] = earlier_stages(stage, self.before.notes(name))
        return self._earlier[name]

    def rate(self, table: str, per: str = "computed") -> float | None:
        """s a unit of `per`, over the table's last commits."""
        timed = [(int(note[per]), float(note["seconds"])) for note in self.before.notes(table) if int(note.get(per, 0))]
        return sum(seconds for _, seconds in timed) / sum(units for units, _ in timed) if timed else None

    @cached_property
    def contents(self) -> dict[int, list[Row]]:
        """The files that were hashed, by size."""
        found: dict[int, list[Row]] = defaultdict(list)
        columns = ("source_uri", "size_bytes", "modified_at", "video_id")
        for row in self.rows(SOURCE_FILES).filter(pl.col("error").is_null()).select(columns).to_dicts():
            found[row["size_bytes"]].append(row)
        return found

    @cached_property
    def clips_a_video(self) -> float | None:
        """Kept clips, mean over the videos; None without a video."""
        clips = self.rows(CLIPS).filter(pl.col("clip_id").is_not_null())
        kept = clips.filter(pl.col("dropped").is_null()).height
        return kept / clips.get_column("video_id").n_unique() if clips.height else None

    def selected_share(self, table: Table) -> float:
        """Of the clips that `table` decided on; 0 without any."""
        decided = self.rows(table).get_column("selected").drop_nulls()
        return float(decided.mean() or 0.0) if decided.len() else 0.0  # type: ignore[arg-type]


class _Future:
    """The refreshes on tables in memory, where results come out as they were, or `otherwise`."""

    def __init__(self, past: _Past, files: Files, settings: Settings, otherwise: bool) -> None:
        self.settings = settings
        self.registration = Registration()
        self.has_guessed = False  # in the shard refreshed last, what the other future may guess otherwise
        self.hashing_matters = False  # whether a file's content may be one or another
        self._past = past
        self._files = files
        self._otherwise = otherwise
        self._store = Overlay(past.before)
        self._tools = Tools(settings, files)
        self._hashing: dict[str, str] = {}  # reason by file
        self._doubtful: set[str] = set()  # units whose results are guessed otherwise than they were
        self._assumed: set[str] = set()  # units that are there, or get this far, by averages
        self._clipless = 0
        self._shares: defaultdict[str, float] = defaultdict(float)  # of a whole clip or decision, left over
        self._tallies: defaultdict[str, Tally] = defaultdict(Tally)

    def rows(self, table: Table, shard: str | None = None) -> pl.DataFrame:
        return self._store.read(self._store.open(table.name, table.schema), list(table.schema), shard)

    def shards(self, source: str | None) -> set[str]:
        files = self.rows(SOURCE_FILES)
        return set((files.filter(source=source) if source else files).get_column("shard"))

    @property
    def hashing(self) -> Counter[str]:
        """Why files are hashed."""
        return Counter(self._hashing.values())

    def register(self, sources: Mapping[str, Source]) -> None:
        self.registration = register(sources, self.settings.shards, self._store, "plan", self._identify)

    def _identify(self, entry: Entry) -> str:
        """A known file's content id, or one that no content has."""
        alike = self._past.contents.get(entry.size_bytes or 0, [])
        here = [row for row in alike if row["source_uri"] == entry.source_uri]
        as_old = [row for row in alike if row["modified_at"] == stored_time(entry.modified_ns)]
        self._hashing[entry.source_uri] = "size and time of a known file" if as_old else "new, or another size or time"
        if as_old:
            return str(as_old[0]["video_id"])
        if alike:
            self.hashing_matters = True
            if not self._otherwise:
                return str((here or alike)[0]["video_id"])
        return f"?{hashlib.sha256(entry.source_uri.encode()).hexdigest()[:15]}"

    def refresh(
        self, shard: str, steps: Sequence[tuple[StageAsset, list[Stage]]], retry_failed: bool
    ) -> dict[str, Tally]:
        """The work by table."""
        self._tallies.clear()
        self._clipless, self.has_guessed = 0, False
        context = Context(self._store, self._files, "plan", sys.maxsize, math.inf, retry_failed=retry_failed)
        for asset, stages in steps:
            reports = refresh(stages, shard, partial(self._compute, asset, stages, shard), context)
            for stage, report in zip(stages, reports, strict=True):
                tally = self._tallies[report.table]
                tally.reused = report.inputs - report.blocked - tally.units
                tally.clipless = self._clipless if stage.unit == "clip_id" and stage.engines else 0
        return dict(self._tallies)

    def _compute(
        self, asset: StageAsset, stages: Sequence[Stage], shard: str, work: Pending
    ) -> Iterator[Done | pl.DataFrame]:
        is_arithmetic = stages[0].effort == "arithmetic"
        known = {unit.unit for unit in work if is_arithmetic and not self._is_doubtful(unit.unit)}
        guessed = [unit for unit in work if unit.unit not in known]
        old = {stage.table.name: self._old_rows(stage, shard) for stage in stages}
        for unit in work:
            self._count(unit, stages, old)
        if known:
            yield from asset.compute(work.only(known), self._tools)
        for unit in guessed:
            for stage in stages:
                name = stage.table.name
                for engine in unit.wanted.get(name, ()):
                    rows = self._guess(stage, unit, engine, old[name][unit.unit, engine])
                    yield Done(unit.unit, rows, engine, name)

    def _old_rows(self, stage: Stage, shard: str) -> _RowsByKey:
        found: _RowsByKey = defaultdict(list)
        for row in self._past.rows(stage.table, shard).to_dicts():
            found[stage.key_of(row)].append(row)
        return found

    def _count(self, unit: Work, stages: Sequence[Stage], old: Mapping[str, _RowsByKey]) -> None:
        decode_at = next(iter(unit.wanted))
        for stage in stages:
            name = stage.table.name
            engines = unit.wanted.get(name, ())
            tally = self._tallies[name]
            tally.units += len(engines)
            tally.assumed += len(engines) if unit.unit in self._assumed else 0
            counted = _counted_as(stage)
            if counted and (stage.effort != "decode" or name == decode_at):
                once = stage.effort == "decode"
                setattr(tally, counted, getattr(tally, counted) + (1 if once else len(engines)))
            for engine in engines:
                rows = old[name].get((unit.unit, engine), [])
                fingerprint = unit.fingerprints[name, engine]
                why = cause(stage, unit.values, engine, fingerprint, rows, self._past.earlier(stage))
                tally.reasons[why] += 1

    def _is_doubtful(self, unit: str) -> bool:
        return unit in self._doubtful or _video_of(unit) in self._doubtful

    def _guess(self, stage: Stage, unit: Work, engine: str, old: list[Row]) -> list[Row]:
        self.has_guessed = True
        good = [row for row in old if not row["error"]]
        if good and not self._otherwise:
            return [_under_its_name(row, stage, unit.fingerprints[stage.table.name, engine]) for row in good]
        self._doubtful.add(unit.unit)
        if stage.table == CLIPS and good:
            self._assumed |= {row["clip_id"] for row in good if row["clip_id"]}
        return [_otherwise(row, stage.table) for row in good] or self._first_result(stage, unit.unit)

    def _first_result(self, stage: Stage, unit: str) -> list[Row]:
        if stage.table == CLIPS:
            return self._clips_of(unit)
        own: Row = {"video_id": _video_of(unit)} if "video_id" in stage.table.stage_columns else {}
        if "selected" not in stage.table.stage_columns:
            return [own]
        if self._otherwise:
            return [own | {"selected": True}]
        self._assumed.add(unit)
        return [own | {"selected": self._whole(stage.table.name, self._past.selected_share(stage.table)) == 1}]

    def _clips_of(self, video: str) -> list[Row]:
        average = self._past.clips_a_video
        if average is None:
            self._clipless += 1
        clips = [f"{video}-?{number}" for number in range(self._whole(CLIPS.name, average or 0.0))]
        self._assumed.update(clips)
        return [{"clip_id": clip} for clip in clips] or [{"clip_id": f"{video}-?", "dropped": "not known yet"}]

    def _whole(self, what: str, amount: float) -> int:
        """The amount as a whole number, the rest added to the next, so that sums are right."""
        self._shares[what] += amount
        whole = math.floor(self._shares[what] + 1e-9)
        self._shares[what] -= whole
        return whole


def _video_of(unit: str) -> str:
    return unit.partition("-")[0]


def _under_its_name(row: Row, stage: Stage, fingerprint: str) -> Row:
    """The row with its file named after what it is made from now."""
    if stage.file is None or not row[stage.file[0]]:
        return row
    path = row[stage.file[0]].replace(row["input_fingerprint"][:8], fingerprint[:8])
    return {**row, stage.file[0]: path}


def _otherwise(row: Row, table: Table) -> Row:
    """The row with other numbers and texts, and selected."""
    kept = {"clip_id", "video_id", *table.key}
    other = {
        name: value if name in kept else _another(value, TABLES[table.name].schema[name])
        for name, value in row.items()
        if name in table.stage_columns
    }
    return other | ({"selected": True} if "selected" in other else {})


def _another(value: Any, dtype: pl.DataType) -> Any:
    if isinstance(value, str):
        return f"{value}?"
    if isinstance(value, int | float) and not isinstance(value, bool):
        return value + 1
    return [*value, "?"] if dtype == pl.List(pl.String) and value is not None else value
