"""What an asset's compute function may use: settings, files of the home, worker processes."""

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import polars as pl

from curation_assets.incremental.stage import NO_ENGINE
from curation_assets.incremental.work import Done, Work
from curation_assets.progress import TERMINAL
from curation_assets.settings import Execution, Settings
from curation_assets.tables import TABLES, Row, Scan
from resources.calls import Call, Split, as_rows, result_of, rows_of
from resources.devices import release_memory
from resources.errors import InputError
from resources.files import Files
from resources.networks import Arrays, NetworkEngine, in_batches, samples
from resources.spent import spent
from resources.workers import WorkerPool, available_cores

Features = tuple[Work, str, Arrays | Exception]
"""A unit, an engine, and what the engine makes of the unit or the exception that it ended in."""


@cache
def worker_pool(execution: Execution) -> WorkerPool:
    """One pool for all steps of a process, so that workers keep the models they have loaded."""
    return WorkerPool(execution.workers or available_cores(), execution.item_timeout_s, execution.item_memory_bytes)


def _no_rows(table: str) -> pl.LazyFrame:
    return pl.LazyFrame(schema=TABLES[table].schema)


@dataclass(frozen=True)
class Tools:
    """`scan` gives the rows of a table, of all shards; where there is no home, there are none."""

    settings: Settings
    files: Files
    say: Callable[[str], None] = TERMINAL.info
    scan: Scan = _no_rows

    @property
    def pool(self) -> WorkerPool:
        return worker_pool(self.settings.execution)

    def rows_in_workers(
        self,
        function: Callable[..., Row | list[Row] | Split],
        work: Iterable[Work],
        arguments: Callable[[Work, str], Row],
        without: Collection[str] = (),
    ) -> Iterator[Done]:
        """Run a top-level `function` in the workers, once for each unit and engine wanted but those of `without`.

        `arguments` makes its keyword arguments from the unit and the engine. What it answers with a `Split` is then
        done in parts; when one fails, so does the unit. The function's module must not import Dagster, which would
        slow the start of every worker.
        """
        for call, outcome in rows_of(self.pool.map, _calls(function, work, arguments, without)):
            yield Done(call.unit, outcome, call.engine)

    def rows_in_batches(
        self,
        prepare: Callable[..., Arrays],
        work: Sequence[Work],
        engines: Mapping[str, NetworkEngine],
        arguments: Callable[[Work], Row],
        row: Callable[[Work, str, Arrays], Row],
    ) -> Iterator[Done]:
        """Run the networks of `engines` here, over batches of what `prepare` makes of units in the workers meanwhile.

        `prepare`, a top-level function, gets `engine` and the keyword arguments that `arguments` makes from a unit;
        `row` makes the row of the unit's own features. All engines are opened before the first is run. While a batch
        runs about one is prepared, so memory doesn't grow with the shard.
        """
        for unit, engine, features in self.features_in_batches(prepare, work, engines, arguments):
            yield done(unit, engine, features, row)

    def features_in_batches(
        self,
        prepare: Callable[..., Arrays],
        work: Sequence[Work],
        engines: Mapping[str, NetworkEngine],
        arguments: Callable[[Work], Row],
    ) -> Iterator[Features]:
        """What `rows_in_batches` makes rows of."""
        try:
            yield from self._features(prepare, work, engines, arguments)
        finally:
            release_memory()

    def _features(
        self,
        prepare: Callable[..., Arrays],
        work: Sequence[Work],
        engines: Mapping[str, NetworkEngine],
        arguments: Callable[[Work], Row],
    ) -> Iterator[Features]:
        units = {name: {unit.unit: unit for unit in work if name in unit.engines} for name in engines}
        with spent("starting"):
            opened = {name: engine.open() for name, engine in engines.items() if units[name]}
        for name, networks in opened.items():
            calls = [
                Call(unit.unit, name, prepare, {"engine": engines[name], **arguments(unit)})
                for unit in units[name].values()
            ]
            prepared = self.pool.map(result_of, calls, networks.batch, samples)
            for call, features in in_batches(prepared, networks):
                yield units[name][call.unit], name, features

    def features_in_workers(
        self,
        function: Callable[..., Arrays],
        work: Sequence[Work],
        arguments: Callable[[Work, str], Row],
        without: Collection[str] = (),
    ) -> Iterator[Features]:
        """As `rows_in_workers`, where rows of several tables are made of what `function` answers."""
        units = {unit.unit: unit for unit in work}
        for call, outcome in self.pool.map(result_of, _calls(function, work, arguments, without)):
            yield units[call.unit], call.engine, outcome

    def rows_here(self, function: Callable[[Row], Row | list[Row]], work: Iterable[Work]) -> Iterator[Done]:
        """Run `function` on each unit's columns in this process; for arithmetic too small for a worker."""
        for unit in work:
            try:
                yield Done(unit.unit, as_rows(function(unit.values)), NO_ENGINE)
            except Exception as failure:
                yield Done(unit.unit, failure, NO_ENGINE)


def _calls(
    function: Callable[..., Any],
    work: Iterable[Work],
    arguments: Callable[[Work, str], Row],
    without: Collection[str],
) -> list[Call]:
    return [
        Call(unit.unit, engine, function, arguments(unit, engine))
        for unit in work
        for engine in unit.engines
        if engine not in without
    ]


def done(
    unit: Work,
    engine: str,
    features: Arrays | Exception,
    row: Callable[[Work, str, Arrays], Row],
    table: str | None = None,
) -> Done:
    """The row that `row` makes of a unit's features, or what kept it from having some."""
    if isinstance(features, Exception):
        return Done(unit.unit, features, engine, table)
    try:
        return Done(unit.unit, [row(unit, engine, features)], engine, table)
    except InputError as failure:
        return Done(unit.unit, failure, engine, table)
