"""Text written by a language model: the prompt, and attempts until an answer is accepted."""

import hashlib
import json
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from importlib.resources import files
from typing import Any, Protocol

from curation_assets.engines import identity
from curation_assets.settings import Chat
from resources.chat import Ask, ChatClient, ChatRequest, parse_json_answer
from resources.llama_server import embedded_llm_identity, embedded_llm_server

RETRY_TEMPERATURE = 0.4  # at 0 a second attempt would repeat the first


class WritingSettings(Protocol):
    """A section of the settings that chooses a language model."""

    @property
    def engine(self) -> str: ...
    @property
    def chat(self) -> Chat: ...


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
    def shown_answers(self) -> frozenset[str]:
        """The answers that the prompt itself gives: placeholder and examples."""
        shown = [answer for _, answer in self.examples]
        for text in re.findall(rf'\{{\s*"{re.escape(self.key)}".*?\}}', self.instruction, re.DOTALL):
            with suppress(ValueError):  # only a sketch of an answer
                shown.append(parse_json_answer(text, self.key))
        return frozenset(shown)

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


def load_prompt(package: str, name: str, key: str) -> Prompt:
    """The prompt in `prompts/<name>.txt` of a package."""
    return parse_prompt(files(package).joinpath("prompts", f"{name}.txt").read_text(encoding="utf-8"), key)


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


async def write(
    ask: Ask, writer: Writer, name: str, text: str, check: Callable[[str], None]
) -> tuple[str | None, dict[str, Any]]:
    """Ask until `check` lets an answer pass; returns it, and the row's columns on how it was made (`NOT_WRITTEN`'s).

    Attempt k has a seed made of `name` and k. After `max_attempts` answers that can't be read or that `check`
    refuses by a ValueError there is no text, and the last answer is among the columns.
    """
    made = NOT_WRITTEN | {
        "engine": writer.engine,
        "model": writer.model,
        "revision": writer.revision,
        "prompt_sha256": writer.prompt.sha256,
    }
    messages = writer.prompt.messages(text)
    for attempt in range(writer.max_attempts):
        temperature = writer.temperature if attempt == 0 else max(writer.temperature, RETRY_TEMPERATURE)
        seed = attempt_seed(name, attempt)
        request = ChatRequest(messages, temperature, writer.max_tokens, seed, writer.prompt.json_schema)
        answer = await ask(request)
        made["attempts"] = attempt + 1
        made["finish_reason"] = answer.finish_reason
        made["prompt_tokens"] += answer.prompt_tokens
        made["completion_tokens"] += answer.completion_tokens
        made["seconds"] = round(made["seconds"] + answer.seconds, 3)
        made["last_answer"] = answer.text
        try:
            written = parse_json_answer(answer.text, writer.prompt.key)
            check(written)
        except ValueError:
            continue
        return written, made | {"last_answer": None}
    return None, made


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


def writer_settings(writer: Writer) -> dict[str, Any]:
    """What can change a text, for fingerprints; the embedded model with its versions."""
    values = asdict(writer)
    if writer.engine == "embedded":
        values |= identity(lambda _: embedded_llm_identity()._asdict(), writer.engine)
    return values


def chat_client(chat: Chat, setting: str) -> ChatClient:
    """A client of the settings' server; `setting` is the key that messages tell the user to change."""
    assert chat.base_url is not None  # settings are validated
    assert chat.model is not None
    return ChatClient(
        chat.base_url,
        chat.model,
        api_key_env=chat.api_key_env,
        concurrency=chat.concurrency,
        request_timeout_s=chat.request_timeout_s,
        setting=setting,
    )


@contextmanager
def language_model(section: WritingSettings, name: str) -> Iterator[tuple[ChatClient, str]]:
    """The client of the section's engine and the model's revision; an embedded engine runs as long as the context.

    `name` is the section's, for messages. Raises EngineUnavailable.
    """
    if section.engine == "chat":
        yield chat_client(section.chat, f"{name}.chat.base_url"), section.chat.revision
        return
    known = embedded_llm_identity()
    with embedded_llm_server() as base_url:
        yield ChatClient(base_url, known.model, concurrency=1, setting=f"{name}.engine"), known.revision
