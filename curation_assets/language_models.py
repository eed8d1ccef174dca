"""The language model that a section of the settings chooses: the server that runs it, and what names it in rows."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, replace
from functools import partial
from typing import Any, Protocol

from curation_assets.engines import identity
from curation_assets.progress import TERMINAL
from curation_assets.settings import Captions, Chat, Vllm, declared
from curation_assets.writing import Writer
from resources.chat import ChatClient
from resources.chat_models import request_fields, server_arguments
from resources.checkpoints import Checkpoint
from resources.errors import Need
from resources.llama_server import embedded_llm_identity, embedded_llm_server
from resources.vllm_server import Say, VllmServer, require_vllm, vllm_server

OWN_SERVER_RETRIES = 2  # it is on this machine and for this step alone: it answers, or it has ended
EMBEDDED_CONCURRENCY = 2  # one is computed; the next waits at the server while an answer is looked at here


class WritingSettings(Protocol):
    """A section of the settings that chooses a language model."""

    @property
    def engine(self) -> str: ...
    @property
    def chat(self) -> Chat: ...
    @property
    def vllm(self) -> Vllm: ...


def writer_settings(writer: Writer, chat: Chat) -> dict[str, Any]:
    """What can change a text, for fingerprints; the embedded model with its versions."""
    values = {name: value for name, value in asdict(writer).items() if value is not None}
    if writer.engine == "embedded":
        return values | identity(lambda _: embedded_llm_identity()._asdict(), writer.engine)
    return values | extra_fields(chat)


def extra_fields(chat: Chat) -> dict[str, Any]:
    """What requests hold beside the settings of their own, as a part of a fingerprint."""
    fields = request_fields(chat.model or "", chat.extra_body)
    return {"extra_body": fields} if fields else {}


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
        extra_body=request_fields(chat.model, chat.extra_body),
        setting=setting,
    )


@contextmanager
def language_model(
    section: WritingSettings, name: str, say: Say = TERMINAL.info, images: int = 0, videos: int = 0
) -> Iterator[tuple[ChatClient, str]]:
    """The client of the section's engine and the model's revision; a server of ours runs as long as the context.

    `name` is the section's, for messages; `say` hears how a start of minutes gets on. A request holds up to so many
    pictures and videos. Raises EngineUnavailable.
    """
    if section.engine == "chat":
        yield chat_client(section.chat, f"{name}.chat.base_url"), section.chat.revision
    elif section.engine == "vllm":
        known = _weights(section.vllm, name).identity()
        with vllm_server(_vllm(section, name, images, videos), say) as base_url:
            here = {**known, "base_url": base_url, "api_key_env": None}
            client = chat_client(section.chat.model_copy(update=here), f"{name}.vllm")
            remedy = f"refresh again: {name} starts its server anew"
            yield replace(client, remedy=remedy, max_retries=OWN_SERVER_RETRIES), known["revision"]
    else:
        embedded = embedded_llm_identity()
        with embedded_llm_server() as base_url:
            client = ChatClient(
                base_url, embedded.model, concurrency=EMBEDDED_CONCURRENCY, max_retries=4, setting=f"{name}.engine"
            )
            yield client, embedded.revision


def writer_needs(section: WritingSettings, name: str) -> list[Need]:
    """What the section's engine needs: a key, or weights, an environment with vLLM and the GPUs asked for."""
    match section.engine:
        case "chat":
            return [partial(chat_client, section.chat, f"{name}.chat.base_url")]
        case "vllm":
            return [_weights(section.vllm, name).require, partial(require_vllm, _vllm(section, name, 0, 0))]
        case "embedded":
            return [embedded_llm_identity]
    return []


def named_chat(section: WritingSettings, name: str) -> Chat:
    """The section's `chat`, with model and revision as rows hold them where vLLM serves the model."""
    if section.engine != "vllm":
        return section.chat
    known = identity(lambda _: _weights(section.vllm, name).identity(), section.vllm.model or "")
    return section.chat.model_copy(update=known)


def served_by(section: WritingSettings) -> dict[str, Any]:
    """What vLLM is told that can change an answer, as a part of a fingerprint."""
    if section.engine != "vllm":
        return {}
    return {"vllm": declared(section.vllm) | {"arguments": _arguments(section)}}


def _weights(vllm: Vllm, name: str) -> Checkpoint:
    assert vllm.model is not None  # settings are validated
    return Checkpoint(f"{name}.vllm", vllm.model, vllm.source or vllm.model, vllm.revision)


def _arguments(section: WritingSettings) -> tuple[str, ...]:
    """The family's arguments are about frames as pictures: those of a video are small, and images may be large then."""
    as_video = isinstance(section, Captions) and section.send == "video"
    return (*(() if as_video else server_arguments(section.vllm.model or "")), *section.vllm.arguments)


def _vllm(section: WritingSettings, name: str, images: int, videos: int) -> VllmServer:
    vllm = section.vllm
    weights = _weights(vllm, name)
    as_they_are = {"gpus", "dtype", "max_model_len", "gpu_memory_utilization", "start_timeout_s"}
    return VllmServer(
        source=str(weights.folder or weights.source),
        name=weights.published,
        setting=weights.setting,
        revision=None if weights.folder else vllm.revision,
        python=vllm.python or sys.executable,
        images=images,
        videos=videos,
        arguments=_arguments(section),
        **vllm.model_dump(include=as_they_are),
    )
