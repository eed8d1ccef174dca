"""Whatever is killed, one refresh ends with the rows of a run that nobody disturbed. A test's id holds its seed."""

import pytest

from tests.faults.bench import Bench
from tests.faults.faults import survived
from tests.faults.small_job import BATCH_UNITS

TRIED = [
    *(("run killed", seed, "stages") for seed in (1, 2, 3)),
    *(("run and workers killed", seed, "stages") for seed in (1, 2)),
    *(("worker killed", seed, "stages") for seed in (0, 1, 5)),
    ("run killed", 11, "Dagster"),
    ("worker killed", 11, "Dagster"),
    ("step killed", 1, "Dagster"),
]


@pytest.mark.parametrize(("kind", "seed", "way"), TRIED)
def test_no_more_than_a_batch_is_done_again(bench: Bench, kind: str, seed: int, way: str) -> None:
    assert survived(bench, kind, seed, way).lost <= BATCH_UNITS
