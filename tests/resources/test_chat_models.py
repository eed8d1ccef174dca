"""What is added to requests by the name of the model."""

from typing import Any

import pytest

from resources.chat_models import request_fields, server_arguments

NO_THOUGHTS = {"chat_template_kwargs": {"enable_thinking": False}, "top_p": 0.8, "top_k": 20}


@pytest.mark.parametrize("model", ["OpenGVLab/InternVL2-40B-AWQ", "internvl2_5-8b", "/models/InternVL2_5-78B"])
def test_internvl_2_stops_at_its_end_markers(model: str) -> None:
    fields = request_fields(model, {})
    assert fields["stop"] == ["<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|end|>"]
    assert fields["skip_special_tokens"] is False  # a server that skips the markers doesn't stop at them


@pytest.mark.parametrize(
    ("model", "fields"),
    [
        ("OpenGVLab/InternVL3-8B", {}),
        ("Qwen/Qwen2.5-VL-7B-Instruct-AWQ", {"repetition_penalty": 1.05}),
        ("Qwen/Qwen3-VL-8B-Instruct", NO_THOUGHTS),
        ("Qwen/Qwen3-32B", NO_THOUGHTS),
        ("Qwen/Qwen2.5-7B-Instruct", {}),
        ("stand-in", {}),
        ("", {}),
    ],
)
def test_a_family_is_known_by_the_models_name(model: str, fields: dict[str, Any]) -> None:
    assert request_fields(model, {}) == fields


@pytest.mark.parametrize("model", ["meta-llama/Llama-3.1-70B-Instruct", "NousResearch/Meta-Llama-3-8B-Instruct"])
def test_llama_3_stops_at_both_end_markers(model: str) -> None:
    assert request_fields(model, {}) == {
        "stop": ["<|end_of_text|>", "<|eot_id|>"],
        "skip_special_tokens": False,
        "top_p": 1.0,
    }


def test_own_fields_outrank_the_familys_and_null_takes_one_out() -> None:
    own = {"top_p": 0.5, "top_k": None, "min_p": 0.1, "other": None}
    assert request_fields("Qwen3-8B", own) == {
        "chat_template_kwargs": {"enable_thinking": False},
        "top_p": 0.5,
        "min_p": 0.1,
    }


@pytest.mark.parametrize("model", ["OpenGVLab/InternVL2-40B-AWQ", "OpenGVLab/InternVL2_5-8B", "OpenGVLab/InternVL3-8B"])
def test_a_server_of_ours_gives_internvl_a_tile_a_picture(model: str) -> None:
    assert server_arguments(model) == ('--hf-overrides={"max_dynamic_patch": 1}',)
    assert server_arguments(f"{model}-hf") == ('--mm-processor-kwargs={"max_patches": 1}',)
    assert server_arguments("Qwen/Qwen3-VL-8B-Instruct") == ()
