"""What an asset's compute function may use: settings, files of the home, worker processes."""

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache

from curation_assets.incremental.stage import NO_ENGINE
from curation_assets.incremental.work import Done, Work
from curation_assets.progress import TERMINAL
from curation_assets.settings import Execution, Settings
from curation_assets.tables import Row
from resources.calls import Call, Split, as_rows, result_of, rows_of
from resources.devices import release_memory
from resources.errors import InputError
from resources.files import Files
from resources.networks import Arrays, NetworkEngine, in_batches, samples
from resources.spent import spent
from resources.workers import WorkerPool, available_cores


@cache
def worker_pool(execution: Execution) -> WorkerPool:
    """One pool for all steps of a process, so that workers keep the models they have loaded."""
    return WorkerPool(execution.workers or available_cores(), execution.item_timeout_s, execution.item_memory_bytes)


@dataclass(frozen=True)
class Tools:
    settings: Settings
    files: Files
    say: Callable[[str], None] = TERMINAL.info

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
        calls = [
            Call(unit.unit, engine, function, arguments(unit, engine))
            for unit in work
            for engine in unit.engines
            if engine not in without
        ]
        for call, outcome in rows_of(self.pool.map, calls):
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
        try:
            for unit, name, features in self._features(prepare, work, engines, arguments):
                yield _done(unit, name, features, row)
        finally:
            release_memory()

    def _features(
        self,
        prepare: Callable[..., Arrays],
        work: Sequence[Work],
        engines: Mapping[str, NetworkEngine],
        arguments: Callable[[Work], Row],
    ) -> Iterator[tuple[Work, str, Arrays | Exception]]:
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

    def rows_here(self, function: Callable[[Row], Row | list[Row]], work: Iterable[Work]) -> Iterator[Done]:
        """Run `function` on each unit's columns in this process; for arithmetic too small for a worker."""
        for unit in work:
            try:
                yield Done(unit.unit, as_rows(function(unit.values)), NO_ENGINE)
            except Exception as failure:
                yield Done(unit.unit, failure, NO_ENGINE)


def _done(unit: Work, engine: str, outcome: Arrays | Exception, row: Callable[[Work, str, Arrays], Row]) -> Done:
    if isinstance(outcome, Exception):
        return Done(unit.unit, outcome, engine)
    try:
        return Done(unit.unit, [row(unit, engine, outcome)], engine)
    except InputError as failure:
        return Done(unit.unit, failure, engine)
