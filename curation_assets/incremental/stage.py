"""What a stage declares of the table that it makes; fingerprints of rows follow from it."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import polars as pl

from curation_assets.incremental.digests import as_json, plain, sha256, sha256_of
from curation_assets.tables import Row, Table
from resources.json_columns import json_objects

NO_ENGINE = ""
FINGERPRINT_DIGITS = 16
UNIT, ENGINE, FINGERPRINT = "_unit", "_engine", "_fingerprint"
"""Columns beside a table's own: a row's unit and engine, and what it would be made from now."""
KEY = [UNIT, ENGINE]

_NO_KEYS = pl.DataFrame(schema=dict.fromkeys([*KEY, FINGERPRINT], pl.String))

Effort = Literal["arithmetic", "probe", "decode", "call", "encode"]
"""What a unit takes: nothing to speak of, reading a file's packets, decoding its span, an engine, an encode."""


@dataclass(frozen=True)
class Stage:
    """The one declaration of what a table is made from; fingerprint, projection, lineage and code version follow.

    `reads`: upstream table -> the columns read. `units`: joins those frames to one row per input; the column `unit`
    names the input. Two columns it may add steer the refresh: `blocked`, a reason why the parent has no result, and
    `wanted`, false where existing rows are kept but nothing is computed (rows of paid stages outlive a decision).
    `settings`: every value of the settings that can change a result, execution settings left out. `engines`: engine
    -> its settings, model and revision, for tables that hold a row per engine. `version`: raised when the logic
    changes. `not_data`: unit columns that say where the input lies, not what it is. `carried`: unit columns copied to
    all rows at each refresh, also to reused ones. `paid`: a result outlives a failure of its parent. `file`: the
    columns that hold path and size of a row's file. `added`: unit columns younger than rows in use, whose fingerprints
    stand where such a column is null. `copied`: unit columns that stand in the rows made of them. `effort`: what
    computing a unit takes, which `plan` adds up.
    """

    table: Table
    unit: str
    reads: Mapping[str, Sequence[str]]
    units: Callable[[Mapping[str, pl.DataFrame]], pl.DataFrame]
    version: str
    settings: Mapping[str, Any] = field(default_factory=dict)
    engines: Mapping[str, Mapping[str, Any]] = field(default_factory=lambda: {NO_ENGINE: {}})
    not_data: frozenset[str] = frozenset()
    added: frozenset[str] = frozenset()
    carried: tuple[str, ...] = ()
    copied: tuple[str, ...] = ()
    file: tuple[str, str] | None = None
    paid: bool = False
    effort: Effort = "arithmetic"

    @property
    def code_version(self) -> str:
        return f"{self.version}-{sha256(as_json([self.settings, self.engines]))[:8]}"

    @property
    def declaration(self) -> str:
        """JSON of what a row's fingerprint names beside its input, kept with each commit for those who ask why."""
        return as_json({"version": self.version, "settings": self.settings, "engines": self.engines})

    def key_of(self, row: Row) -> tuple[str, str]:
        """Unit and engine of a row; `engine` is a key only where a unit has a row for each."""
        return row[self.unit], (row["engine"] or NO_ENGINE) if "engine" in self.table.key else NO_ENGINE

    def keys(self) -> tuple[pl.Expr, pl.Expr]:
        """`_unit` and `_engine` of rows, as `key_of` gives them."""
        engine = pl.col("engine").fill_null(NO_ENGINE) if "engine" in self.table.key else pl.lit(NO_ENGINE)
        return pl.col(self.unit).alias(UNIT), engine.alias(ENGINE)

    def fingerprint(self, unit: Row, engine: str) -> str:
        """What a row of the unit is made from."""
        left_out = self._not_hashed
        data = {
            name: value
            for name, value in unit.items()
            if name not in left_out and not (name in self.added and value is None)
        }
        return sha256(f"{self._made_by(engine)}{as_json(data)}]")[:FINGERPRINT_DIGITS]

    def fingerprints(self, units: pl.DataFrame) -> pl.DataFrame:
        """`_unit`, `_engine` and `_fingerprint` of the rows of all units and engines, as `fingerprint` gives them."""
        data = json_objects(units.drop(self._not_hashed, strict=False), plain, self.added).to_list()
        return pl.concat(
            [
                _NO_KEYS,
                *(
                    pl.DataFrame(
                        {
                            UNIT: units[self.unit],
                            ENGINE: pl.Series([engine], dtype=pl.String).new_from_index(0, units.height),
                            FINGERPRINT: sha256_of(data, self._made_by(engine), "]", FINGERPRINT_DIGITS),
                        }
                    )
                    for engine in self.engines
                ),
            ]
        )

    @property
    def _not_hashed(self) -> set[str]:
        return {*self.not_data, *self.carried, "blocked", "wanted"}

    def _made_by(self, engine: str) -> str:
        """What a fingerprint names before the unit's data."""
        return as_json([self.table.name, self.version, self.settings, engine, self.engines[engine]])[:-1] + ","


def blocked_by(table: str) -> pl.Expr:
    """The column `blocked` of units whose row in `table` holds an error: the first cause, with the table it lies in."""
    error = pl.when(pl.col("error_kind") == "blocked").then("error").otherwise(pl.format(f"{table}: {{}}", "error"))
    return pl.when(pl.col("error").is_not_null()).then(error).alias("blocked")
