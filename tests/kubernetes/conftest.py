"""One cluster for the tests of a process: a stand-in, or the server that REELHOUSE_TEST_KUBECONFIG leads to."""

from collections.abc import Iterator

import pytest

from tests.kubernetes.clusters import Cluster, open_cluster


@pytest.fixture(scope="session")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    with open_cluster(tmp_path_factory.mktemp("cluster")) as opened:
        yield opened
