"""A hash of a frame's values, the same whatever the library's version, chunks, or what lies under nulls."""

import hashlib
from typing import Protocol

import numpy as np
import polars as pl


class _Hash(Protocol):
    def update(self, data: bytes, /) -> None: ...


def frame_digest(rows: pl.DataFrame) -> str:
    """SHA-256, in hex, of the columns in order: their names, and of each row whether it is null, and its value.

    Raises TypeError for a column of another type than texts, numbers, truth values, times, and lists and structs of
    them.
    """
    digest = hashlib.sha256()
    for column in rows:
        digest.update(f"{column.name}\0{len(column)}\0".encode())
        _add(digest, column)
    return digest.hexdigest()


def _add(digest: _Hash, values: pl.Series) -> None:
    dtype = values.dtype
    digest.update(np.packbits(values.is_null().to_numpy()).tobytes())
    if isinstance(dtype, pl.List):
        lengths = values.list.len().fill_null(0)
        digest.update(lengths.to_numpy().tobytes())
        _add(digest, values.filter(lengths > 0).explode())
    elif isinstance(dtype, pl.Struct):
        for field in values.struct.fields:
            _add(digest, values.struct.field(field))
    elif dtype == pl.String:
        digest.update(values.str.len_bytes().fill_null(0).to_numpy().tobytes())
        digest.update((values.str.join("").item() or "").encode())
    elif dtype == pl.Boolean:
        digest.update(np.packbits(values.fill_null(False).to_numpy()).tobytes())
    elif dtype.is_numeric() or dtype.is_temporal():
        digest.update(values.to_physical().fill_null(0).to_numpy().tobytes())
    else:
        raise TypeError(f"{values.name}: {dtype} can't be hashed")
