"""A home: where tables, frames, clips and exports lie."""

from dataclasses import dataclass

from resources.delta_store import DeltaStore
from resources.files import Files


@dataclass(frozen=True)
class OpenHome:
    store: DeltaStore
    files: Files


def open_home(root: str) -> OpenHome:
    """The tables and files under `root`, a local folder or an object store's URL."""
    return OpenHome(DeltaStore(root), Files(root))
