"""What an asset's compute function may use: settings, files of the home, worker processes."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import cache

from curation_assets.refresh import NO_ENGINE, Done, Row, Work
from curation_assets.settings import Execution, Settings
from resources.calls import Call, as_rows, run_call
from resources.files import Files
from resources.workers import WorkerPool, available_cores


@cache
def worker_pool(execution: Execution) -> WorkerPool:
    """One pool for all steps of a process, so that workers keep the models they have loaded."""
    return WorkerPool(execution.workers or available_cores(), execution.item_timeout_s, execution.item_memory_bytes)


@dataclass(frozen=True)
class Tools:
    settings: Settings
    files: Files

    @property
    def pool(self) -> WorkerPool:
        return worker_pool(self.settings.execution)

    def rows_in_workers(
        self,
        function: Callable[..., Row | list[Row]],
        work: Iterable[Work],
        arguments: Callable[[Work, str], Row],
    ) -> Iterator[Done]:
        """Run a top-level `function` in the workers, once for each unit and engine wanted.

        `arguments` makes its keyword arguments from the unit and the engine. The function's module must not import
        Dagster, which would slow the start of every worker.
        """
        calls = [Call(unit.unit, engine, function, arguments(unit, engine)) for unit in work for engine in unit.engines]
        for call, outcome in self.pool.map(run_call, calls):
            yield Done(call.unit, outcome, call.engine)

    def rows_here(self, function: Callable[[Row], Row | list[Row]], work: Iterable[Work]) -> Iterator[Done]:
        """Run `function` on each unit's columns in this process; for arithmetic too small for a worker."""
        for unit in work:
            try:
                yield Done(unit.unit, as_rows(function(unit.values)), NO_ENGINE)
            except Exception as failure:
                yield Done(unit.unit, failure, NO_ENGINE)
