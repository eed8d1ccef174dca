"""Full disks, files that go, runs beside each other, a clock that jumps. A test's id holds its seed."""

import pytest

from tests.faults.bench import Bench
from tests.faults.faults import survived

TRIED = [
    *(("disk full", seed, "stages") for seed in (0, 1)),
    *(("source file gone", seed, "stages") for seed in (0, 1)),
    *(("stored file damaged", seed, "stages") for seed in (3, 5)),
    ("two runs at once", 0, "stages"),
    *(("clock moved", seed, "stages") for seed in (0, 1)),
    ("disk full", 16, "Dagster"),
    ("two runs at once", 11, "Dagster"),
]


@pytest.mark.parametrize(("kind", "seed", "way"), TRIED)
def test_one_refresh_makes_it_good(bench: Bench, kind: str, seed: int, way: str) -> None:
    survived(bench, kind, seed, way)
