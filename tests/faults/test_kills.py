"""Whatever is killed, one refresh ends with the rows of a run that nobody disturbed. A test's id holds its seed."""

import pytest

from tests.faults.bench import Bench
from tests.faults.faults import KINDS
from tests.faults.small_job import BATCH_UNITS

DIRECTLY = [
    *(("run killed", seed) for seed in (1, 2, 3)),
    *(("run and workers killed", seed) for seed in (1, 2)),
    *(("worker killed", seed) for seed in (0, 1, 5)),
]
BY_DAGSTER = [
    ("run killed", 11),
    ("run killed", 12),
    ("run and workers killed", 11),
    ("worker killed", 11),
    ("step killed", 1),
]


@pytest.mark.parametrize(("kind", "seed"), DIRECTLY)
def test_stage_after_stage(bench: Bench, kind: str, seed: int) -> None:
    tried = bench.attempt(KINDS[kind], seed)
    assert not tried.problems, tried
    assert tried.lost <= BATCH_UNITS, tried


@pytest.mark.parametrize(("kind", "seed"), BY_DAGSTER)
def test_by_dagster(bench: Bench, kind: str, seed: int) -> None:
    tried = bench.attempt(KINDS[kind], seed, by_dagster=True)
    assert not tried.problems, tried
    assert tried.lost <= BATCH_UNITS, tried
