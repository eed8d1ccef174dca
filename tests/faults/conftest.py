from collections.abc import Iterator

import pytest

from tests.faults.bench import Bench, open_bench


@pytest.fixture(scope="session")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    with open_bench(tmp_path_factory.mktemp("faults")) as opened:
        yield opened
