"""A server's answers to good and broken Jobs against those of a real one."""

import pytest
from kubernetes.config import new_client_from_config

from tests.kubernetes.cases import CASES, answer, recorded
from tests.kubernetes.clusters import Cluster


@pytest.mark.parametrize("case", CASES)
def test_a_server_answers_as_recorded(cluster: Cluster, case: str) -> None:
    assert answer(new_client_from_config(str(cluster.kubeconfig)), cluster.namespace, case) == recorded()[case]
