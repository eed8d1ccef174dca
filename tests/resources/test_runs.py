"""Items of a run have outcomes of their own, also where a worker doesn't survive the run."""

import os
from collections.abc import Iterator, Sequence

import pytest

from resources.errors import InputError, TransientError
from resources.runs import map_runs
from resources.workers import WorkerPool


@pytest.fixture(scope="module")
def pool() -> Iterator[WorkerPool]:
    pool = WorkerPool(2, 30, 2 << 30)
    yield pool
    pool.close()


def halves(items: Sequence[int]) -> list[int | Exception]:
    """0 kills the worker; odd numbers can't be halved."""
    if 0 in items:
        os._exit(3)
    return [InputError(f"{item} is odd; take an even one") if item % 2 else item // 2 for item in items]


def test_one_that_fails_takes_no_neighbour_with_it(pool: WorkerPool) -> None:
    outcomes = dict(map_runs(pool, halves, [[2, 3, 4], [6]]))
    assert isinstance(outcomes.pop(3), InputError)
    assert outcomes == {2: 1, 4: 2, 6: 3}


def test_one_that_kills_the_worker_takes_no_neighbour_with_it(pool: WorkerPool) -> None:
    outcomes = dict(map_runs(pool, halves, [[2, 0, 4], [6, 8]]))
    assert isinstance(outcomes.pop(0), TransientError)
    assert outcomes == {2: 1, 4: 2, 6: 3, 8: 4}


def test_without_runs_nothing_happens(pool: WorkerPool) -> None:
    assert list(map_runs(pool, halves, [])) == []
