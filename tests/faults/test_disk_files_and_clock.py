"""Full disks, files that go, runs beside each other, a clock that jumps. A test's id holds its seed."""

import pytest

from tests.faults.bench import Bench
from tests.faults.faults import KINDS

DIRECTLY = [
    *(("disk full", seed) for seed in (0, 1)),
    *(("source file gone", seed) for seed in (0, 1)),
    *(("stored file damaged", seed) for seed in (3, 5)),
    ("two runs at once", 0),
    *(("clock moved", seed) for seed in (0, 1)),
]
BY_DAGSTER = [("disk full", 12), ("two runs at once", 11), ("clock moved", 11)]


@pytest.mark.parametrize(("kind", "seed"), DIRECTLY)
def test_stage_after_stage(bench: Bench, kind: str, seed: int) -> None:
    tried = bench.attempt(KINDS[kind], seed)
    assert not tried.problems, tried


@pytest.mark.parametrize(("kind", "seed"), BY_DAGSTER)
def test_by_dagster(bench: Bench, kind: str, seed: int) -> None:
    tried = bench.attempt(KINDS[kind], seed, by_dagster=True)
    assert not tried.problems, tried
