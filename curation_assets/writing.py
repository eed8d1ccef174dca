"""Text written by a language model: the prompt, and attempts until an answer is accepted."""

import asyncio
import hashlib
import json
import re
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from importlib.resources import files
from typing import Any

from curation_assets.settings import SettingsError
from resources.chat import Ask, ChatRequest, parse_json_answer

RETRY_TEMPERATURE = 0.4  # at 0 a second attempt would repeat the first


@dataclass(frozen=True)
class Prompt:
    """Instruction and example turns; the answer is a JSON object with the single key `key`.

    With examples the instruction is the system turn, as small models need it.
    """

    text: str
    instruction: str
    examples: tuple[tuple[str, str], ...]
    key: str

    @property
    def sha256(self) -> str:
        return hashlib.sha256(self.text.encode()).hexdigest()

    @property
    def json_schema(self) -> dict[str, Any]:
        return {
            "type": "object",
            "properties": {self.key: {"type": "string"}},
            "required": [self.key],
            "additionalProperties": False,
        }

    @property
    def placeholders(self) -> frozenset[str]:
        """The answers that the instruction shows."""
        shown = set()
        for text in re.findall(rf'\{{\s*"{re.escape(self.key)}".*?\}}', self.instruction, re.DOTALL):
            with suppress(ValueError):  # only a sketch of an answer
                shown.add(parse_json_answer(text, self.key))
        return frozenset(shown)

    @property
    def shown_answers(self) -> frozenset[str]:
        """The answers that the prompt itself gives: placeholders and examples."""
        return self.placeholders | {answer for _, answer in self.examples}

    def messages(self, text: str) -> list[dict[str, Any]]:
        if not self.examples:
            return [{"role": "user", "content": f"{self.instruction}\n{text}"}]
        messages = [{"role": "system", "content": self.instruction}]
        for given, wanted in self.examples:
            answer = json.dumps({self.key: wanted}, ensure_ascii=False)
            messages += [{"role": "user", "content": given}, {"role": "assistant", "content": answer}]
        return [*messages, {"role": "user", "content": text}]


def parse_prompt(text: str, key: str) -> Prompt:
    """The instruction, then pairs of example text and answer, parted by lines of ===.

    Raises ValueError when an example has no answer.
    """
    instruction, *examples = (part.strip() for part in text.split("\n===\n"))
    if len(examples) % 2:
        raise ValueError("the last example has no answer; after it goes a line === and the answer")
    return Prompt(text, instruction, tuple(zip(examples[::2], examples[1::2], strict=True)), key)


def packaged_prompt(package: str, name: str) -> str:
    """The text of `prompts/<name>.txt` of a package."""
    return files(package).joinpath("prompts", f"{name}.txt").read_text(encoding="utf-8")


def prompt_of(own: str | None, setting: str, package: str, name: str, key: str) -> Prompt:
    """The settings' own prompt, or the packaged one. Raises SettingsError naming the setting."""
    text = packaged_prompt(package, name) if own is None else own
    try:
        return parse_prompt(text, key)
    except ValueError as problem:
        raise SettingsError(f"{setting}: {problem}") from None


@dataclass(frozen=True)
class Writer:
    """A language model, what it is asked, and how often."""

    engine: str
    model: str
    revision: str
    prompt: Prompt
    temperature: float
    max_tokens: int
    max_attempts: int


NOT_WRITTEN: dict[str, Any] = {
    "last_answer": None,
    "engine": None,
    "model": None,
    "revision": None,
    "prompt_sha256": None,
    "attempts": 0,
    "finish_reason": None,
    "prompt_tokens": 0,
    "completion_tokens": 0,
    "seconds": 0.0,
}


class TooLong(ValueError):
    """An answer that is right but for its length; the message asks for a shorter one."""

    def __init__(self, max_tokens: int) -> None:
        super().__init__(
            f"That is too long. Give the same answer in the same form in at most {words_within(max_tokens)} words."
        )


def words_within(tokens: int) -> int:
    """Words that have about so many tokens: English has 1.3 a word, and models count badly."""
    return int(tokens / 1.5)


async def write(
    ask: Ask, writer: Writer, name: str, text: str, check: Callable[[str], None]
) -> tuple[str | None, dict[str, Any]]:
    """Ask until `check` lets an answer pass; returns it, and the row's columns on how it was made (`NOT_WRITTEN`'s).

    Attempt k has a seed made of `name` and k. After `max_attempts` answers that can't be read or that `check`
    refuses by a ValueError there is no text, and the last answer is among the columns. One that is only `TooLong` is
    answered by asking for a shorter one, and stands where none came.
    """
    made = NOT_WRITTEN | {
        "engine": writer.engine,
        "model": writer.model,
        "revision": writer.revision,
        "prompt_sha256": writer.prompt.sha256,
    }
    messages = turns = writer.prompt.messages(text)
    long: str | None = None
    for attempt in range(writer.max_attempts):
        temperature = writer.temperature if attempt == 0 else max(writer.temperature, RETRY_TEMPERATURE)
        seed = attempt_seed(name, attempt)
        request = ChatRequest(turns, temperature, writer.max_tokens, seed, writer.prompt.json_schema)
        answer = await ask(request)
        made["attempts"] = attempt + 1
        made["finish_reason"] = answer.finish_reason
        made["prompt_tokens"] += answer.prompt_tokens
        made["completion_tokens"] += answer.completion_tokens
        made["seconds"] = round(made["seconds"] + answer.seconds, 3)
        made["last_answer"] = answer.text
        try:
            written = parse_json_answer(answer.text, writer.prompt.key)
            await asyncio.to_thread(check, written)  # other answers are taken meanwhile
        except TooLong as reason:
            long = written
            turns = [*messages, *again(answer.text, str(reason))]
        except ValueError:
            turns = messages
        else:
            return written, made | {"last_answer": None}
    return (None, made) if long is None else (long, made | {"last_answer": None})


def again(answer: str, remark: str) -> list[dict[str, Any]]:
    """The turns that ask for another answer."""
    return [{"role": "assistant", "content": answer}, {"role": "user", "content": remark}]


def attempt_seed(name: str, attempt: int) -> int:
    """A 31-bit seed that is the same in every run."""
    return int.from_bytes(hashlib.sha256(f"{name}/{attempt}".encode()).digest()[:4]) >> 1


def explained(outcome: dict[str, Any] | Exception, why: str) -> list[dict[str, Any]] | Exception:
    """A row whose status is failed is a failure that keeps what it holds."""
    if isinstance(outcome, Exception):
        return outcome
    if outcome["status"] == "failed":
        outcome = {**outcome, "error": why, "error_kind": "input"}
    return [outcome]
