"""Find a source's videos and images: the files of a folder, or the rows of a listing, here or on an object store."""

import datetime as dt
import hashlib
import io
import os
import re
import stat
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path, PurePosixPath
from typing import Any

import polars as pl

from curation_assets.media_types import MediaType
from curation_assets.settings import Source
from resources.errors import EngineUnavailable, TransientError
from resources.object_store import is_url, objects, open_object, read_bytes, refusal
from resources.text import one_line

VIDEO_SUFFIXES = frozenset({".mp4", ".webm", ".mkv", ".avi", ".flv", ".mov", ".rmvb", ".ts", ".m4v", ".mpg"})
IMAGE_SUFFIXES = frozenset({".png", ".webp", ".jpg", ".jpeg", ".bmp", ".gif"})
LISTING_SUFFIXES = frozenset({".csv", ".jsonl", ".parquet"})
_CHUNK_BYTES = 4 << 20
_PATH_CHARACTERS = 4096  # Linux' limit is as many bytes
_SHOWN_CHARACTERS = 120
_EPOCH = dt.datetime.fromtimestamp(0, dt.UTC)


class SourceError(Exception):
    """A whole source can't be read; nothing of it is marked or changed."""


@dataclass(frozen=True)
class Entry:
    """A file a source names. `error` says why it can't be used; then size and time may be unknown.

    `etag` is what an object store calls this content; its times are too coarse to tell two uploads apart.
    """

    path: str
    source_uri: str
    size_bytes: int | None
    modified_ns: int | None
    listing: dict[str, Any] | None = None
    error: str | None = None
    etag: str | None = None


def list_source(source: Source) -> list[Entry]:
    """The videos and images of a folder or a listing, in natural order of their paths.

    Raises SourceError when the folder or listing can't be read at all.
    """
    place = Path(source.path)
    if place.suffix.lower() in LISTING_SUFFIXES:
        entries = list(_listed(source.path, source))
    elif is_url(source.path):
        entries = list(_stored(source.path.rstrip("/"), source))
    elif place.is_dir():
        entries = list(_found(place, source))
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


def media_type_of(path: str) -> MediaType | None:
    """By the ending; None where it is neither a video's nor an image's."""
    suffix = path[path.rfind(".", path.rfind("/") + 2) :].lower()  # pathlib takes ten times as long
    return "video" if suffix in VIDEO_SUFFIXES else "image" if suffix in IMAGE_SUFFIXES else None


def _found(folder: Path, source: Source) -> Iterator[Entry]:
    root = folder.resolve()

    def refuse(failure: OSError) -> None:
        raise SourceError(f"{failure.filename}: {failure.strerror}; make the folder readable") from failure

    start = len(os.path.join(folder, ""))
    for current, folders, names in os.walk(folder, onerror=refuse):
        if not source.recursive:
            folders.clear()
        for name in names:
            if media_type_of(name) in source.media_types:
                path = os.path.join(current, name)
                yield _entry(path[start:], path, root)


def _stored(folder: str, source: Source) -> Iterator[Entry]:
    """The videos and images among the objects below a URL."""
    found = _objects(folder, source.recursive)
    if not found:
        raise SourceError(f"{folder}: no object lies below it; check bucket and prefix")
    if folder in found:
        raise SourceError(f"{folder}: an object, neither a folder nor a listing; name the prefix it lies below")
    for url, about in found.items():
        if media_type_of(url) in source.media_types:
            yield _object_entry(url.removeprefix(f"{folder}/"), url, about)


def _objects(folder: str, recursive: bool) -> dict[str, dict[str, Any]]:
    if refused := refusal(folder):
        raise SourceError(refused)  # without the URL, which may hold a password
    try:
        return objects(folder, recursive)
    except FileNotFoundError:
        return {}
    except (TransientError, EngineUnavailable) as failure:
        raise SourceError(str(failure)) from None


def _object_entry(path: str, url: str, about: Mapping[str, Any] | None, listing: dict[str, Any] | None = None) -> Entry:
    if about is None:
        return Entry(path, url, None, None, listing, "no such object; restore it or correct its path")
    modified = about.get("LastModified")
    modified_ns = None if modified is None else (modified - _EPOCH) // dt.timedelta(microseconds=1) * 1000
    return Entry(path, url, about["size"], modified_ns, listing, etag=str(about.get("ETag", "")).strip('"') or None)


def _entry(relative: str, path: str, root: Path | None, listing: dict[str, Any] | None = None) -> Entry:
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

    if len(relative) > _PATH_CHARACTERS or "\0" in relative:
        digest = hashlib.sha256(relative.encode("utf-8", "surrogateescape")).hexdigest()[:8]
        shown, uri = f"{one_line(relative, _SHOWN_CHARACTERS)} ({digest})", ""
        return refused(f"no path can be so: it has {len(relative)} characters, or a zero among them; correct the row")
    if shown != relative:
        return refused("the file name is not UTF-8; rename the file")
    try:
        found = os.lstat(path)
        if stat.S_ISLNK(found.st_mode) or root is None:  # nothing above a file that was walked to is a link
            if root is not None and not Path(os.path.realpath(path)).is_relative_to(root):
                why = "a link that leaves the source's folder; copy the file into it, or make its folder a source"
                return refused(why)
            found = os.stat(path)
    except OSError as failure:
        return refused(f"{failure.strerror}; restore the file or correct its path")
    if not stat.S_ISREG(found.st_mode):
        return refused("not a regular file; remove it from the source")
    return Entry(relative, uri, found.st_size, found.st_mtime_ns, listing)


def _listed(place: str, source: Source) -> Iterator[Entry]:
    rows = _read_listing(place)
    if source.path_column not in rows.columns:
        known = one_line(", ".join(rows.columns), 300)
        raise SourceError(
            f"{place}: no column {source.path_column!r} (it has {known}); set path_column to the one with the paths"
        )
    start = source.folder or (place.rpartition("/")[0] if is_url(place) else str(Path(place).parent))
    in_folder = cache(lambda folder: _objects(folder, False))  # a listing of each instead of a request for each row
    seen: set[str] = set()
    for number, row in enumerate(rows.to_dicts(), start=1):
        path = row.pop(source.path_column)
        if not path or not isinstance(path, str):
            yield Entry(
                f"row {number}",
                place,
                None,
                None,
                row,
                f"row {number} of {PurePosixPath(place).name} has no path; fill it in",
            )
        elif path not in seen:
            seen.add(path)
            yield _listed_entry(path, start, row, in_folder)


def _listed_entry(
    path: str, start: str, row: dict[str, Any], in_folder: Callable[[str], dict[str, dict[str, Any]]]
) -> Entry:
    url = path if is_url(path) or not is_url(start) or path.startswith("/") else f"{start.rstrip('/')}/{path}"
    if not is_url(url):
        return _entry(path, os.path.join("." if is_url(start) else start, path), None, row)
    if refused := refusal(url):
        return Entry(path, url.partition("://")[0] + "://", None, None, row, refused)
    return _object_entry(path, url, in_folder(url.rpartition("/")[0]).get(url), row)


def _read_listing(place: str) -> pl.DataFrame:
    suffix = PurePosixPath(place).suffix.lower()
    if is_url(place) and (refused := refusal(place)):
        raise SourceError(refused)
    try:
        content = io.BytesIO(read_bytes(place))
        if suffix == ".csv":
            return pl.read_csv(content, infer_schema=False)
        if suffix == ".jsonl":
            return pl.read_ndjson(content, infer_schema_length=None)
        return pl.read_parquet(content)
    except FileNotFoundError:
        raise SourceError(f"{place}: no such listing; check the path") from None
    except (TransientError, EngineUnavailable) as failure:
        raise SourceError(str(failure)) from None
    except (pl.exceptions.PolarsError, OSError) as failure:
        why = one_line(str(failure), 300)
        raise SourceError(f"{place}: can't be read as {suffix[1:]}: {why}; correct it") from None


def content_id(uri: str) -> str:
    """`video_id`: the first 16 hex digits of the SHA-256 of the file's bytes. Raises OSError, TransientError."""
    digest = hashlib.sha256()
    with open_object(uri) if is_url(uri) else open(uri, "rb") as file:
        while chunk := file.read(_CHUNK_BYTES):
            digest.update(chunk)
    return digest.hexdigest()[:16]


def path_id(source: str, path: str) -> str:
    """`video_id` of a file whose bytes can't be read."""
    return hashlib.sha256(f"{source}\0{path}".encode()).hexdigest()[:16]
