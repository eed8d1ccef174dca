"""Which tables of a local home can't be read, because of their logs or their files."""

from collections.abc import Iterator

import polars as pl
from deltalake.exceptions import DeltaError, TableNotFoundError

from curation_assets.tables import TABLES
from resources.delta_store import DeltaStore
from resources.files import Files


def damages(store: DeltaStore, files: Files) -> Iterator[str]:
    """A sentence a table: a file that its newest version names is gone or of another size, or its log is unreadable."""
    for table in TABLES:
        try:
            named = pl.DataFrame(store.snapshot(table).get_add_actions(flatten=True)).select("path", "size_bytes")
        except TableNotFoundError:
            continue
        except (DeltaError, OSError):
            yield f"{store.location(table)}: its log can't be read"
            continue
        wrong = [path for path, size in named.iter_rows() if files.size(f"tables/{table}/{path}") != size]
        if wrong:
            yield f"{store.location(table)}: {len(wrong)} files are gone or of another size, such as {wrong[0]}"
