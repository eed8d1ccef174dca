"""Beautifying: a short prompt becomes a detailed one, in the style of the captions a model was trained on.

JSON key, limit of words and number of attempts follow EasyAnimate's prompt beautification; the checks are ours.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from curation_assets.language import NOT_WRITTEN, Prompt, Writer, parse_prompt, prompt_of, write
from curation_assets.settings import Beautifying
from resources.chat import Ask, ChatClient

KEY = "detailed description"
# A 135M model that hasn't ended by then goes round in circles.
EMBEDDED_MAX_TOKENS = 160


@dataclass(frozen=True)
class Beautifier(Writer):
    """A writer, and how many words its answers may have."""

    max_words: int


def beautifier_of(settings: Beautifying, model: str, revision: str) -> Beautifier:
    """The beautifier that the settings ask for; `model` and `revision` as the engine names them."""
    embedded = settings.engine == "embedded"
    return Beautifier(
        engine=settings.engine,
        model=model,
        revision=revision,
        prompt=_template(settings),
        temperature=settings.chat.temperature,
        max_tokens=EMBEDDED_MAX_TOKENS if embedded else settings.chat.max_tokens,
        max_attempts=settings.max_attempts,
        max_words=settings.max_words,
    )


def _template(settings: Beautifying) -> Prompt:
    """The settings' template or the packaged one; `{max_words}` in it stands for the limit."""
    name = "beautify_small" if settings.engine == "embedded" else "beautify"
    template = prompt_of(settings.template, "beautifying.template", __package__, name, KEY)
    return parse_prompt(template.text.replace("{max_words}", str(settings.max_words)), KEY)


def beautify_prompts(
    units: Iterable[Mapping[str, Any]], client: ChatClient, beautifier: Beautifier
) -> Iterator[tuple[str, dict[str, Any] | Exception]]:
    """Beautify `prompt` of each unit; yield (prompt_sha256, columns of `beautified_prompts` or what went wrong).

    They come as they end. Answers that can't be read or that `check_beautified` refuses are asked for again, attempt
    k with a seed made of the prompt's hash and k; after `max_attempts` the status is failed and the last answer kept.
    """

    async def beautify(ask: Ask, unit: Mapping[str, Any]) -> dict[str, Any]:
        return await _beautify(ask, unit["prompt_sha256"], unit["prompt"], beautifier)

    for unit, result in client.map(beautify, units):
        yield unit["prompt_sha256"], result


def unchanged(prompt: str) -> dict[str, Any]:
    """The columns of a prompt when beautifying is off."""
    return _columns({**NOT_WRITTEN, "engine": "off"}) | {"beautified_prompt": prompt, "status": "unchanged"}


async def _beautify(ask: Ask, name: str, prompt: str, beautifier: Beautifier) -> dict[str, Any]:
    text, made = await write(
        ask, beautifier, name, prompt.strip(), lambda text: check_beautified(text, prompt, beautifier)
    )
    return _columns(made) | {"beautified_prompt": text, "status": "failed" if text is None else "ok"}


def _columns(made: dict[str, Any]) -> dict[str, Any]:
    """`prompt_sha256` is the hash of the user's prompt in this table, so the template's has another name."""
    return {"template_sha256" if name == "prompt_sha256" else name: value for name, value in made.items()}


def check_beautified(text: str, prompt: str, beautifier: Beautifier) -> None:
    """Raises ValueError with the reason when `text` is no detailed description for `prompt`."""
    if text in beautifier.prompt.shown_answers:
        raise ValueError("the answer is one that the template shows")
    words = text.split()
    if [word.casefold() for word in words] == prompt.casefold().split():
        raise ValueError("the answer only repeats the prompt")
    if len(words) > beautifier.max_words:
        raise ValueError(f"the answer has {len(words)} words, more than {beautifier.max_words}")
    if not text.endswith((".", "!", "?", "”", '"', "。", "！", "？")):
        raise ValueError("the answer breaks off in a sentence")
    sentences = _sentences(text)
    if len(set(sentences)) < len(sentences):
        raise ValueError("the answer says a sentence twice")
    if any(set(sentences) & set(_sentences(shown)) for shown in beautifier.prompt.shown_answers):
        raise ValueError("the answer has a sentence of the template's example")


def _sentences(text: str) -> list[str]:
    return re.split(r"(?<=[.!?])\s+", text.casefold())
