"""Rewriting captions into training captions with a language model, and refusing what drifts from the caption.

Prompt, JSON key and number of attempts follow EasyAnimate's rewriting stage; the checks are ours.
"""

import re
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from curation_assets.settings import Rewriting
from curation_assets.writing import NOT_WRITTEN, TooLong, Writer, prompt_of, write
from resources.chat import Ask, ChatClient
from resources.tokens import estimated_tokens

KEY = "rewritten description"
# A 135M model adds only what isn't so; a large one needs words of its own to rephrase.
EMBEDDED_MAX_NEW_WORDS = 0.0
CHAT_MAX_NEW_WORDS = 0.5
EMBEDDED_MAX_TOKENS = 256


class Encoder(Protocol):
    def encode(self, texts: list[str]) -> NDArray[np.float32]: ...


@dataclass(frozen=True)
class Rewriter(Writer):
    """A writer, and what its answers must keep to.

    `min_similarity` bounds the sentence encoder's cosine of answer and caption, `max_new_words` the share of the
    answer's content words that the caption doesn't have. Answers of more than `max_caption_tokens` are asked for again.
    """

    min_similarity: float
    max_new_words: float
    max_caption_tokens: int | None


def rewrite_captions(
    units: Iterable[Mapping[str, Any]],
    client: ChatClient,
    encoder: Encoder,
    rewriter: Rewriter,
    count_tokens: Callable[[str], int] = estimated_tokens,
) -> Iterator[tuple[str, dict[str, Any] | Exception]]:
    """Rewrite `caption` of each unit; yield (clip_id, row of `rewritten_captions` or what went wrong) as they end.

    Answers that can't be read, repeat the placeholder or drift from the caption are asked for again, attempt k with
    a seed made of clip and k; after `max_attempts` the row's status is failed and its last answer is kept. Where all
    that was wrong was the length, the status is long.
    """

    async def rewrite(ask: Ask, unit: Mapping[str, Any]) -> dict[str, Any]:
        return await _rewrite(ask, unit["clip_id"], unit["caption"], encoder, rewriter, count_tokens)

    for unit, result in client.map(rewrite, units):
        yield unit["clip_id"], result


def rewriter_of(settings: Rewriting, model: str, revision: str) -> Rewriter:
    """The rewriter that the settings ask for; `model` and `revision` as the engine names them."""
    embedded = settings.engine == "embedded"
    max_new_words = settings.max_new_words
    if max_new_words is None:
        max_new_words = EMBEDDED_MAX_NEW_WORDS if embedded else CHAT_MAX_NEW_WORDS
    return Rewriter(
        engine=settings.engine,
        model=model,
        revision=revision,
        prompt=prompt_of(
            settings.prompt, "rewriting.prompt", __package__, "rewrite_small" if embedded else "rewrite", KEY
        ),
        temperature=0.0 if embedded else settings.chat.temperature,
        max_tokens=EMBEDDED_MAX_TOKENS if embedded else settings.chat.max_tokens,
        max_attempts=settings.max_attempts,
        min_similarity=settings.min_similarity,
        max_new_words=max_new_words,
        max_caption_tokens=settings.max_caption_tokens,
    )


def unchanged(clip_id: str, caption: str) -> dict[str, Any]:
    """The row of a caption when rewriting is off."""
    row = _new_row(clip_id, caption)
    return row | {"caption": caption, "status": "unchanged", "similarity": 1.0, "engine": "off"}


def _new_row(clip_id: str, caption: str) -> dict[str, Any]:
    return {
        "clip_id": clip_id,
        "caption": None,
        "status": "failed",
        "original_caption": caption,
        "similarity": None,
        **NOT_WRITTEN,
    }


async def _rewrite(
    ask: Ask, clip_id: str, caption: str, encoder: Encoder, rewriter: Rewriter, count_tokens: Callable[[str], int]
) -> dict[str, Any]:
    similarity: dict[str | None, float] = {}
    max_tokens = rewriter.max_caption_tokens or sys.maxsize

    def check(text: str) -> None:
        similarity[text] = similarity[None] = _cosine(encoder, text, caption)
        check_rewrite(text, caption, similarity[text], rewriter)
        if count_tokens(text) > max_tokens:
            raise TooLong(max_tokens)

    text, made = await write(ask, rewriter, clip_id, caption, check)
    status = "failed" if text is None else "long" if count_tokens(text) > max_tokens else "rewritten"
    return _new_row(clip_id, caption) | made | {"caption": text, "status": status, "similarity": similarity.get(text)}


def check_rewrite(text: str, caption: str, similarity: float, rewriter: Rewriter) -> None:
    """Raises ValueError with the reason when `text` can't stand for `caption`."""
    if text in rewriter.prompt.placeholders:
        raise ValueError("the answer is the prompt's placeholder")
    if similarity < rewriter.min_similarity:
        raise ValueError(f"similarity {similarity} to the caption is below {rewriter.min_similarity}")
    if caption.endswith(".") and not text.endswith((".", "!", "?", "”", '"')):
        raise ValueError("the answer breaks off in a sentence")
    numbers = set(re.findall(r"\d+", text)) - set(re.findall(r"\d+", caption))
    if numbers:
        raise ValueError(f"numbers that the caption doesn't have: {sorted(numbers)}")
    quoted = [quote for quote in re.findall(r'[“"]([^“”"]+)[”"]', text) if quote.casefold() not in caption.casefold()]
    if quoted:
        raise ValueError(f"quotes text that the caption doesn't have: {quoted}")
    words, known = _content_words(text), set(_content_words(caption).values())
    new = sorted(word for word, stem in words.items() if stem not in known)
    if len(new) > rewriter.max_new_words * len(words):
        raise ValueError(f"too many words that the caption doesn't have: {', '.join(new)}")


_FUNCTION_WORDS = """
a about above after against all along also an and any appear appears are around as at away be been before
behind being below beside between but by can could do does down during each for from had has have he her here
him his how i if in into is it its just like look looks many may might more most near no not of off on one
onto or other our out over own past see seem seems seen she show shown shows so some such than that the their
them then there these they this those through to toward towards under until up upon us was we were what when
where which while who whose will with within without you your
"""


def _content_words(text: str) -> dict[str, str]:
    """Words that carry meaning, each with its stem: without the commonest endings, 'runs' and 'running' are one."""
    words = set(re.findall(r"[^\W\d_]+", text.casefold())) - set(_FUNCTION_WORDS.split())
    return {word: re.sub(r"(?:ing|ed|es|s|ly|e)$", "", word) if len(word) > 4 else word for word in words}


def _cosine(encoder: Encoder, text: str, other: str) -> float:
    one, two = encoder.encode([text, other])
    return round(float(one @ two), 5)
