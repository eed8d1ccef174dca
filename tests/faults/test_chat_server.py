"""Whatever the chat server answers, a refresh with a well one ends with the right rows. A test's id holds its seed."""

import pytest

from tests.faults.bench import Bench
from tests.faults.faults import KINDS

DIRECTLY = [(kind, 0) for kind in KINDS if kind.startswith("chat server")]
BY_DAGSTER = [("chat server hangs up", 1), ("chat server fails", 1)]


@pytest.mark.parametrize(("kind", "seed"), DIRECTLY)
def test_stage_after_stage(bench: Bench, kind: str, seed: int) -> None:
    tried = bench.attempt(KINDS[kind], seed)
    assert not tried.problems, tried


@pytest.mark.parametrize(("kind", "seed"), BY_DAGSTER)
def test_by_dagster(bench: Bench, kind: str, seed: int) -> None:
    tried = bench.attempt(KINDS[kind], seed, by_dagster=True)
    assert not tried.problems, tried
