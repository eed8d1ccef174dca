"""Whatever the store of films and home does, one refresh gives the rows of a local home. A test's id holds its seed."""

import os
from collections.abc import Iterator
from unittest.mock import patch

import pytest

from tests.faults.bench import Bench, Bucket, open_bench
from tests.faults.faults import survived
from tests.faults.small_job import BATCH_UNITS
from tests.object_store.faulty_proxy import Proxy
from tests.object_store.store import ObjectStore, environment

TRIED = [("store fails", 1), ("store throttles", 1), ("store disconnects", 0), ("run on a store killed", 0)]


@pytest.fixture(scope="module")
def bench(
    store: ObjectStore, one_proxy: Proxy, elsewhere: Proxy, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Bench]:
    bucket = Bucket(store.make_bucket("faults"), one_proxy)
    with (
        patch.dict(os.environ, environment(one_proxy.url, elsewhere.url)),
        open_bench(tmp_path_factory.mktemp("faults"), bucket=bucket) as opened,
    ):
        yield opened


@pytest.mark.parametrize(("kind", "seed"), TRIED)
def test_no_more_than_a_batch_is_done_again(bench: Bench, kind: str, seed: int) -> None:
    assert survived(bench, kind, seed).lost <= BATCH_UNITS
