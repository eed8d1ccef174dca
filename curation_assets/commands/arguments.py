"""What arguments mean, and what is wrong with them."""

import argparse
import hashlib
import re
import shlex
from collections.abc import Iterable
from pathlib import Path

import polars as pl

from curation_assets.commands.parser import closest
from curation_assets.settings import Settings, Source
from resources.errors import Unknown
from resources.object_store import is_url, refusal


def cannot_be_named(source: str) -> str | None:
    """What is wrong with a source on the command line, as far as its name tells."""
    if is_url(source):
        return refusal(source)
    if not Path(source).exists():
        return f"{source}: no such folder or listing; check the path and that it is mounted"
    return None


def named_source(options: argparse.Namespace) -> tuple[str, Source]:
    """The folder or listing, and its name in the tables."""
    source = Source(
        path=whole_path(options.source),
        recursive=not options.not_recursive,
        path_column=options.path_column,
        folder=whole_path(options.folder) if options.folder else None,
    )
    return options.name or source_name(options.source), source


def overridden(settings: Settings, options: argparse.Namespace) -> Settings:
    """The settings with the command line's execution choices."""
    if options.shard_size:
        shards = settings.shards.model_copy(update={"videos_per_shard": options.shard_size})
        settings = settings.model_copy(update={"shards": shards})
    if options.workers:
        execution = settings.execution.model_copy(update={"workers": options.workers})
        settings = settings.model_copy(update={"execution": execution})
    return settings


def require_shards(named: Iterable[str], rows: pl.LazyFrame) -> None:
    """Raises Unknown for a shard that none of `rows` is of."""
    there = rows.select("shard").unique().collect()["shard"].to_list()
    for shard in named:
        if shard not in there:
            raise Unknown(f"{shard}: no such shard{closest(shard, there) or '; `reelhouse shards` lists them'}")


def cannot_be_filled(folder: Path) -> str | None:
    """What is wrong with a folder that is to hold nothing but what is written now."""
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        return f"{folder}: there is something already; name a new folder with --to"
    return None


def home_flags(options: argparse.Namespace) -> str:
    """The home and settings that were named, as a shell reads them."""
    given = {name: getattr(options, name) for name in ("home", "settings")}
    return "".join(f" --{name} {shlex.quote(value)}" for name, value in given.items() if value)


def source_name(source: str, column: str = "") -> str:
    """A name for a source on the command line: its last part, and 4 hex digits of its path and column."""
    path = whole_path(source)
    slug = re.sub(r"[^a-z0-9]+", "-", Path(path).stem.lower()).strip("-")[:40] or "source"
    return f"{slug}-{hashlib.sha256((path + column).encode('utf-8', 'surrogateescape')).hexdigest()[:4]}"


def whole_path(place: str) -> str:
    """An absolute path, or the URL as it is."""
    return place if is_url(place) else str(Path(place).absolute())
