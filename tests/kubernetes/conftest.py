"""One cluster for the tests of a process: a stand-in, or the server that REELHOUSE_TEST_KUBECONFIG leads to."""

import os
from collections.abc import Iterator

import pytest

from tests.kubernetes.clusters import Cluster, open_cluster

collect_ignore = [] if "REELHOUSE_TEST_KUBECONFIG" in os.environ else ["test_on_a_cluster.py"]


@pytest.fixture(scope="session")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    with open_cluster(tmp_path_factory.mktemp("cluster")) as opened:
        yield opened
