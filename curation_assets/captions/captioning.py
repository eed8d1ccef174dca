"""Captions from a vision-language model behind the chat API; turn and sampling follow EasyAnimate."""

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from resources.chat import Ask, ChatClient, ChatRequest, image_part, text_part
from resources.text import without_controls


@dataclass(frozen=True)
class Captioner:
    """The model, what it is asked, and how many uniform frames it sees."""

    model: str
    revision: str
    prompt: str
    frame_count: int
    temperature: float
    max_tokens: int


def caption_clips(
    units: Iterable[Mapping[str, Any]], client: ChatClient, captioner: Captioner
) -> Iterator[tuple[str, dict[str, Any] | Exception]]:
    """Describe clips; yield (clip_id, row of `captions` or what went wrong) as they end.

    A unit has `clip_id`, `frames_sha256` and `jpegs`, the clip's uniform frames as JPEG bytes. Units are taken
    one by one as places get free, so `units` should read the pictures only when it is advanced.
    """

    async def describe(ask: Ask, unit: Mapping[str, Any]) -> dict[str, Any]:
        return await _describe(ask, unit, captioner)

    for unit, result in client.map(describe, units):
        yield unit["clip_id"], result


def caption_request(jpegs: Sequence[bytes], captioner: Captioner, frames_sha256: str) -> ChatRequest:
    """One user turn: numbered frames, then the instruction. Frames floor(i*N/frame_count) of N are sent.

    The hash of the frames travels with them: a request in the server's records is that of the row with this hash.
    """
    count = min(captioner.frame_count, len(jpegs))
    content = []
    for i in range(count):
        content.append(text_part(f"Frame{i + 1}: "))
        content.append(image_part(jpegs[i * len(jpegs) // count]))
    content.append(text_part(captioner.prompt))
    turn = {"role": "user", "content": content}
    return ChatRequest([turn], captioner.temperature, captioner.max_tokens, subject=frames_sha256)


async def _describe(ask: Ask, unit: Mapping[str, Any], captioner: Captioner) -> dict[str, Any]:
    answer = await ask(caption_request(unit["jpegs"], captioner, unit["frames_sha256"]))
    caption = without_controls(answer.text)
    status = "failed" if not caption else "truncated" if answer.finish_reason == "length" else "ok"
    return {
        "clip_id": unit["clip_id"],
        "caption": caption or None,
        "status": status,
        "frames_sha256": unit["frames_sha256"],
        "facts": None,
        "engine": "chat",
        "model": captioner.model,
        "revision": captioner.revision,
        "prompt_sha256": hashlib.sha256(captioner.prompt.encode()).hexdigest(),
        "attempts": 1,
        "finish_reason": answer.finish_reason,
        "prompt_tokens": answer.prompt_tokens,
        "completion_tokens": answer.completion_tokens,
        "seconds": answer.seconds,
    }
