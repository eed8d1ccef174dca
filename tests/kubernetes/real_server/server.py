"""A real Kubernetes API server on the loopback interface, for tests: etcd, kube-apiserver and kube-controller-manager.

`python -m tests.kubernetes.real_server.server FOLDER COMMAND...` starts what `build.sh FOLDER` has made, runs the
command with REELHOUSE_TEST_KUBECONFIG set to an administrator's kubeconfig, and stops the server when it ends.

The controllers are those that Jobs, their pods and namespaces need. There are no nodes, no scheduler and no kubelet.
"""

import os
import secrets
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import yaml
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from kubernetes.client import ApiException, CoreV1Api
from kubernetes.config import ConfigException, new_client_from_config
from urllib3.exceptions import HTTPError

from resources.process_group import start, stop
from tests.ui.webserver import free_port

KUBECONFIG = "REELHOUSE_TEST_KUBECONFIG"
CONTROLLERS = "job,ttl-after-finished,garbagecollector,namespace,resourcequota"
FEATURES = "TTLAfterFinished=true"  # alpha until Kubernetes 1.21, and what removes finished Jobs
READY_LIMIT_S = 180.0
GRACE_S = 5.0


@contextmanager
def running(folder: Path) -> Iterator[Path]:
    """Start what `build.sh FOLDER` has made, with empty storage, and stop it; gives an administrator's kubeconfig.

    None of its processes outlives this one. Raises RuntimeError with the end of the server's log where it ends or isn't
    ready in time.
    """
    with ExitStack() as stack:
        work = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="kubernetes-")))
        storage, peer, port = (free_port() for _ in range(3))
        kubeconfig = _write_access(work, port)

        def run(program: str, **flags: object) -> "subprocess.Popen[bytes]":
            arguments = [f"--{name.replace('_', '-')}={value}" for name, value in flags.items()]
            with (work / f"{program}.log").open("wb") as log:
                command = [str(folder.resolve() / "bin" / program), *arguments]
                watcher = start(command, GRACE_S, cwd=work, stdout=log, stderr=log)
            stack.callback(stop, watcher, GRACE_S)
            return watcher

        run(
            "etcd",
            data_dir=work / "etcd",
            listen_client_urls=f"http://127.0.0.1:{storage}",
            advertise_client_urls=f"http://127.0.0.1:{storage}",
            listen_peer_urls=f"http://127.0.0.1:{peer}",
            unsafe_no_fsync="true",
        )
        server = run(
            "kube-apiserver",
            etcd_servers=f"http://127.0.0.1:{storage}",
            bind_address="127.0.0.1",
            secure_port=port,
            cert_dir=work / "certificates",
            token_auth_file=work / "tokens.csv",
            authorization_mode="RBAC",
            # It would mount the token of a service account into each pod, which takes two controllers more.
            disable_admission_plugins="ServiceAccount",
            service_account_issuer="https://kubernetes.default.svc",
            service_account_key_file=work / "signing.pem",
            service_account_signing_key_file=work / "signing.pem",
            service_cluster_ip_range="10.0.0.0/24",
            feature_gates=FEATURES,
        )
        _wait_until_ready(server, kubeconfig)
        run(
            "kube-controller-manager",
            kubeconfig=kubeconfig,
            controllers=CONTROLLERS,
            leader_elect="false",
            port=0,
            secure_port=0,
            feature_gates=FEATURES,
        )
        yield kubeconfig


def _write_access(work: Path, port: int) -> Path:
    """Write an administrator's token, a key for the tokens of service accounts, and a kubeconfig."""
    key = ec.generate_private_key(ec.SECP256R1())
    coding = serialization.Encoding.PEM, serialization.PrivateFormat.TraditionalOpenSSL, serialization.NoEncryption()
    (work / "signing.pem").write_bytes(key.private_bytes(*coding))
    token = secrets.token_hex(32)
    (work / "tokens.csv").write_text(f"{token},admin,admin,system:masters\n")
    cluster = {"server": f"https://127.0.0.1:{port}", "certificate-authority": str(work / "certificates/apiserver.crt")}
    config = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "test", "cluster": cluster}],
        "users": [{"name": "admin", "user": {"token": token}}],
        "contexts": [{"name": "test", "context": {"cluster": "test", "user": "admin"}}],
        "current-context": "test",
    }
    kubeconfig = work / "kubeconfig.yaml"
    kubeconfig.write_text(yaml.safe_dump(config))
    return kubeconfig


def _wait_until_ready(server: "subprocess.Popen[bytes]", kubeconfig: Path) -> None:
    deadline = time.monotonic() + READY_LIMIT_S
    while not _is_ready(kubeconfig):
        if server.poll() is not None or time.monotonic() > deadline:
            log = (kubeconfig.parent / "kube-apiserver.log").read_text(errors="replace")
            raise RuntimeError(f"kube-apiserver ended, or isn't ready within {READY_LIMIT_S:.0f} s:\n{log[-4000:]}")
        time.sleep(0.2)


def _is_ready(kubeconfig: Path) -> bool:
    try:
        client = new_client_from_config(str(kubeconfig))
        client.call_api("/readyz", "GET", response_types_map={}, auth_settings=["BearerToken"])
        CoreV1Api(client).read_namespace("default")
    except (ConfigException, HTTPError, ApiException):  # no certificate yet, nobody listens, not all is set up
        return False
    return True


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    with running(Path(sys.argv[1])) as kubeconfig:
        sys.exit(subprocess.run(sys.argv[2:], env={**os.environ, KUBECONFIG: str(kubeconfig)}).returncode)
