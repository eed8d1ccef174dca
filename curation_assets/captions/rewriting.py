"""Rewriting captions into training captions with a language model, and refusing what drifts from the caption.

Prompt, JSON key and number of attempts follow EasyAnimate's rewriting stage; the checks are ours.
"""

import hashlib
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from importlib.resources import files
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from resources.chat import Ask, ChatAnswer, ChatClient, ChatRequest, parse_json_answer

KEY = "rewritten description"
PLACEHOLDER = "your caption here"
JSON_SCHEMA = {
    "type": "object",
    "properties": {KEY: {"type": "string"}},
    "required": [KEY],
    "additionalProperties": False,
}


class Encoder(Protocol):
    def encode(self, texts: list[str]) -> NDArray[np.float32]: ...


@dataclass(frozen=True)
class Prompt:
    """Instruction and example turns. With examples the instruction is the system turn, as small models need it."""

    text: str
    instruction: str
    examples: tuple[tuple[str, str], ...]

    @property
    def sha256(self) -> str:
        return hashlib.sha256(self.text.encode()).hexdigest()

    def messages(self, caption: str) -> list[dict[str, Any]]:
        if not self.examples:
            return [{"role": "user", "content": f"{self.instruction}\n{caption}"}]
        messages = [{"role": "system", "content": self.instruction}]
        for given, wanted in self.examples:
            answer = '{"%s": "%s"}' % (KEY, wanted)
            messages += [{"role": "user", "content": given}, {"role": "assistant", "content": answer}]
        return [*messages, {"role": "user", "content": caption}]


def load_prompt(name: str) -> Prompt:
    """`prompts/<name>.txt`: the instruction, then pairs of example caption and answer, parted by lines of ===."""
    text = files(__package__).joinpath("prompts", f"{name}.txt").read_text(encoding="utf-8")
    instruction, *examples = (part.strip() for part in text.split("\n===\n"))
    return Prompt(text, instruction, tuple(zip(examples[::2], examples[1::2], strict=True)))
