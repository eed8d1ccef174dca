"""Beautifying: a short prompt becomes a detailed one, in the style of the captions a model was trained on.

JSON key, limit of words and number of attempts follow EasyAnimate's prompt beautification; the checks are ours.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from curation_assets.settings import Beautifying
from curation_assets.writing import NOT_WRITTEN, Prompt, Writer, parse_prompt, prompt_of, write
from resources.chat import Ask, ChatClient

KEY = "detailed description"
# A 135M model that hasn't ended by then goes round in circles, as it does without a penalty; and it loses the thread.
EMBEDDED_MAX_TOKENS = 160
EMBEDDED_REPEAT_PENALTY = 1.15
EMBEDDED_MIN_PROMPT_WORDS = 0.5


@dataclass(frozen=True)
class Beautifier(Writer):
    """A writer, and how many words its answers may have.

    `repeat_penalty` is llama.cpp's, on tokens said before. `min_prompt_words` is the share of the prompt's words that
    an answer must have; a model that knows languages and synonyms needs none.
    """

    max_words: int
    repeat_penalty: float | None
    min_prompt_words: float | None


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
        repeat_penalty=EMBEDDED_REPEAT_PENALTY if embedded else None,
        min_prompt_words=EMBEDDED_MIN_PROMPT_WORDS if embedded else None,
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
    if beautifier.repeat_penalty is not None:
        client = replace(client, extra_body={**client.extra_body, "repeat_penalty": beautifier.repeat_penalty})

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
    if beautifier.min_prompt_words is not None and _share_said(prompt, text) < beautifier.min_prompt_words:
        raise ValueError("the answer is about something else than the prompt")


def _sentences(text: str) -> list[str]:
    return re.split(r"(?<=[.!?])\s+", text.casefold())


def _share_said(prompt: str, text: str) -> float:
    """Of the prompt's words of three letters or more the share that the text has, in whatever form; 1 for none."""
    words, said = (re.findall(r"\w{3,}", each.casefold()) for each in (prompt, text))
    begun = {word[:3] for word in said}
    return sum(word[:3] in begun for word in words) / len(words) if words else 1.0
