"""A local S3 server, moto over HTTP in a process of its own, and the environment that leads clients to it."""

import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.client import HTTPConnection
from urllib.parse import urlsplit

ACCESS_KEY = "AKIATESTKEYOFREELHOUSE"
SECRET_KEY = "secret/of+the/tests+nobody/else/writes/this"


@dataclass(frozen=True)
class ObjectStore:
    url: str

    def make_bucket(self, name: str) -> str:
        """Returns its URL."""
        _request(self.url, "PUT", f"/{name}")
        return f"s3://{name}"


def environment(endpoint: str, way_out: str | None = None) -> dict[str, str]:
    """What a user sets to reach the store at `endpoint`; requests to other machines go by the proxy `way_out`."""
    ways = dict.fromkeys(("HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy"), way_out) if way_out else {}
    return {
        **ways,
        "NO_PROXY": "127.0.0.1",
        "no_proxy": "127.0.0.1",
        "AWS_ACCESS_KEY_ID": ACCESS_KEY,
        "AWS_SECRET_ACCESS_KEY": SECRET_KEY,
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_REGION": "us-east-1",
        "AWS_ENDPOINT_URL": endpoint,
        "AWS_ALLOW_HTTP": "true",
        "AWS_EC2_METADATA_DISABLED": "true",
    }


@contextmanager
def object_store() -> Iterator[ObjectStore]:
    """Empty at first; listens on a free port of 127.0.0.1."""
    command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", "0"]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    try:
        assert process.stderr is not None
        for line in process.stderr:
            if found := re.search(r"http://127\.0\.0\.1:\d+", line):
                break
        else:
            raise RuntimeError("moto did not start")
        drain = subprocess.Popen(["cat"], stdin=process.stderr, stdout=subprocess.DEVNULL)
        try:
            yield ObjectStore(found[0])
        finally:
            process.terminate()
            process.wait()
            drain.wait()
    finally:
        process.kill()
        process.wait()


def _request(url: str, method: str, path: str) -> bytes:
    connection = HTTPConnection(urlsplit(url).netloc, timeout=30)
    try:
        connection.request(method, path, headers={"Host": urlsplit(url).netloc})
        answer = connection.getresponse()
        body = answer.read()
        if answer.status >= 300:
            raise RuntimeError(f"{method} {path}: {answer.status} {body[:200]!r}")
        return body
    finally:
        connection.close()
