"""What two releases differ in and why, told from the tables at the versions that each pins."""

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import polars as pl

from curation_assets.settings import Settings
from curation_assets.tables import TRAINING_MANIFEST
from curation_assets.training_set.reasons import DECISIONS, kind_of
from curation_assets.training_set.release import released_samples, settings_text
from curation_assets.upkeep.releases import Release, TablesAt, versions_of
from resources.delta_store import DeltaStore

Row = dict[str, Any]
How = Literal["entered", "left", "changed"]
CAPTION = ("text", "original_caption", "caption_engine", "rewriting_engine")
FILE = ("file_path", "width", "height", "frame_count", "duration_s", "frames_per_s")
FOLLOWS = ("caption_tokens", "warnings")  # from caption, frames and trainer
MADE_BY = {"engine": "engine", "model": "model", "revision": "revision", "prompt_sha256": "prompt"}
SCORED_BY = ("engine", "model", "revision", "sampling")
SHOWN_CHARACTERS = 80


@dataclass(frozen=True)
class Cause:
    """Why a sample entered, left or changed: what samples have in common, and this one's figures."""

    what: str
    detail: str = ""


@dataclass(frozen=True)
class SampleChange:
    clip_id: str
    how: How
    causes: tuple[Cause, ...]


@dataclass(frozen=True)
class Diff:
    """`settings` are (key, value before, value after); null where a release doesn't hold its settings.

    `gone` counts, by release, samples of videos that were taken down since: they can't be compared.
    """

    before: str
    after: str
    settings: list[tuple[str, Any, Any]] | None
    changes: list[SampleChange]
    unchanged: int
    gone: dict[str, int]

    def causes(self) -> Counter[tuple[How, str]]:
        """Samples by cause; one counts once for each of its causes."""
        return Counter((change.how, cause.what) for change in self.changes for cause in change.causes)

    def count(self, how: How) -> int:
        return sum(change.how == how for change in self.changes)


def diff(store: DeltaStore, before: Release, after: Release) -> Diff:
    """Compare two releases sample by sample. Raises InputError where a pinned version is gone."""
    old, new = TablesAt(store, versions_of(before)), TablesAt(store, versions_of(after))
    was, now = released_samples(old), released_samples(new)
    entered = set(now["clip_id"]) - set(was["clip_id"])
    left = set(was["clip_id"]) - set(now["clip_id"])
    settings = setting_changes(before["settings"], after["settings"])
    changed = _changed(was, now, old, new, settings or [])
    found: list[tuple[How, Mapping[str, tuple[Cause, ...]]]] = [
        ("entered", _absences(entered, now, old, new, entering=True)),
        ("left", _absences(left, was, new, old, entering=False)),
        ("changed", changed),
    ]
    changes = [SampleChange(clip_id, how, causes) for how, clips in found for clip_id, causes in sorted(clips.items())]
    lost = {r["release"]: r["samples"] - rows.height for r, rows in ((before, was), (after, now))}
    gone = {name: count for name, count in lost.items() if count}
    unchanged = now.height - len(entered) - len(changed)
    return Diff(before["release"], after["release"], settings, changes, unchanged, gone)


def setting_changes(before: str | None, after: str | None) -> list[tuple[str, Any, Any]] | None:
    """Keys with another value, or that only one of the two texts of settings has; null without both texts."""
    if before is None or after is None:
        return None
    old, new = _flat(json.loads(before)), _flat(json.loads(after))
    return [(key, old.get(key), new.get(key)) for key in sorted({*old, *new}) if old.get(key) != new.get(key)]


def departures(settings: str | None) -> list[tuple[str, Any, Any]] | None:
    """What a text of settings has otherwise than the defaults: key, default, value; null without the text."""
    return setting_changes(settings_text(Settings()), settings)


def _flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for name, value in values.items():
        flat |= _flat(value, f"{prefix}{name}.") if isinstance(value, dict) else {f"{prefix}{name}": value}
    return flat


@dataclass(frozen=True)
class _Side:
    """What one release's tables say of some clips."""

    videos: Mapping[str, Row]
    clips: Mapping[str, Row]
    spans: Mapping[str, list[Row]]
    decisions: Mapping[str, Mapping[str, Row]]
    files: Mapping[str, Row]


def _side(tables: TablesAt, clips: Sequence[str], videos: Sequence[str]) -> _Side:
    of_clips, of_videos = pl.col("clip_id").is_in(list(clips)), pl.col("video_id").is_in(list(videos))

    def by_clip(table: str, *columns: str) -> dict[str, Row]:
        rows = tables.read(table, ["clip_id", "error", *columns], of_clips)
        return {row["clip_id"]: row for row in rows.to_dicts()}

    probed = tables.read("raw_videos", ["video_id", "path", "missing", "error"], of_videos).to_dicts()
    spans: dict[str, list[Row]] = {}
    kept = of_videos & pl.col("dropped").is_null() & pl.col("clip_id").is_not_null()
    for row in tables.read("clips", ["video_id", "clip_id", "start_s", "end_s"], kept).sort("clip_id").to_dicts():
        spans.setdefault(row["video_id"], []).append(row)
    return _Side(
        videos={row["video_id"]: row for row in probed},
        clips=by_clip("clips", "dropped"),
        spans=spans,
        decisions={table: by_clip(table, "selected", "reasons", "measurements") for table in DECISIONS},
        files=by_clip("clip_files"),
    )


def _absences(
    clips: Iterable[str], samples: pl.DataFrame, absent: TablesAt, there: TablesAt, entering: bool
) -> dict[str, tuple[Cause, ...]]:
    """Why each of `clips`, which are among `samples`, is no sample in `absent`."""
    rows = samples.filter(pl.col("clip_id").is_in(list(clips))).to_dicts()
    if not rows:
        return {}
    ids, videos = [row["clip_id"] for row in rows], sorted({row["video_id"] for row in rows})
    lacks, has = _side(absent, ids, videos), _side(there, ids, videos)
    return {row["clip_id"]: _why_absent(row, lacks, has, entering) for row in rows}


def _why_absent(sample: Row, lacks: _Side, has: _Side, entering: bool) -> tuple[Cause, ...]:
    """The first table, from upstream, in which the clip isn't as a sample's must be."""
    clip_id, video_id = sample["clip_id"], sample["video_id"]
    video, clip = lacks.videos.get(video_id), lacks.clips.get(clip_id)
    if video is None:
        return (Cause("the video is new" if entering else "the video is no longer registered", sample["source_uri"]),)
    if video["missing"]:
        return (Cause("the video is back" if entering else "the video is gone from its source", sample["source_uri"]),)
    if video["error"]:
        return (Cause("the video could not be read", video["error"]),)
    if clip is None:
        return (Cause("the video is cut otherwise", _overlapping(sample, lacks.spans.get(video_id, []))),)
    if clip["dropped"]:
        return (Cause(f"clips: {clip['dropped'].partition(':')[0]}", clip["dropped"]),)
    for table in DECISIONS:
        decision = lacks.decisions[table].get(clip_id)
        if decision is None:
            return (Cause(f"{table}: not decided"),)
        if decision["error"]:
            return (Cause(f"{table}: failed", decision["error"]),)
        if not decision["selected"]:
            return _rejections(table, decision, has.decisions[table].get(clip_id), entering)
    file = lacks.files.get(clip_id)
    if file is None:
        return (Cause("clip_files: not encoded"),)
    if file["error"]:
        return (Cause("clip_files: failed", file["error"]),)
    return (Cause("training_manifest: out of date"),)


def _overlapping(sample: Row, spans: Sequence[Row]) -> str:
    same_time = [s["clip_id"] for s in spans if s["start_s"] < sample["end_s"] and s["end_s"] > sample["start_s"]]
    return f"the other release has {', '.join(same_time) or 'no clip'} there"


def _rejections(table: str, rejected: Row, selected: Row | None, entering: bool) -> tuple[Cause, ...]:
    """A cause for each reason of a decision; where a filter rejected, against its figures in the other release."""
    others = {(m["filter"], m["engine"]): m for m in (selected or {}).get("measurements") or ()}
    failed = [m for m in rejected["measurements"] or () if m["passed"] is False]
    by_filter = {m["filter"] for m in failed}
    causes = [
        Cause(f"{table}: {kind_of(reason)}", reason)
        for reason in rejected["reasons"] or ()
        if reason.partition(": ")[0] not in by_filter
    ]
    for measured in failed:
        other = others.get((measured["filter"], measured["engine"]))
        pair = (measured, other) if entering else (other, measured)
        what = f"{table}: {measured['filter']} {_direction(measured)}"
        causes.append(Cause(f"{what}, {_moved(measured, other, entering)}", _figures(measured, *pair)))
    return tuple(causes)


def _direction(measured: Row) -> str:
    if measured["value"] is None:
        return "not scored"
    below = measured["min"] is not None and measured["value"] < measured["min"]
    return "below the minimum" if below else "above the maximum"


def _moved(measured: Row, other: Row | None, entering: bool) -> str:
    if other is None:
        return "filter removed" if entering else "filter added"
    score = measured["value"] != other["value"]
    bound = (measured["min"], measured["max"]) != (other["min"], other["max"])
    return "score and bound changed" if score and bound else "bound changed" if bound else "score changed"


def _figures(named: Row, before: Row | None, after: Row | None) -> str:
    """Score and bounds of a filter, old and new."""
    parts = [
        f"{name} {_pair(*((side[key] if side else None) for side in (before, after)))}"
        for name, key in (("score", "value"), ("min", "min"), ("max", "max"))
        if any(side and side[key] is not None for side in (before, after))
    ]
    return f"{named['filter']} ({named['engine']}): {', '.join(parts)}"


def _pair(before: Any, after: Any) -> str:
    """`old -> new`, or one figure where both are equal."""
    old, new = (_text(value) for value in (before, after))
    return old if before == after else f"{old} -> {new}"


def _text(value: Any) -> str:
    if value is None:
        return "none"
    if isinstance(value, float):
        return f"{value:.6g}"
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= SHOWN_CHARACTERS else text[: SHOWN_CHARACTERS - 1] + "…"


def _changed(
    was: pl.DataFrame, now: pl.DataFrame, old: TablesAt, new: TablesAt, settings: Sequence[tuple[str, Any, Any]]
) -> dict[str, tuple[Cause, ...]]:
    names = [n for n in TRAINING_MANIFEST.stage_columns if n != "clip_id" and n in was.columns and n in now.columns]
    both = was.select("clip_id", *names).join(now.select("clip_id", *names), on="clip_id", suffix="_after")
    differs = {name: _differs(name, both.schema[name]) for name in names}
    rows = both.with_columns(changed=pl.concat_list(pl.when(d).then(pl.lit(n)) for n, d in differs.items()))
    rows = rows.with_columns(pl.col("changed").list.drop_nulls()).filter(pl.col("changed").list.len() > 0)
    if rows.is_empty():
        return {}
    why = _Provenance(rows, old, new, settings)
    return {row["clip_id"]: why.causes(row) for row in rows.to_dicts()}


def _differs(name: str, dtype: pl.DataType) -> pl.Expr:
    before, after = pl.col(name), pl.col(f"{name}_after")
    if isinstance(dtype, pl.List):
        before, after = (side.cast(pl.List(pl.String)).list.join("\n") for side in (before, after))
    return before.ne_missing(after)


class _Provenance:
    """What made the columns of changed samples, in both releases."""

    def __init__(
        self, rows: pl.DataFrame, old: TablesAt, new: TablesAt, settings: Sequence[tuple[str, Any, Any]]
    ) -> None:
        self._sides = (old, new)
        self._of_clips = pl.col("clip_id").is_in(rows["clip_id"].to_list())
        self._settings = settings
        self._read: dict[str, tuple[dict[str, list[Row]], dict[str, list[Row]]]] = {}

    def causes(self, row: Row) -> tuple[Cause, ...]:
        changed = row["changed"]
        causes = []
        if any(name in changed for name in CAPTION):
            causes.append(self._caption(row))
        if any(name in changed for name in FILE):
            causes.append(self._file(row))
        causes += [self._score(row, name) for name in changed if name.endswith("_score")]
        known = {*CAPTION, *FILE, *FOLLOWS}
        rest = [name for name in changed if name not in known and not name.endswith("_score")]
        if not causes and not rest:
            rest = changed
        causes += [Cause(f"{name} changed", _pair(row[name], row[f"{name}_after"])) for name in rest]
        return tuple(causes)

    def _rows(self, table: str, clip_id: str, *columns: str) -> tuple[list[Row], list[Row]]:
        """The clip's rows in a table, old and new; read once for all clips."""
        if table not in self._read:
            sides = []
            for tables in self._sides:
                by_clip: dict[str, list[Row]] = {}
                for row in tables.read(table, ["clip_id", *columns], self._of_clips).to_dicts():
                    by_clip.setdefault(row["clip_id"], []).append(row)
                sides.append(by_clip)
            self._read[table] = (sides[0], sides[1])
        old, new = self._read[table]
        return old.get(clip_id, []), new.get(clip_id, [])

    def _caption(self, row: Row) -> Cause:
        original = row["original_caption"] != row["original_caption_after"]
        table, extra = ("captions", ("facts", "frames_sha256")) if original else ("rewritten_captions", ())
        old, new = self._rows(table, row["clip_id"], *MADE_BY, *extra)
        what = "caption changed" if original else "rewrite changed"
        named = {**MADE_BY, "facts": "facts", "frames_sha256": "frames"}
        others = [named[n] for n in (*MADE_BY, *extra) if old and new and old[0][n] != new[0][n]]
        why = f"other {', '.join(others)}" if others else "another answer of the same model"
        engines = _pair(old[0]["engine"], new[0]["engine"]) if old and new else ""
        return Cause(f"{what}: {why}", f"{engines}: {_pair(row['text'], row['text_after'])}")

    def _file(self, row: Row) -> Cause:
        settings = [f"{key} {_pair(old, new)}" for key, old, new in self._settings if key.startswith("clip_files.")]
        shape = [f"{name} {_pair(row[name], row[f'{name}_after'])}" for name in FILE[1:] if name in row["changed"]]
        path = _pair(row["file_path"], row["file_path_after"])
        return Cause("the file is encoded anew", "; ".join([*settings, *shape, path]))

    def _score(self, row: Row, name: str) -> Cause:
        slot = name.removesuffix("_score")
        old, new = self._rows(f"{slot}_scores", row["clip_id"], name, *SCORED_BY)
        sides = zip((old, new), (row[name], row[f"{name}_after"]), strict=True)
        made = [next((r for r in rows if r[name] == score), None) for rows, score in sides]
        others = [n for n in SCORED_BY if made[0] and made[1] and made[0][n] != made[1][n]]
        parts = [_pair(row[name], row[f"{name}_after"])]
        parts += [f"{n} {_pair(made[0][n], made[1][n])}" for n in others if made[0] and made[1]]
        return Cause(f"{slot} score changed" + (f": other {', '.join(others)}" if others else ""), ", ".join(parts))
