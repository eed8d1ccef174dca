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
import yaml
from tokenizers import Tokenizer

from curation_assets.captions.captioning import caption_prompt
from curation_assets.cli import main
from resources.process_group import members
from tests.faults.small_job import CLIPS, SETTINGS, put_films
from tests.images import plain_png
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
    return changed(
        SETTINGS,
        captions=served(models / "tiny-qwen2.5-vl", max_tokens=100, concurrency=2),
        rewriting={**served(models / "tiny-llama"), "min_similarity": -1.0, "max_new_words": 1.0},
    )


def served(model: Path, **sampling: Any) -> dict[str, Any]:
    vllm = {
        "model": f"test/{model.name}",
        "source": str(model),
        "python": str(PYTHON),
        "dtype": "float32",
        "max_model_len": 4096,
        "gpu_memory_utilization": 0.1,
        "arguments": ["--enforce-eager"],
    }
    return {"engine": "vllm", "vllm": vllm, "chat": {"extra_body": {"logit_bias": letters(model)}, **sampling}}


def letters(model: Path, full_stops: int = 0) -> dict[str, int]:
    """A bias of the sampling to letters, to the quote that ends a string of JSON, and maybe to full stops."""
    vocabulary = json.loads((model / "tokenizer.json").read_text())["model"]["vocab"]
    biases = {**dict.fromkeys('abcdefghijklmnopqrstuvwxyz"', 50), ".": full_stops}
    return {str(vocabulary[token]): bias for token, bias in biases.items()}


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


@pytest.mark.parametrize("send", ["frames", "video"])
def test_a_frame_has_one_tile_and_an_image_beside_videos_all_of_its_own(films: Job, models: Path, send: str) -> None:
    """By the tokens of prompts: a tile has four. An image of 4 : 3 has twelve tiles, and one of the whole."""
    plain_png(films.films / "image.png")
    model = models / "tiny-internvl3-hf"
    captions = {**served(model, max_tokens=10), "send": send}
    with films.session(changed(SETTINGS, captions=captions)) as session:
        assert session.register()
        assert session.refresh(session.runs.assets[: session.runs.assets.index("captions") + 1])
    tokens = {False: set(), True: set()}
    for row in films.table("captions").to_dicts():
        assert (row["error"], row["completion_tokens"]) == (None, 10)
        tokens[row["clip_id"].endswith("-00000000-00000000")].add(row["prompt_tokens"])

    def tiles(count: int) -> str:
        return f"<img>{'<IMG_CONTEXT>' * 4 * count}</img>"

    count = Tokenizer.from_file(str(model / "tokenizer.json")).encode
    frames = {"frames": "", "video": "\n"}[send].join(f"Frame{n}: {tiles(1)}" for n in range(1, 9))
    image = {"frames": tiles(1), "video": tiles(12 + 1)}[send]
    shown = {False: frames + caption_prompt(None), True: image + caption_prompt(None, "caption_image")}
    for is_image, text in shown.items():
        turn = f"<|im_start|>user\n{text}<|im_end|>\n<|im_start|>assistant\n"
        assert tokens[is_image] == {len(count(turn).ids)}


def test_a_video_of_qwens_is_captioned_as_one_part(films: Job, settings: dict[str, Any]) -> None:
    with films.session(changed(settings, captions__send="video")) as session:
        assert session.register()
        assert session.refresh(session.runs.assets[: session.runs.assets.index("captions") + 1])
    captions = films.table("captions")
    assert captions.height == CLIPS
    assert captions["error"].null_count() == CLIPS
    assert captions["completion_tokens"].to_list() == [100] * CLIPS


def test_prompts_are_beautified(tmp_path: Path, models: Path, films: Job, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("CURATION_HOME", "CURATION_SETTINGS", "DAGSTER_HOME"):
        monkeypatch.setenv(name, "")  # so that what the command sets is undone
        monkeypatch.delenv(name)
    model = models / "tiny-llama"
    beautifying = changed(served(model), chat__extra_body__logit_bias=letters(model, full_stops=53))
    (tmp_path / "settings.yaml").write_text(yaml.safe_dump({"beautifying": beautifying}))
    (tmp_path / "prompts.jsonl").write_text('{"prompt": "a cat"}\n{"prompt": "two dogs"}\n{"prompt": "a cat"}\n')
    options = ["--home", str(films.home), "--settings", str(tmp_path / "settings.yaml")]
    assert main(["beautify", str(tmp_path / "prompts.jsonl"), *options]) == 0
    rows = films.table("beautified_prompts").sort("position").to_dicts()
    assert [row["prompt"] for row in rows] == ["a cat", "two dogs", "a cat"]
    for row in rows:
        assert (row["engine"], row["model"], row["status"], row["finish_reason"]) == (
            "vllm",
            "test/tiny-llama",
            "ok",
            "stop",
        )
