"""Take rows, or parts of them, out of every version of a Delta table: out of its old data files and of what the log
quotes of them.

Delta keeps old versions by never changing a file. A takedown needs the contrary: the same versions, without some
rows. A data file keeps its name and its place in every version that names it; the log's note of its size follows,
and the log's optional statistics, which quote the smallest and largest strings of each column, are dropped.
"""

import io
import json
import re
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, unquote

import polars as pl

from resources.delta_store import PARTITION, DeltaStore
from resources.files import Files

_COMMIT = re.compile(r"(\d{20})\.json")
_CHECKPOINT = re.compile(r"(\d{20})\.checkpoint\..*parquet")

Without = Callable[[pl.DataFrame], pl.DataFrame]
"""A file's rows without what must go: the same rows where nothing must."""


@dataclass(frozen=True)
class Redaction:
    """What was rewritten; `oldest` is the first version that can be opened from now on."""

    data_files: int
    commits: int
    checkpoints: int
    oldest: int


def held_in(files: Files, folder: str, without: Without) -> list[str]:
    """The Parquet files below `folder` with something that must go, of whatever version."""
    return [path for path, _ in _held(files, folder, without)]


def redact_files(files: Files, folder: str, without: Without) -> int:
    """Rewrite those files without it, and delete what killed writers left half written; returns how many."""
    held = 0
    for path, rows in _held(files, folder, without):
        kept = io.BytesIO()
        rows.write_parquet(kept)
        files.write(path, kept.getvalue())
        held += 1
    unfinished = [found.path for found in files.found(folder) if _is_unfinished(found.path)]
    for path in unfinished:
        files.delete(path)
    return held + len(unfinished)


def redact(store: DeltaStore, files: Files, table: str, shard: str, without: Without) -> Redaction:
    """Take what must go out of all versions of a table's shard but the newest, which must be rid of it already.

    Can be interrupted anywhere and done again. A version of the shard can't be read between the rewriting of a file
    and that of the log. Where the log doesn't reach back to the first version, older versions than the newest go.
    """
    folder = f"tables/{table}"
    place = f"{folder}/{PARTITION}={quote(shard, safe=' ')}"
    data_files = redact_files(files, place, without)
    handle = store.snapshot(table)
    newest = int(handle.version())
    active = {unquote(uri).rpartition("/")[2] for uri in handle.file_uris()}
    sizes = {found.path.rpartition("/")[2]: found.size_bytes for found in files.found(place)}
    names = [found.path for found in files.found(f"{folder}/_delta_log")]
    commits = {int(match[1]): name for name in names if (match := _COMMIT.fullmatch(_name(name)))}
    rewritten = 0
    for version in sorted(commits):
        before = files.read(commits[version])
        after = _redacted(before, shard, active, sizes)
        if after != before:
            files.write(commits[version], after)
            rewritten += 1
    checkpoints = [n for n in names if (match := _CHECKPOINT.fullmatch(_name(n))) and int(match[1]) < newest]
    whole = all(version in commits for version in range(newest + 1))
    if checkpoints:
        handle.create_checkpoint()
        for name in checkpoints:
            files.delete(name)
        if not whole:
            for version in sorted(commits):
                if version < newest:
                    files.delete(commits[version])
    for name in names:
        if _name(name).endswith((".compacted.json", ".tmp")):
            files.delete(name)
    return Redaction(data_files, rewritten, len(checkpoints), 0 if whole else newest)


def _redacted(commit: bytes, shard: str, active: Collection[str], sizes: dict[str, int]) -> bytes:
    lines = []
    for line in commit.splitlines(keepends=True):
        action = json.loads(line)
        kind = next(iter(action), "")
        if kind in ("add", "remove"):
            changed = _without_quotes(action[kind], shard, active, sizes)
            if changed != action[kind]:
                line = json.dumps({kind: changed}, separators=(",", ":"), ensure_ascii=False).encode() + b"\n"
        lines.append(line)
    return b"".join(lines)


def _without_quotes(file: dict[str, Any], shard: str, active: Collection[str], sizes: dict[str, int]) -> dict[str, Any]:
    name = _name(unquote(file["path"]))
    if (file.get("partitionValues") or {}).get(PARTITION) != shard or name in active:
        return file
    changed = dict(file)
    if changed.get("stats"):
        changed["stats"] = None
    if name in sizes and "size" in changed:
        changed["size"] = sizes[name]
    return changed


def _is_data(path: str) -> bool:
    return path.endswith(".parquet") and not _name(path).startswith(".")


def _is_unfinished(path: str) -> bool:
    """Ours, or of delta-rs, which writes `<name>#<number>` before it renames."""
    return path.endswith(".partial") or ".parquet#" in _name(path)


def _held(files: Files, folder: str, without: Without) -> Iterator[tuple[str, pl.DataFrame]]:
    """The path of each, and what is left of its rows."""
    for found in files.found(folder):
        if not _is_data(found.path):
            continue
        try:
            rows = pl.read_parquet(io.BytesIO(files.read(found.path)))
        except (pl.exceptions.PolarsError, FileNotFoundError):  # not by delta-rs, or vacuumed just now
            continue
        left = without(rows)
        if not left.equals(rows):
            yield found.path, left


def _name(path: str) -> str:
    return path.rpartition("/")[2]
