"""Items that a worker does together, since they share work; each has an outcome of its own."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TypeVar

from resources.workers import WorkerPool

Item = TypeVar("Item")
Result = TypeVar("Result")


def map_runs(
    pool: WorkerPool,
    function: Callable[[Sequence[Item]], Sequence[Result | Exception]],
    runs: Iterable[Sequence[Item]],
) -> Iterator[tuple[Item, Result | Exception]]:
    """Yield each item with its outcome, as runs finish; `function` gives those of a run, in its order.

    A run that the worker doesn't survive, or that goes over a limit, is done again item by item: only the one at fault
    is lost.
    """
    alone: list[Sequence[Item]] = []
    for run, outcomes in pool.map(function, runs):
        if not isinstance(outcomes, Exception):
            yield from zip(run, outcomes, strict=True)
        elif len(run) == 1:
            yield run[0], outcomes
        else:
            alone += [[item] for item in run]
    if alone:
        yield from map_runs(pool, function, alone)
