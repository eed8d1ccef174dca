"""Find a source's videos: the files of a folder, or the rows of a listing."""

import hashlib
import os
import re
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from curation_assets.settings import Source

VIDEO_SUFFIXES = frozenset({".mp4", ".webm", ".mkv", ".avi", ".flv", ".mov", ".rmvb", ".ts", ".m4v", ".mpg"})
LISTING_SUFFIXES = frozenset({".csv", ".jsonl", ".parquet"})
_CHUNK_BYTES = 4 << 20


class SourceError(Exception):
    """A whole source can't be read; nothing of it is marked or changed."""


@dataclass(frozen=True)
class Entry:
    """A file a source names. `error` says why it can't be used; then size and time may be unknown."""

    path: str
    source_uri: str
    size_bytes: int | None
    modified_ns: int | None
    listing: dict[str, Any] | None = None
    error: str | None = None


def list_source(source: Source) -> list[Entry]:
    """The videos of a folder or a listing, in natural order of their paths.

    Raises SourceError when the folder or listing can't be read at all.
    """
    place = Path(source.path)
    if place.suffix.lower() in LISTING_SUFFIXES:
        entries = list(_listed(place, source))
    elif place.is_dir():
        entries = list(_found(place, source.recursive))
    elif place.exists():
        raise SourceError(
            f"{place}: neither a folder nor a listing; name a folder of videos or a "
            f"{', '.join(sorted(LISTING_SUFFIXES))} file"
        )
    else:
        raise SourceError(f"{place}: no such folder or listing; check the path and that it is mounted")
    return sorted(entries, key=lambda entry: natural_order(entry.path))


def natural_order(path: str) -> tuple[tuple[int, int | str], ...]:
    """A sort key under which clip2 comes before clip10."""
    parts = re.split(r"(\d+)", path)
    return tuple((0, int(part)) if part.isdecimal() else (1, part) for part in parts)


def _found(folder: Path, recursive: bool) -> Iterator[Entry]:
    root = folder.resolve()

    def refuse(failure: OSError) -> None:
        raise SourceError(f"{failure.filename}: {failure.strerror}; make the folder readable") from failure

    for current, folders, names in os.walk(folder, onerror=refuse):
        if not recursive:
            folders.clear()
        for name in names:
            if Path(name).suffix.lower() in VIDEO_SUFFIXES:
                path = Path(current) / name
                yield _entry(str(path.relative_to(folder)), path, root)


def _entry(relative: str, path: Path, root: Path | None, listing: dict[str, Any] | None = None) -> Entry:
    """`root`: the folder that links must not leave; None where the user named the file himself."""
    shown = relative.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
    uri = os.path.abspath(path)

    def refused(error: str) -> Entry:
        return Entry(
            shown,
            uri.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace"),
            None,
            None,
            listing,
            error,
        )

    if shown != relative:
        return refused("the file name is not UTF-8; rename the file")
    if root is not None and not Path(os.path.realpath(path)).is_relative_to(root):
        return refused("a link that leaves the source's folder; copy the file into it, or make its folder a source")
    try:
        found = path.stat()
    except OSError as failure:
        return refused(f"{failure.strerror}; restore the file or correct its path")
    if not stat.S_ISREG(found.st_mode):
        return refused("not a regular file; remove it from the source")
    return Entry(relative, uri, found.st_size, found.st_mtime_ns, listing)


def _listed(place: Path, source: Source) -> Iterator[Entry]:
    rows = _read_listing(place)
    if source.path_column not in rows.columns:
        raise SourceError(
            f"{place}: no column {source.path_column!r} (it has {', '.join(rows.columns)}); set path_column to the one "
            "that holds the paths"
        )
    start = Path(source.folder) if source.folder else place.parent
    seen: set[str] = set()
    for number, row in enumerate(rows.to_dicts(), start=1):
        path = row.pop(source.path_column)
        if not path or not isinstance(path, str):
            yield Entry(
                f"row {number}",
                str(place),
                None,
                None,
                row,
                f"row {number} of {place.name} has no path; fill it in",
            )
        elif path not in seen:
            seen.add(path)
            yield _entry(path, start / path, None, row)


def _read_listing(place: Path) -> pl.DataFrame:
    try:
        if place.suffix.lower() == ".csv":
            return pl.read_csv(place, infer_schema=False)
        if place.suffix.lower() == ".jsonl":
            return pl.read_ndjson(place, infer_schema_length=None)
        return pl.read_parquet(place)
    except FileNotFoundError:
        raise SourceError(f"{place}: no such listing; check the path") from None
    except (pl.exceptions.PolarsError, OSError) as failure:
        raise SourceError(f"{place}: can't be read as {place.suffix[1:]}: {str(failure).splitlines()[0]}") from None


def content_id(path: str) -> str:
    """`video_id`: the first 16 hex digits of the SHA-256 of the file's bytes. Raises OSError."""
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while chunk := file.read(_CHUNK_BYTES):
            digest.update(chunk)
    return digest.hexdigest()[:16]


def path_id(source: str, path: str) -> str:
    """`video_id` of a file whose bytes can't be read."""
    return hashlib.sha256(f"{source}\0{path}".encode()).hexdigest()[:16]
