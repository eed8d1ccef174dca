"""Take rows out of every version of a Delta table: out of its old data files and out of what the log quotes of them.

Delta keeps old versions by never changing a file. A takedown needs the contrary: the same versions, without some
rows. A data file keeps its name and its place in every version that names it; the log's note of its size follows,
and the log's optional statistics, which quote the smallest and largest strings of each column, are dropped.
"""

import io
import json
import re
from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, unquote

import polars as pl

from resources.delta_store import PARTITION, DeltaStore
from resources.files import Files

_COMMIT = re.compile(r"(\d{20})\.json")
_CHECKPOINT = re.compile(r"(\d{20})\.checkpoint\..*parquet")

Holds = Callable[[Collection[str]], pl.Expr]
"""Which rows must go, given the names of a file's columns."""


@dataclass(frozen=True)
class Redaction:
    """What was rewritten; `oldest` is the first version that can be opened from now on."""

    data_files: int
    commits: int
    checkpoints: int
    oldest: int


def held_in(files: Files, folder: str, holds: Holds) -> list[str]:
    """The Parquet files below `folder` with rows that must go, of whatever version."""
    return [found.path for found in files.found(folder) if _is_data(found.path) and _holding(files, found.path, holds)]


def redact_files(files: Files, folder: str, holds: Holds) -> int:
    """Rewrite those files without the rows, and delete what killed writers left half written; returns how many."""
    held = held_in(files, folder, holds)
    for path in held:
        rows = _read(files, path)
        kept = io.BytesIO()
        rows.filter(~holds(rows.columns).fill_null(False)).write_parquet(kept)
        files.write(path, kept.getvalue())
    unfinished = [found.path for found in files.found(folder) if _is_unfinished(found.path)]
    for path in unfinished:
        files.delete(path)
    return len(held) + len(unfinished)


def redact(store: DeltaStore, files: Files, table: str, shard: str, holds: Holds) -> Redaction:
    """Take the rows out of all versions of a table's shard but the newest, which must be rid of them already.

    Can be interrupted anywhere and done again. A version of the shard can't be read between the rewriting of a file
    and that of the log. Where the log doesn't reach back to the first version, older versions than the newest go.
    """
    folder = f"tables/{table}"
    place = f"{folder}/{PARTITION}={quote(shard, safe=' ')}"
    data_files = redact_files(files, place, holds)
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


def _holding(files: Files, path: str, holds: Holds) -> bool:
    try:
        rows = _read(files, path)
    except (pl.exceptions.PolarsError, FileNotFoundError):  # not by delta-rs, or vacuumed just now
        return False
    return bool(rows.select(holds(rows.columns).any()).item())


def _read(files: Files, path: str) -> pl.DataFrame:
    return pl.read_parquet(io.BytesIO(files.read(path)))


def _name(path: str) -> str:
    return path.rpartition("/")[2]
