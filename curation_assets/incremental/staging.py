"""Finished rows of a shard that aren't in the table yet."""

import io
import uuid
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress

import polars as pl

from curation_assets.incremental.stage import Stage
from curation_assets.incremental.work import Key
from curation_assets.tables import Row, Table
from resources.files import Files

HAS_ERROR = (pl.col("error") != "").fill_null(False)

Results = dict[tuple[Key, str], list[Row]]
"""Rows by key and fingerprint."""
Sizes = Callable[[str], Mapping[str, int]]
"""The files of a folder of the home with their bytes."""


class Staging:
    """Finished rows of a shard that aren't in the table yet, one Parquet file a batch."""

    def __init__(self, files: Files, table: Table, shard: str) -> None:
        self._files = files
        self._table = table
        self._folder = f"staging/{table.name}/{shard}"
        self._mine: list[str] = []

    def append(self, rows: list[Row]) -> None:
        if not rows:
            return
        buffer = io.BytesIO()
        pl.DataFrame(rows, schema=self._table.schema, orient="row").write_parquet(buffer)
        name = f"{self._folder}/{uuid.uuid4().hex}.parquet"
        self._files.write(name, buffer.getvalue())
        self._mine.append(name)

    def rows(self, stage: Stage, sizes: Sizes) -> Results:
        """Results by unit, engine and fingerprint; failures aren't taken over, they are tried again."""
        found: Results = {}
        for name, rows in self._read():
            if name not in self._mine:
                self._mine.append(name)
            if rows is None:
                continue
            is_good = ~rows.select(HAS_ERROR).to_series() & files_are_there(rows, stage, sizes)
            groups: Results = defaultdict(list)
            bad = set()
            for row, good in zip(rows.to_dicts(), is_good, strict=True):
                name_of = stage.key_of(row), row["input_fingerprint"]
                groups[name_of].append(row)
                if not good:
                    bad.add(name_of)
            found |= {name: group for name, group in groups.items() if name not in bad}
        return found

    def _read(self) -> Iterator[tuple[str, pl.DataFrame | None]]:
        for name in self._files.listing(self._folder):
            rows: pl.DataFrame | None = None
            with suppress(FileNotFoundError, pl.exceptions.PolarsError):  # committed by another run, or damaged
                frame = pl.read_parquet(io.BytesIO(self._files.read(name)))
                rows = frame if frame.schema == self._table.schema else None
            yield name, rows

    def renew(self) -> None:
        """Write the batches taken over again: maintenance knows by their age that somebody counts on them."""
        for name in self._mine:
            with suppress(FileNotFoundError):
                self._files.write(name, self._files.read(name))

    def clear(self) -> None:
        """Delete what this refresh wrote or took over; another run's newer batches stay its own."""
        for name in self._mine:
            self._files.delete(name)
        self._mine.clear()
        self._files.delete_abandoned(self._folder)


def files_are_there(rows: pl.DataFrame, stage: Stage, sizes: Sizes) -> pl.Series:
    """Whether each row's file is there with its size; true of rows without a file."""
    if stage.file is None:
        return pl.Series([True] * rows.height, dtype=pl.Boolean)
    path, size = stage.file
    named = rows.select(pl.when(~HAS_ERROR).then(path), size).iter_rows()
    there = (path is None or sizes(path.rpartition("/")[0]).get(path) == size for path, size in named)
    return pl.Series(list(there), dtype=pl.Boolean)
