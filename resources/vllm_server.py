"""vLLM's OpenAI-compatible server, started for a step and gone after it."""

import json
import os
import re
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from resources import process_group
from resources.errors import EngineUnavailable
from resources.spent import spent
from resources.text import one_line

PINNED = "vllm==0.32.0"
SERVER = "vllm.entrypoints.openai.api_server"  # `vllm serve` is missing from the builds for a CPU
# No `import vllm`: it takes half a minute, and what it says is in the server's log as well.
PROBE = "import importlib.util, torch; print(torch.cuda.device_count() if importlib.util.find_spec('vllm') else 'none')"
PROBE_TIMEOUT_S = 300.0
SAY_EVERY_S = 15.0
STOP_GRACE_S = 20.0  # the engine waits five seconds for its workers
LOG_LINES = 4
LINE_CHARACTERS = 300
_LOG_PREFIX = re.compile(r"^(\([\w-]+ pid=\d+\) )?([A-Z]+ \d\d-\d\d [\d:]+ \[[^\]]*\] )?")
_RAISED = re.compile(r"^(\w+\.)*\w*(Error|Exception)\b")

Say = Callable[[str], None]


@dataclass(frozen=True)
class VllmServer:
    """A model and how vLLM is to serve it.

    `source` is a local folder or a hub id, and `name` what the API calls it. `setting` is the section of the settings
    that messages name. `python` is the interpreter of an environment that has vLLM. `gpus` is over how many the model
    is split; 0: all that are visible. `images` and `videos` are how many a prompt may hold. How weights are quantised
    vLLM finds in the checkpoint's config.
    """

    source: str
    name: str
    setting: str
    revision: str | None = None
    python: str = sys.executable
    gpus: int = 0
    dtype: str = "auto"
    max_model_len: int = 8192
    gpu_memory_utilization: float = 0.9
    images: int = 0
    videos: int = 0
    arguments: tuple[str, ...] = ()
    start_timeout_s: float = 1800.0

    def command(self, port: int, gpus: int) -> list[str]:
        """The command line; `gpus` is over how many the model is split, 0 on a CPU."""
        command = [self.python, "-m", SERVER, "--host=127.0.0.1", f"--port={port}", "--disable-uvicorn-access-log"]
        command += [f"--model={self.source}", f"--served-model-name={self.name}"]
        if self.revision:
            command += [f"--revision={self.revision}", f"--tokenizer-revision={self.revision}"]
        if gpus > 1:
            command += [f"--tensor-parallel-size={gpus}"]
        if not gpus:  # where prompts are cut into chunks, 0.32 dies on a CPU of a request with a seed
            command += ["--no-enable-chunked-prefill"]
        command += [f"--dtype={self.dtype}", f"--max-model-len={self.max_model_len}"]
        command += [f"--gpu-memory-utilization={self.gpu_memory_utilization}"]
        command += ["--limit-mm-per-prompt=" + json.dumps({"image": self.images, "video": self.videos})]
        return [*command, *self.arguments]


@contextmanager
def vllm_server(vllm: VllmServer, say: Say) -> Iterator[str]:
    """Serve the model on a free loopback port; yields the base URL of the API once the server is healthy.

    Server, engine and workers end with the context, when the server ends by itself, and when this process dies in
    whatever way. `say` is told how the start gets on, and the server's last words where it didn't last.
    Raises EngineUnavailable when it doesn't start.
    """
    gpus = vllm.gpus or _visible_gpus(vllm)
    port = _free_port()
    environment = {"VLLM_NO_USAGE_STATS": "1", "PYTHONUNBUFFERED": "1", **os.environ}
    environment.pop("VLLM_API_KEY", None)  # it would ask this process for it
    with tempfile.TemporaryDirectory(prefix="vllm-") as folder, (Path(folder) / "log").open("w+b") as log:
        watcher = process_group.start(
            vllm.command(port, gpus), STOP_GRACE_S, stdout=log, stderr=subprocess.STDOUT, env=environment
        )
        try:
            _wait_until_healthy(vllm, port, watcher, Path(log.name), say)
            yield f"http://127.0.0.1:{port}/v1"
        finally:
            process_group.stop(watcher, STOP_GRACE_S)
        words = _last_words(Path(log.name))
        if process_group.ENDED in words:
            say(f"{vllm.setting}: vLLM's server of {vllm.name} ended in mid-step; {words}")


def require_vllm(vllm: VllmServer) -> None:
    """Raises EngineUnavailable where the environment has no vLLM, or sees fewer GPUs than the model is split over."""
    visible = _visible_gpus(vllm)
    if vllm.gpus > visible:
        raise EngineUnavailable(
            f"{vllm.setting}.gpus: {vllm.gpus} can't be used; the torch of {vllm.python} sees {visible}: use as many, "
            "or 0 for all it sees"
        )


def _visible_gpus(vllm: VllmServer) -> int:
    """How many GPUs the torch of vLLM's environment sees; CUDA_VISIBLE_DEVICES is respected."""
    try:
        probe = subprocess.run(
            [vllm.python, "-c", PROBE], capture_output=True, text=True, timeout=PROBE_TIMEOUT_S, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as failure:
        raise EngineUnavailable(f"{vllm.setting}.python: {vllm.python} can't be run: {failure}") from None
    if not probe.stdout.strip().isdigit():
        said = one_line(probe.stderr.strip().rpartition("\n")[2], LINE_CHARACTERS)
        raise EngineUnavailable(
            f"{vllm.setting}.python: the environment of {vllm.python} can't run vLLM ({said or 'not installed'}); "
            f"get it by: python3 -m venv .venv-gpu && .venv-gpu/bin/pip install {PINNED}, "
            f"then {vllm.setting}.python: .venv-gpu/bin/python"
        )
    return int(probe.stdout)


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


@spent("starting")
def _wait_until_healthy(vllm: VllmServer, port: int, watcher: "subprocess.Popen[bytes]", log: Path, say: Say) -> None:
    started = said = time.monotonic()
    while not _is_healthy(port):
        now = time.monotonic()
        if watcher.poll() is not None:
            raise EngineUnavailable(
                f"{vllm.setting}: vLLM could not serve {vllm.source}; {_last_words(log)}; "
                f"change {vllm.setting}, or {vllm.setting}.arguments where vLLM wants another option"
            )
        if now - started > vllm.start_timeout_s:
            raise EngineUnavailable(
                f"{vllm.setting}: vLLM did not serve {vllm.source} within {vllm.start_timeout_s:g} s; "
                f"raise {vllm.setting}.start_timeout_s; {_last_words(log)}"
            )
        if now - said > SAY_EVERY_S:
            said = now
            last = _lines(log)[-1:]
            say(f"{vllm.setting}: vLLM is starting {vllm.name}, {now - started:.0f} s: {''.join(last)}")
        time.sleep(0.5)
    say(f"{vllm.setting}: vLLM serves {vllm.name} after {time.monotonic() - started:.0f} s")


def _is_healthy(port: int) -> bool:
    direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with direct.open(f"http://127.0.0.1:{port}/health", timeout=5) as answer:
            return bool(answer.status == 200)
    except OSError:  # not listening yet, or not ready
        return False


def _last_words(log: Path) -> str:
    """The log's first error, which is the cause of those after it, else its last lines; and how the server ended."""
    lines = _lines(log)
    cause = [line for line in lines if _RAISED.match(line)][:1]
    ended = [line for line in lines if line.startswith(process_group.ENDED)]
    last = cause or [line for line in lines if line not in ended][-LOG_LINES:]
    return "its log says: " + " | ".join([*last, *ended]) if lines else "it said nothing"


def _lines(log: Path) -> list[str]:
    """The log's lines, without what each begins with: process, time and place."""
    lines = (_LOG_PREFIX.sub("", line).strip() for line in log.read_text(errors="replace").splitlines())
    return [one_line(line, LINE_CHARACTERS) for line in lines if line]
