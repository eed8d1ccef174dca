"""Real jobs: a folder of videos, a home, and runs of the product over them."""

import io
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl
import yaml
from dagster import DagsterInstance

from curation_assets.orchestration.headless import HeadlessRun, Outcome
from curation_assets.settings import parse_settings
from curation_assets.tables import TABLES
from resources.delta_store import DeltaStore

SOURCE = "films"
SHARD = "films-0000"

# Real shots of one or two seconds reach the manifest. Two workers whatever the machine, so that jobs share a pool.
SETTINGS: dict[str, Any] = {
    "clips": {"min_source_area_px": 320 * 180, "min_duration_s": 0.8, "end_trim_s": 0.2},
    "selection": {"technical": {"opencv": {"sharpness": {"min": 20.0}, "luma": {"min": 15.0}}}},
    "rewriting": {"engine": "off"},
    "sample_selection": {"alignment": {"label_similarity": {"min": -1.0}}},
    "execution": {"workers": 2},
}

# No engine, no filter: whatever can be decoded becomes a sample with a caption of measured facts.
BARE_SETTINGS: dict[str, Any] = {
    "clips": {"min_source_area_px": 1, "min_duration_s": 0.05, "end_trim_s": 0.0},
    "motion": {"engines": []},
    "semantic": {"engines": []},
    "text": {"engines": []},
    "technical": {"engines": []},
    "rewriting": {"engine": "off"},
    "alignment": {"engine": "off"},
    "execution": {"workers": 2},
}


def changed(settings: Mapping[str, Any], **values: Any) -> dict[str, Any]:
    """A copy with other values; `a__b=1` sets key b of section a."""
    copy = deepcopy(dict(settings))
    for dotted, value in values.items():
        *sections, key = dotted.split("__")
        place = copy
        for section in sections:
            place = place.setdefault(section, {})
        place[key] = value
    return copy


@dataclass(frozen=True)
class Counts:
    """What a refresh of one table reported."""

    inputs: int
    computed: int
    reused: int
    failed: int
    blocked: int


@dataclass(frozen=True)
class Job:
    """A folder of videos `films` and the home of everything made from it."""

    root: Path

    @property
    def films(self) -> Path:
        return self.root / "films"

    @property
    def home(self) -> Path:
        return self.root / "home"

    @property
    def store(self) -> DeltaStore:
        return DeltaStore(str(self.home))

    def table(self, name: str, version: int | None = None) -> pl.DataFrame:
        """All rows, in the order of their keys."""
        rows = self.store.scan(self.store.snapshot(name, version)).collect()
        return rows.sort(*TABLES[name].key, nulls_last=True)

    def versions(self) -> dict[str, int]:
        """The Delta version of every table there is."""
        names = sorted(path.name for path in (self.home / "tables").iterdir())
        return {name: self.store.snapshot(name).version() for name in names}

    def edit(self, table: str, **columns: pl.Expr) -> None:
        """Other values in the shard's rows, as the table's next version."""
        schema = TABLES[table].schema
        self.store.change(table, schema, SHARD, lambda rows: rows.with_columns(**columns), {"shard": SHARD})

    @contextmanager
    def session(self, settings: Mapping[str, Any], instance: DagsterInstance | None = None) -> Iterator["Session"]:
        """Runs on `instance`, else on one in memory, which starts knowing nothing but writes the same tables."""
        parsed = parse_settings(dict(settings), "the test's settings")
        with instance or DagsterInstance.ephemeral() as used:
            yield Session(self, HeadlessRun(parsed, str(self.home), used))

    def run(self, settings: Mapping[str, Any], source: Path | None = None) -> "Session":
        """Register the films, refresh every asset, make a release."""
        with self.session(settings) as session:
            session.register(source)
            session.refresh()
            session.release()
        return session


@dataclass
class Session:
    job: Job
    runs: HeadlessRun

    @property
    def outcome(self) -> Outcome:
        return self.runs.outcome

    def register(self, source: Path | None = None) -> bool:
        return self.runs.register({"name": SOURCE, "path": str(source or self.job.films)})

    def refresh(self, assets: Sequence[str] | None = None, retry_failed: bool = False) -> bool:
        return self.runs.shard(SHARD, assets or self.runs.assets, retry_failed)

    def release(self) -> bool:
        return self.runs.release()

    def partitioned(self) -> set[str]:
        return set(self.runs.assets) - {"source_files", "training_set", "release_report"}

    def counts(self) -> dict[str, Counts]:
        """By table, what its last materialization reported."""
        names = ("inputs", "computed", "reused", "failed", "blocked")
        return {
            asset: Counts(*(metadata.get(name, 0) for name in names))
            for asset, _, metadata in self.outcome.materialized
            if asset in TABLES
        }

    def computed(self) -> dict[str, int]:
        """The assets that computed anything, with how many units."""
        return {asset: counts.computed for asset, counts in self.counts().items() if counts.computed}

    def metadata(self, asset: str) -> dict[str, Any]:
        return next(found for name, _, found in reversed(self.outcome.materialized) if name == asset)


def copy_videos(folder: Path, **videos: Path) -> None:
    """Copies named as the keywords, with the endings of the originals."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, video in videos.items():
        shutil.copy(video, folder / f"{name}{video.suffix}")


def write_settings(path: Path, settings: Mapping[str, Any]) -> Path:
    path.write_text(yaml.safe_dump(dict(settings)), encoding="utf-8")
    return path


def command(*arguments: str | Path) -> list[str]:
    return [sys.executable, "-m", "curation_assets.cli", *map(str, arguments)]


def environment(**extra: str) -> dict[str, str]:
    """This process's, without what would lead the command to another home or settings."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("CURATION_", "DAGSTER_"))}
    return {**kept, **extra}


def reelhouse(*arguments: str | Path, **options: Any) -> "subprocess.CompletedProcess[str]":
    """Run the command to its end."""
    return subprocess.run(
        command(*arguments), capture_output=True, text=True, timeout=300, env=environment(), check=False, **options
    )


def quoting(home: Path, *needles: str) -> dict[str, str]:
    """File below the home -> what it quotes, Parquet decoded."""
    found = {}
    for path in home.rglob("*"):
        if path.is_file():
            data = path.read_bytes()
            if path.suffix == ".parquet":
                data += repr(pl.read_parquet(io.BytesIO(data)).to_dicts()).encode()
            for needle in needles:
                if needle.encode() in data or needle in path.name:
                    found[str(path.relative_to(home))] = needle
    return found


def same_results(name: str, rows: pl.DataFrame, others: pl.DataFrame) -> bool:
    """Whether two versions of a table agree in every column but bookkeeping."""
    columns = TABLES[name].data_columns
    return rows.select(columns).equals(others.select(columns))
