"""A stand-in for an interpreter whose environment has vLLM: the same command line, start and /health, and no model.

It shows how a server is started, watched and ended, and what it is told. It knows none of vLLM's options by meaning,
answers no chat, and is no evidence of how long vLLM takes to start or to end. `--stand-in=` says how it behaves:
`well` (with a child of its own, which outlives its parent), `crash`, or `slow` (never healthy).
"""

import json
import os
import subprocess
import sys
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

GPUS = "STAND_IN_GPUS"
CRASH = """INFO 11-23 02:29:00 [model.py:1] Resolving the architecture
(VllmWorker-0 pid=7) ERROR 11-23 02:29:04 [multiproc_executor.py:953]     raise ValueError(
(VllmWorker-0 pid=7) ERROR 11-23 02:29:04 [multiproc_executor.py:953] ValueError: Available memory is too small
(EngineCore pid=5) ERROR 11-23 02:29:07 [core.py:1510] Exception: WorkerProc initialization failed
RuntimeError: Engine core initialization failed. See root cause above."""


def stand_in_python(folder: Path) -> str:
    """The path of an executable that stands for that interpreter."""
    python = folder / "python"
    python.write_text(f"#!{sys.executable}\n" + Path(__file__).read_text(encoding="utf-8"), encoding="utf-8")
    python.chmod(0o755)
    return str(python)


class _Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        """/health, and at any other path the command line."""
        body = b"" if self.path == "/health" else json.dumps(sys.argv[1:]).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


def _serve(behaviour: str, port: int) -> None:
    if behaviour == "crash":
        sys.exit(CRASH)
    if behaviour == "slow":
        print("Loading weights", flush=True)
    subprocess.Popen(["sleep", "600"])
    server = HTTPServer(("127.0.0.1", port if behaviour == "well" else 0), _Handler)
    server.serve_forever()


if __name__ == "__main__":
    if sys.argv[1] == "-c":
        print(os.environ.get(GPUS, "0"))
    else:
        options = dict(argument.removeprefix("--").partition("=")[::2] for argument in sys.argv[3:])
        _serve(options.get("stand-in", "well"), int(options["port"]))
