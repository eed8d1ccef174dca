"""A home: where tables, frames, clips and exports lie, and which version of the program it is made for."""

import hashlib
import json
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from deltalake.exceptions import TableNotFoundError

from curation_assets.settings import SettingsError
from curation_assets.tables import TABLES
from resources.delta_store import PROPERTIES, DeltaStore, IncompatibleTable
from resources.files import Files
from resources.object_store import is_url

FORMAT = 2  # raised when an older program must not open the home any more; homes without a marker are of format 1
MARKER = "home.json"

_looked_at: set[str] = set()  # homes on object stores, where each look is a request


@dataclass(frozen=True)
class OpenHome:
    store: DeltaStore
    files: Files


def open_home(root: str) -> OpenHome:
    """The tables and files under `root`, a local folder or an object store's URL.

    A home of an older version is brought up to date: its tables get the columns they lack, null in rows that are
    there, so that nothing is computed again. Raises SettingsError for a home of a newer version, OSError where an
    older one can't be written.
    """
    home = OpenHome(DeltaStore(root), Files(root))
    if home.store.root not in _looked_at:
        _bring_up_to_date(home)
        if not home.files.is_local:
            _looked_at.add(home.store.root)
    return home


def existing_home(root: str) -> OpenHome:
    """As `open_home`. Raises SettingsError too where a local folder holds no home."""
    if not is_url(root) and not Path(root, "tables").is_dir():
        raise SettingsError(f"{root}: no home is there; name one with --home, or make it with `reelhouse run`")
    return open_home(root)


def _bring_up_to_date(home: OpenHome) -> None:
    """Safe at any number of processes at once and when killed: each step can be done twice, the marker comes last."""
    marker = _read_marker(home.files)
    made_for = marker.get("format", 1)
    if made_for > FORMAT:
        raise SettingsError(
            f"{home.store.root}: a home of format {made_for}, and this version of Reelhouse knows formats up to "
            f"{FORMAT}; update Reelhouse, or name another home"
        )
    expected = {"format": FORMAT, "columns": _columns()}
    if marker == expected:
        return
    if _upgrade_tables(home.store):
        with suppress(OSError):  # a full or read-only disk: the next process looks again
            home.files.write(MARKER, (json.dumps(expected) + "\n").encode())


def _upgrade_tables(store: DeltaStore) -> bool:
    """Whether there was any table."""
    found = False
    for name, table in TABLES.items():
        with suppress(TableNotFoundError):
            try:
                store.upgrade(name, table.schema)
            except IncompatibleTable as problem:
                raise SettingsError(
                    f"{store.root}: {problem}; the home was made by another version of Reelhouse: use that version, or "
                    "name another home"
                ) from None
            found = True
    return found


def _read_marker(files: Files) -> dict[str, Any]:
    with suppress(FileNotFoundError, ValueError):
        return dict(json.loads(files.read(MARKER)))
    return {}


@cache
def _columns() -> str:
    """Names the columns and properties of all tables: a change of them makes the tables be looked through."""
    schemas = {name: {column: str(dtype) for column, dtype in table.schema.items()} for name, table in TABLES.items()}
    return hashlib.sha256(json.dumps([schemas, PROPERTIES]).encode()).hexdigest()[:16]
