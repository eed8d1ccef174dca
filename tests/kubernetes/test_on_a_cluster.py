"""What only a real API server can say: it takes our manifests."""

import os

from kubernetes.config import new_client_from_config
from kubernetes.utils import create_from_dict

from tests.kubernetes.manifests import MANIFESTS


def test_an_api_server_takes_the_manifests() -> None:
    client = new_client_from_config(os.environ["REELHOUSE_TEST_KUBECONFIG"])
    for manifest in MANIFESTS:
        create_from_dict(client, manifest, namespace="default", dry_run="All")
