"""What families of chat models need of a request or a server that their users shouldn't have to know."""

import re
from collections.abc import Mapping
from typing import Any, TypeVar

Needs = TypeVar("Needs")

REQUEST_FIELDS: Mapping[str, Mapping[str, Any]] = {
    # EasyAnimate's end markers: some checkpoints name none. They stop nothing where they are skipped.
    r"internvl[-_]?2": {
        "stop": ["<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|end|>"],
        "skip_special_tokens": False,
    },
    r"qwen2[._]5[-_]vl": {"repetition_penalty": 1.05},  # its generation_config.json
    r"qwen3": {"chat_template_kwargs": {"enable_thinking": False}, "top_p": 0.8, "top_k": 20},  # its model card
    # The first Llama 3 checkpoints name one of two end markers. EasyAnimate samples from the whole distribution.
    r"llama[-_]?3": {"stop": ["<|end_of_text|>", "<|eot_id|>"], "skip_special_tokens": False, "top_p": 1.0},
}
"""Pattern in a model's name -> fields of the request's body. The first that is found counts."""

SERVER_ARGUMENTS: Mapping[str, tuple[str, ...]] = {
    # One tile a picture, as EasyAnimate; of up to 12, eight frames overrun its context of 8192 tokens. In a request
    # (mm_processor_kwargs) vLLM 0.32 takes it only if told to trust those, and fails at it for checkpoints with a Qwen.
    r"internvl.*-hf$": ('--mm-processor-kwargs={"max_patches": 1}',),
    r"internvl": ('--hf-overrides={"max_dynamic_patch": 1}',),
}
"""Pattern in a model's name -> arguments of a vLLM server that is sent a video's frames as pictures."""


def request_fields(model: str, own: Mapping[str, Any]) -> dict[str, Any]:
    """Fields of the family that `model` belongs to, with `own` above them; one that is None there is left out."""
    fields = {**_needs(REQUEST_FIELDS, model, {}), **own}
    return {name: value for name, value in fields.items() if value is not None}


def server_arguments(model: str) -> tuple[str, ...]:
    return _needs(SERVER_ARGUMENTS, model, ())


def _needs(families: Mapping[str, Needs], model: str, none: Needs) -> Needs:
    return next((needs for name, needs in families.items() if re.search(name, model, re.IGNORECASE)), none)
