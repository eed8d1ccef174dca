"""What a run's engines lack is said before anything is done."""

import subprocess
import sys

import pytest

from tests.pipeline.jobs import Job, reelhouse, write_settings

NOWHERE = "/nowhere"
LACKING = {
    "semantic": {
        "engines": ["efficientnet_lite0", "clip_b32", "dinov2_small"],
        "clip_b32": {"source": f"{NOWHERE}/clip"},
        "dinov2_small": {"device": "cuda:31"},
    },
    "aesthetic": {"engines": ["laion_v2"], "laion_v2": {"head": f"{NOWHERE}/head.pth"}},
    "text": {"engines": ["craft"], "craft": {"weights": f"{NOWHERE}/craft.pth"}},
    "captions": {
        "engine": "vllm",
        "vllm": {"model": "Qwen/Qwen3-VL-8B-Instruct", "source": f"{NOWHERE}/qwen", "python": f"{NOWHERE}/python"},
    },
    "rewriting": {"engine": "chat", "chat": {"base_url": "http://127.0.0.1:9/v1", "model": "m", "api_key_env": "NONE"}},
    "alignment": {
        "engines": ["videoclip_xl"],
        "videoclip_xl": {"weights": f"{NOWHERE}/xl.bin", "tokenizer": f"{NOWHERE}/tokenizer"},
    },
    "training_set": {"trainer": {"tokenizer": f"{NOWHERE}/t5"}},
}
NAMED = [
    f"semantic.clip_b32.source: {NOWHERE}/clip holds no config.json; get it by: hf download openai/clip-vit",
    "semantic.dinov2_small.source: facebook/dinov2-small can't be loaded",
    "semantic.dinov2_small.device: cuda:31 can't be used",
    "aesthetic.laion_v2.source: openai/clip-vit-large-patch14 can't be loaded",
    f"aesthetic.laion_v2.head: {NOWHERE}/head.pth: no such file",
    f"text.craft.weights: {NOWHERE}/craft.pth: no such file; get it by: curl -fLO",
    f"captions.vllm.source: {NOWHERE}/qwen holds no config.json; get it by: hf download Qwen/Qwen3-VL-8B-Instruct",
    f"captions.vllm.python: {NOWHERE}/python can't be run",
    f"{NOWHERE}/t5 holds no tokenizer.json",
    "environment variable NONE holds no API key",
    f"alignment.videoclip_xl.weights: {NOWHERE}/xl.bin: no such file",
    f"alignment.videoclip_xl.tokenizer: {NOWHERE}/tokenizer holds no tokenizer.json",
]


def test_a_run_names_all_that_its_assets_lack_and_begins_nothing(new_job: Job, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("HF_HOME", str(new_job.root / "hub"))
    settings = write_settings(new_job.root / "settings.yaml", LACKING)
    refused = reelhouse("run", new_job.films, "--home", new_job.home, "--settings", settings)
    assert refused.returncode == 1
    first, *lines = refused.stderr.splitlines()
    assert first == "reelhouse: nothing was begun, for want of:"
    for line, named in zip(lines, NAMED, strict=True):
        assert line.startswith(named)
    assert not (new_job.home / "tables").exists()

    with new_job.session(LACKING) as session:
        assert session.runs.missing(session.runs.up_to("frames")) == []


def test_embedded_engines_are_known_to_be_there_without_being_loaded(new_job: Job) -> None:
    program = (
        "import sys; from dagster import DagsterInstance\n"
        "from curation_assets.orchestration.headless import HeadlessRun\n"
        "from curation_assets.settings import Cuts, Settings\n"
        "settings = Settings(cuts=Cuts(detector='transnetv2'))\n"
        f"job = HeadlessRun(settings, {str(new_job.home)!r}, DagsterInstance.ephemeral())\n"
        "print(job.missing(job.assets), {'torch', 'transformers', 'onnxruntime'} & sys.modules.keys())"
    )
    said = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert said.stdout == "[] set()\n"
