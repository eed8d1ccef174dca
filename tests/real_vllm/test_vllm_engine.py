"""A job whose captions and rewritten captions come from vLLM itself, serving random checkpoints on the CPU.

Run by `make test-vllm`, which makes the environment that has vLLM; `make test` leaves this folder out. Nobody can say
whether a random model's words are right, so figures of drift are off and its letters are all that is asked of it.
"""

import json
import os
import re
import signal
import subprocess
import threading
import urllib.request
from pathlib import Path
from typing import Any

import pytest

from resources.process_group import members
from tests.faults.small_job import CLIPS, SETTINGS, put_films
from tests.pipeline.jobs import Counts, Job, changed
from tests.processes import command, groups_of, wait_until

ROOT = Path(__file__).parents[2]
PYTHON = ROOT / ".venv-vllm" / "bin" / "python"
SERVED_BEFORE_THE_KILL = 2
LIMIT_S = 600.0


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models")
    subprocess.run([PYTHON, Path(__file__).with_name("tiny_models.py"), folder], check=True)
    return folder


@pytest.fixture
def settings(models: Path) -> dict[str, Any]:
    def served(name: str, **sampling: Any) -> dict[str, Any]:
        folder = models / name
        vllm = {
            "model": f"test/{name}",
            "source": str(folder),
            "python": str(PYTHON),
            "dtype": "float32",
            "max_model_len": 2048,
            "gpu_memory_utilization": 0.1,
            "arguments": ["--enforce-eager"],
        }
        return {"engine": "vllm", "vllm": vllm, "chat": {"extra_body": {"logit_bias": letters(folder)}, **sampling}}

    return changed(
        SETTINGS,
        captions=served("tiny-qwen2.5-vl", max_tokens=100, concurrency=2),
        rewriting={**served("tiny-llama"), "min_similarity": -1.0, "max_new_words": 1.0},
    )


def letters(model: Path) -> dict[str, int]:
    """A bias of the sampling to letters, and to the quote that ends a string of JSON."""
    vocabulary = json.loads((model / "tokenizer.json").read_text())["model"]["vocab"]
    return {str(number): 50 for token, number in vocabulary.items() if re.fullmatch('[a-z]|"', token)}


@pytest.fixture
def films(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Job:
    monkeypatch.setenv("VLLM_CPU_OMP_THREADS_BIND", "nobind")
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    job = Job(tmp_path)
    put_films(job.films)
    return job


class KillInMidStep(threading.Thread):
    """Kills the first server that this process starts once it has answered some requests."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.group = 0

    def run(self) -> None:
        wait_until(lambda: bool(groups_of(os.getpid())), "a server is started", LIMIT_S)
        [self.group] = groups_of(os.getpid())
        wait_until(lambda: self._served() >= SERVED_BEFORE_THE_KILL, "it has answered", LIMIT_S)
        os.kill(self._api_server(), signal.SIGKILL)

    def _api_server(self) -> int:
        return next(n for n in members(self.group) if n != self.group and "api_server" in command(n))

    def _served(self) -> float:
        """How many requests the server has finished; 0 while it doesn't listen."""
        port = re.search(r"--port=(\d+)", command(self.group))
        assert port
        direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        try:
            with direct.open(f"http://127.0.0.1:{port[1]}/metrics", timeout=5) as answer:
                text = answer.read().decode()
        except OSError:
            return 0
        return sum(float(n) for n in re.findall(r"^vllm:request_success_total\{.*\} (\S+)$", text, re.MULTILINE))


def test_a_server_killed_in_mid_step_costs_what_it_had_not_answered(
    films: Job, settings: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", logger="reelhouse")
    killer = KillInMidStep()
    with films.session(settings) as session:
        assert session.register()
        upstream = session.runs.assets[: session.runs.assets.index("captions")]
        assert session.refresh(upstream)
        killer.start()
        session.refresh(["captions"])
        interrupted = session.counts()["captions"]
        assert killer.group
        assert not members(killer.group)
        assert "vLLM's server of test/tiny-qwen2.5-vl ended in mid-step" in caplog.text

        failed = films.table("captions").filter(error_kind="transient")
        assert SERVED_BEFORE_THE_KILL <= interrupted.computed < CLIPS
        assert interrupted.failed == failed.height == CLIPS - interrupted.computed
        assert all("refresh again: captions starts its server anew" in error for error in failed["error"])

        assert session.refresh(["captions", "rewritten_captions"])
        counts = session.counts()
    assert counts["captions"] == Counts(CLIPS, interrupted.failed, interrupted.computed, 0, 0)
    assert counts["rewritten_captions"] == Counts(CLIPS, CLIPS, 0, 0, 0)
    assert not groups_of(os.getpid())

    captions, rewritten = films.table("captions"), films.table("rewritten_captions")
    assert set(captions["engine"]) == set(rewritten["engine"]) == {"vllm"}
    assert set(captions["model"]) == {"test/tiny-qwen2.5-vl"}
    assert captions["revision"].str.contains("^[0-9a-f]{8}$").all()
    assert captions["revision"][0] != rewritten["revision"][0]
    assert captions["completion_tokens"].to_list() == [100] * CLIPS
    assert set(rewritten["finish_reason"]) == {"stop"}
