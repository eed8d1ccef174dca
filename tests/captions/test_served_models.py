"""Engine `vllm`: the settings become a server and a client, and rows name the weights wherever they lie."""

import shutil
from pathlib import Path
from typing import Any

import pytest

from curation_assets.definitions import build_definitions
from curation_assets.language_models import language_model, served_by
from curation_assets.settings import Captions, parse_settings
from resources.errors import EngineUnavailable
from tests.stand_in_vllm import stand_in_python

MODEL = "Qwen/Qwen2.5-VL-7B-Instruct"


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    folder = tmp_path / "weights"
    folder.mkdir()
    (folder / "config.json").write_text('{"model_type": "qwen2_5_vl"}')
    (folder / "model.safetensors").write_bytes(bytes(10_000))
    return folder


def section(source: Path, **vllm: Any) -> dict[str, Any]:
    return {"engine": "vllm", "vllm": {"model": MODEL, "source": str(source), **vllm}}


def code_versions(captions: dict[str, Any]) -> dict[str, str | None]:
    """Of every asset, what its rows are made by."""
    settings = parse_settings({"captions": captions}, "x.yaml")
    return {
        spec.key.to_user_string(): spec.code_version
        for spec in build_definitions(settings, "unused").resolve_all_asset_specs()
    }


def test_the_server_is_told_what_the_section_sends_and_the_client_what_rows_hold(weights: Path, tmp_path: Path) -> None:
    served = section(weights, python=stand_in_python(tmp_path), arguments=["--stand-in=well"])
    said: list[str] = []
    with language_model(Captions(**served, frame_count=4), "captions", said.append, images=4) as (client, revision):
        assert client.model == MODEL
        assert client.extra_body == {"repetition_penalty": 1.05}
        assert client.base_url.startswith("http://127.0.0.1:")
        assert len(revision) == 8
    assert len(said) == 1


def test_images_get_all_their_tiles_where_no_video_comes_as_pictures() -> None:
    vllm = {"model": "OpenGVLab/InternVL3-8B", "arguments": ["--seed=1"]}
    as_pictures = served_by(Captions(engine="vllm", vllm=vllm))["vllm"]["arguments"]
    assert as_pictures == ('--hf-overrides={"max_dynamic_patch": 1}', "--seed=1")
    assert served_by(Captions(engine="vllm", vllm=vllm, send="video"))["vllm"]["arguments"] == ("--seed=1",)


def test_rows_are_made_by_the_weights_not_by_the_folder_or_the_machine(weights: Path, tmp_path: Path) -> None:
    made_by = code_versions(section(weights))
    moved = shutil.copytree(weights, tmp_path / "elsewhere")
    assert code_versions(section(moved, gpus=2, gpu_memory_utilization=0.5, python="/other")) == made_by

    for changed in ({"dtype": "float16"}, {"revision": "v2"}, {"max_model_len": 100}, {"arguments": ["--seed=1"]}):
        differ = {
            asset for asset, version in code_versions(section(weights, **changed)).items() if version != made_by[asset]
        }
        assert differ == {"captions"}
    (moved / "model.safetensors").write_bytes(bytes(9_999) + b"1")
    assert code_versions(section(moved))["captions"] != made_by["captions"]


def test_settings_of_an_engine_that_is_off_make_nothing_again(weights: Path) -> None:
    facts = code_versions({})
    assert code_versions({"vllm": {"model": MODEL, "source": str(weights)}}) == facts
    chat = {"engine": "chat", "chat": {"base_url": "http://x/v1", "model": "m"}}
    assert code_versions({**chat, "vllm": {"model": MODEL}}) == code_versions(chat)


def test_missing_weights_are_one_error_with_the_command_that_gets_them(tmp_path: Path) -> None:
    nowhere = tmp_path / "nowhere"
    assert code_versions(section(nowhere))["captions"]
    remedy = f"captions.vllm.source: .* holds no config.json; get it by: hf download {MODEL} --local-dir {nowhere}"
    with (
        pytest.raises(EngineUnavailable, match=remedy),
        language_model(Captions(**section(nowhere, python="/no/python")), "captions"),
    ):
        pass
