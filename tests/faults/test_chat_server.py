"""Whatever the chat server answers, a refresh with a well one ends with the right rows. A test's id holds its seed."""

import pytest

from tests.faults.bench import Bench
from tests.faults.faults import OF_CHAT, survived

TRIED = [*((kind.name, 0, "stages") for kind in OF_CHAT), ("chat server hangs up", 1, "Dagster")]


@pytest.mark.parametrize(("kind", "seed", "way"), TRIED)
def test_one_refresh_makes_it_good(bench: Bench, kind: str, seed: int, way: str) -> None:
    survived(bench, kind, seed, way)
