"""`reelhouse ui` as a process of its own, ended with everything it started."""

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def reelhouse_ui(home: Path, settings: Path) -> Iterator[str]:
    """The address of a running UI and daemon for `home`."""
    command = [sys.executable, "-m", "curation_assets.cli", "ui", "--home", str(home), "--settings", str(settings)]
    with running(command, home / "ui.log", {}) as address:
        yield address


@contextmanager
def running(
    command: Sequence[str], log: Path, environment: dict[str, str], folder: Path | None = None
) -> Iterator[str]:
    """A Dagster webserver started by `command` in `folder` with a free port behind it; its output goes to `log`."""
    port = free_port()
    address = f"http://127.0.0.1:{port}"
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("w") as output:
        process = subprocess.Popen(
            [*command, "--port", str(port)],
            stdout=output,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
            env={**os.environ, **environment},
            cwd=folder,
            preexec_fn=_own_session,
        )
    try:
        _wait_for_answer(address, process, log)
        yield address
    finally:
        _end(process)


def _own_session() -> None:
    os.setsid()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_DFL)  # a background shell leaves SIGINT ignored


def _wait_for_answer(address: str, process: "subprocess.Popen[bytes]", log: Path, limit_s: float = 180) -> None:
    deadline = time.monotonic() + limit_s
    while time.monotonic() < deadline and process.poll() is None:
        with suppress(urllib.error.URLError, ConnectionError, TimeoutError):
            urllib.request.urlopen(f"{address}/server_info", timeout=5).close()
            return
        time.sleep(0.3)
    raise TimeoutError(f"no answer from {address} within {limit_s:.0f} s:\n{log.read_text()}")


def _end(process: "subprocess.Popen[bytes]") -> None:
    """SIGTERM to the parent, which ends its children in turn; what is left of the group then is killed."""
    process.terminate()
    with suppress(subprocess.TimeoutExpired):
        process.wait(20)
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
