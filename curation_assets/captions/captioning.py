"""Captions from a vision-language model behind the chat API; turn and sampling follow EasyAnimate."""

import hashlib
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from curation_assets.writing import TooLong, again, packaged_prompt
from resources.chat import Ask, ChatAnswer, ChatClient, ChatRequest, image_part, text_part, video_part
from resources.text import without_controls
from resources.tokens import estimated_tokens

BEST_FIRST = ("ok", "long", "truncated", "failed")


@dataclass(frozen=True)
class Captioner:
    """The model, what it is asked, and how many uniform frames it sees, as pictures or as a video; an image is one.

    Captions of more than `max_caption_tokens`, and truncated ones then, are asked for again, shorter, until
    `max_attempts` requests were made.
    """

    model: str
    revision: str
    prompt: str
    frame_count: int
    temperature: float
    max_tokens: int
    send: Literal["frames", "video", "image"] = "frames"
    max_caption_tokens: int | None = None
    max_attempts: int = 1
    engine: str = "chat"


def caption_prompt(own: str | None, packaged: Literal["caption", "caption_image"] = "caption") -> str:
    """The settings' own prompt, or the packaged one."""
    return (packaged_prompt(__package__, packaged) if own is None else own).strip()


def caption_clips(
    units: Iterable[Mapping[str, Any]],
    client: ChatClient,
    captioner: Captioner,
    count_tokens: Callable[[str], int] = estimated_tokens,
) -> Iterator[tuple[str, dict[str, Any] | Exception]]:
    """Describe clips; yield (clip_id, row of `captions` or what went wrong) as they end.

    A unit has `clip_id`, `frames_sha256` and `jpegs`, the clip's uniform frames as JPEG bytes; that of an image also
    `image_prompt`. Units are taken one by one as places get free, so `units` should read the pictures only when it is
    advanced.
    """

    async def describe(ask: Ask, unit: Mapping[str, Any]) -> dict[str, Any]:
        return await _describe(ask, unit, captioner, count_tokens)

    for unit, result in client.map(describe, units):
        yield unit["clip_id"], result


def caption_request(
    jpegs: Sequence[bytes], captioner: Captioner, frames_sha256: str, more: Sequence[dict[str, Any]] = ()
) -> ChatRequest:
    """One user turn: the frames, numbered if they are of a video, then the instruction; `more` are turns after it.

    Frames floor(i*N/frame_count) of N are sent. The hash of the frames travels with them: a request in the server's
    records is that of the row with this hash.
    """
    count = min(captioner.frame_count, len(jpegs))
    frames = [jpegs[i * len(jpegs) // count] for i in range(count)]
    if captioner.send == "video":
        content = [video_part(frames)]
    elif captioner.send == "image":
        content = [image_part(frames[0])]
    else:
        numbered = ((text_part(f"Frame{i}: "), image_part(jpeg)) for i, jpeg in enumerate(frames, start=1))
        content = [part for parts in numbered for part in parts]
    turn = {"role": "user", "content": [*content, text_part(captioner.prompt)]}
    return ChatRequest([turn, *more], captioner.temperature, captioner.max_tokens, subject=frames_sha256)


async def _describe(
    ask: Ask, unit: Mapping[str, Any], captioner: Captioner, count_tokens: Callable[[str], int]
) -> dict[str, Any]:
    """Ask once, or until a caption is short enough; the best answer counts, the tokens of all."""
    if image_prompt := unit.get("image_prompt"):
        captioner = replace(captioner, prompt=image_prompt, send="image")
    max_tokens = captioner.max_caption_tokens or sys.maxsize
    answers: list[tuple[str, str, ChatAnswer]] = []
    shorter: list[dict[str, Any]] = []
    for _ in range(captioner.max_attempts if captioner.max_caption_tokens else 1):
        answer = await ask(caption_request(unit["jpegs"], captioner, unit["frames_sha256"], shorter))
        caption = without_controls(answer.text)
        status = _status(caption, answer.finish_reason, count_tokens(caption) > max_tokens)
        answers.append((status, caption, answer))
        if status not in ("long", "truncated"):
            break
        shorter = again(caption, str(TooLong(max_tokens)))
    status, caption, answer = min(answers, key=lambda each: BEST_FIRST.index(each[0]))
    return {
        "clip_id": unit["clip_id"],
        "caption": caption or None,
        "status": status,
        "frames_sha256": unit["frames_sha256"],
        "facts": None,
        "engine": captioner.engine,
        "model": captioner.model,
        "revision": captioner.revision,
        "prompt_sha256": hashlib.sha256(captioner.prompt.encode()).hexdigest(),
        "attempts": len(answers),
        "finish_reason": answer.finish_reason,
        "prompt_tokens": sum(each.prompt_tokens for _, _, each in answers),
        "completion_tokens": sum(each.completion_tokens for _, _, each in answers),
        "seconds": round(sum(each.seconds for _, _, each in answers), 3),
    }


def _status(caption: str, finish_reason: str, is_long: bool) -> str:
    if not caption:
        return "failed"
    if finish_reason == "length":
        return "truncated"
    return "long" if is_long else "ok"
