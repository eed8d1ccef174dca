"""One client for every OpenAI-compatible chat server: concurrency, retries, time limits, JSON answers."""

import asyncio
import base64
import ipaddress
import json
import os
import re
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import islice
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import unquote, urlsplit

from resources.errors import EngineUnavailable, InputError, TransientError
from resources.spent import count, spent
from resources.text import in_unicode, one_line, without_login

if TYPE_CHECKING:
    import openai

Item = TypeVar("Item")
Result = TypeVar("Result")

# After so many requests in a row without any answer the server counts as gone and the rest fails at once.
UNANSWERED_BEFORE_GIVING_UP = 3
CHECK_TIMEOUT_S = 10.0
MAX_ERROR_CHARACTERS = 300
MAX_ANSWER_CHARACTERS = 100_000  # no caption, and too long to be searched for JSON and words
MAX_REASON_CHARACTERS = 50
MAX_BRACES_TRIED = 100  # each costs a pass over the answer
NO_KEY = "none"  # the client library insists on one; servers without authentication ignore it
# These statuses are about the server's configuration, not about the one request.
STATUSES_OF_SET_UP = {401, 403, 404}


@dataclass(frozen=True)
class ChatRequest:
    """One chat completion. `json_schema` makes the server answer in JSON of that schema.

    `subject` says what it is about in the server's records, as the API's `user`; it can't change the answer.
    """

    messages: list[dict[str, Any]]
    temperature: float = 0.0
    max_tokens: int = 512
    seed: int | None = None
    json_schema: dict[str, Any] | None = None
    subject: str | None = None


@dataclass(frozen=True)
class ChatAnswer:
    """`seconds` runs from sending to the answer, retries included; `finish_reason` is the server's word."""

    text: str
    finish_reason: str
    prompt_tokens: int
    completion_tokens: int
    seconds: float


Ask = Callable[[ChatRequest], Awaitable[ChatAnswer]]


@dataclass(frozen=True)
class ChatClient:
    """A chat server and how to talk to it.

    `base_url` may hold user:password@, which is sent but taken out of the attribute. `api_key_env` names the
    environment variable that holds the key. `extra_body` are further fields of each request. `setting` is the settings
    key that messages tell the user to change. `request_timeout_s` bounds one request, its retries included;
    connection errors, 408, 409, 429 and 5xx are retried after 0.5 s, 1 s .. 8 s, or as Retry-After says.
    """

    base_url: str
    model: str
    api_key_env: str | None = None
    concurrency: int = 64
    request_timeout_s: float = 600.0
    max_retries: int = 8
    extra_body: Mapping[str, Any] = field(default_factory=dict)
    setting: str = "chat.base_url"
    remedy: str = "start the server, then refresh again"
    _key: str | None = field(init=False, repr=False, compare=False, default=None)
    _login: tuple[str, str] | None = field(repr=False, compare=False, default=None)
    """taken out of `base_url`; not `init=False`, since a copy by `dataclasses.replace` needs it"""

    def __post_init__(self) -> None:
        """Raises EngineUnavailable when the named variable holds no key."""
        object.__setattr__(self, "_login", _login(self.base_url) or self._login)
        object.__setattr__(self, "base_url", without_login(self.base_url))
        if self.api_key_env:
            key = os.environ.get(self.api_key_env, "")
            if not key:
                raise EngineUnavailable(
                    f"environment variable {self.api_key_env} holds no API key for {self.base_url}; "
                    "set it, or change api_key_env next to " + self.setting
                )
            object.__setattr__(self, "_key", key)

    def check(self) -> None:
        """Ask the server for its models before any work is done.

        Raises EngineUnavailable when nothing answers, the key is refused, or the model isn't served.
        """
        import openai

        client = openai.OpenAI(
            base_url=self.base_url,
            api_key=self._key or NO_KEY,
            timeout=CHECK_TIMEOUT_S,
            max_retries=1,
            http_client=openai.DefaultHttpx2Client(auth=self._login, trust_env=not _is_loopback(self.base_url)),
        )
        with client:
            try:
                models = [model.id for model in client.models.list().data or []]
            except openai.APIStatusError as failure:
                raise EngineUnavailable(
                    f"{self.base_url} refused to list its models: {self._explain(failure)}; "
                    f"check the key and {self.setting}"
                ) from None
            except openai.APIConnectionError:
                raise EngineUnavailable(
                    f"no server answers at {self.base_url}; start it or change {self.setting}"
                ) from None
            except (openai.APIError, AttributeError, TypeError, ValueError):
                raise EngineUnavailable(
                    f"what answers at {self.base_url} is no OpenAI-compatible server; change {self.setting}"
                ) from None
        if models and self.model not in models:
            served = one_line(", ".join(str(model) for model in models[:10]), MAX_ERROR_CHARACTERS)
            raise EngineUnavailable(
                f"{self.base_url} doesn't serve model {self.model!r} but {served}; "
                f"serve it, or change model next to {self.setting}"
            )

    def complete_all(
        self, requests: Iterable[tuple[Item, ChatRequest]]
    ) -> Iterator[tuple[Item, ChatAnswer | Exception]]:
        """Send (key, request) pairs; yield (key, answer or what went wrong) as they finish."""

        async def send(ask: Ask, pair: tuple[Item, ChatRequest]) -> ChatAnswer:
            return await ask(pair[1])

        for (key, _), result in self.map(send, requests):
            yield key, result

    def map(
        self, job: Callable[[Ask, Item], Awaitable[Result]], items: Iterable[Item]
    ) -> Iterator[tuple[Item, Result | Exception]]:
        """Run `job(ask, item)` for every item, `concurrency` at a time; yield (item, result) as they finish.

        `items` is advanced in the caller's thread, only when a place is free, so what an item holds (pictures)
        lives no longer than its job. A job that raises yields its exception. `ask` raises InputError when the
        server refuses the request, TransientError when it doesn't answer or fails.
        """
        finished: SimpleQueue[tuple[Item, Future[Result]]] = SimpleQueue()
        waiting = iter(items)
        running: set[Future[Result]] = set()

        def start_next(loop: asyncio.AbstractEventLoop, ask: Ask) -> None:
            for item in waiting:
                future = asyncio.run_coroutine_threadsafe(_awaited(job(ask, item)), loop)
                running.add(future)
                future.add_done_callback(partial(_hand_over, finished, item))
                return

        with _event_loop() as loop:
            session = _Session(self)
            try:
                for _ in range(self.concurrency):
                    start_next(loop, session.ask)
                while running:
                    item, future = finished.get()
                    running.discard(future)
                    start_next(loop, session.ask)
                    failure = future.exception()
                    if failure is not None and not isinstance(failure, Exception):
                        raise failure
                    yield item, failure if failure is not None else future.result()
            finally:
                asyncio.run_coroutine_threadsafe(session.close(), loop).result()

    def _explain(self, failure: "openai.APIStatusError") -> str:
        """The server's message, trimmed, without key and password."""
        body = failure.body
        message = body.get("message") if isinstance(body, dict) else None
        text = " ".join(str(message or body or failure.message).split())
        for secret in filter(None, (self._key, self._login and self._login[1])):
            text = text.replace(secret, "***")
        return f"HTTP {failure.status_code}: {text[:MAX_ERROR_CHARACTERS]}"


class _Session:
    """The connections of one `map` call, whether the server still answers, and whether it takes a schema."""

    def __init__(self, client: ChatClient) -> None:
        import openai

        self._client = client
        self._unanswered = 0
        self._takes_schema: bool | None = None  # until it answers, nobody knows
        self._openai = openai.AsyncOpenAI(
            base_url=client.base_url,
            api_key=client._key or NO_KEY,
            timeout=client.request_timeout_s,
            max_retries=client.max_retries,
            http_client=openai.DefaultAsyncHttpx2Client(
                auth=client._login, trust_env=not _is_loopback(client.base_url)
            ),
        )

    async def close(self) -> None:
        unfinished = asyncio.all_tasks() - {asyncio.current_task()}
        for task in unfinished:
            task.cancel()
        await asyncio.gather(*unfinished, return_exceptions=True)
        await self._openai.close()

    async def ask(self, request: ChatRequest) -> ChatAnswer:
        if self._unanswered >= UNANSWERED_BEFORE_GIVING_UP:
            raise TransientError(
                f"not sent: {self._client.base_url} left {self._unanswered} requests in a row unanswered; "
                f"{self._client.remedy}"
            )
        started = time.monotonic()
        with spent("server"):
            async with self._counting_unanswered(), asyncio.timeout(self._client.request_timeout_s):
                completion = await self._send(request)
        answer = self._read(completion, time.monotonic() - started)
        count("tokens", answer.completion_tokens)
        return answer

    @asynccontextmanager
    async def _counting_unanswered(self) -> AsyncIterator[None]:
        """Turn the library's failures into ours, and keep count of requests without any answer."""
        import openai

        url = self._client.base_url
        try:
            yield
        except (TimeoutError, openai.APITimeoutError):
            self._unanswered += 1
            raise TransientError(
                f"{url} did not answer within {self._client.request_timeout_s:g} s; "
                "raise request_timeout_s or lower concurrency"
            ) from None
        except openai.APIConnectionError as failure:
            self._unanswered += 1
            raise TransientError(
                f"no connection to {url} ({failure.__cause__ or failure}); {self._client.remedy}"
            ) from None
        except openai.APIStatusError as failure:
            self._unanswered = 0
            explanation = self._client._explain(failure)
            if failure.status_code in STATUSES_OF_SET_UP:
                raise TransientError(f"{url} turned the request away: {explanation}; check its key and model") from None
            if failure.status_code == 429:
                raise TransientError(
                    f"{url} is asked too often: {explanation}; lower concurrency, or refresh again later"
                ) from None
            if failure.status_code >= 500 or failure.status_code == 408:
                raise TransientError(f"{url} failed: {explanation}; refresh again when it is well") from None
            raise InputError(f"{url} refused the request: {explanation}") from None
        except (openai.APIError, ValueError) as failure:
            self._unanswered = 0
            reason = str(failure)[:MAX_ERROR_CHARACTERS]
            raise TransientError(f"{url} gave an unreadable answer: {reason}") from None
        self._unanswered = 0

    async def _send(self, request: ChatRequest) -> Any:
        """Ask with the request's schema; a server that refuses that is asked without, and never again with one."""
        import openai

        if request.json_schema is None or self._takes_schema is False:
            return await self._create(replace(request, json_schema=None))
        try:
            completion = await self._create(request)
        except (openai.BadRequestError, openai.UnprocessableEntityError):
            if self._takes_schema:
                raise
            completion = await self._create(replace(request, json_schema=None))
            self._takes_schema = False
        else:
            self._takes_schema = True
        return completion

    async def _create(self, request: ChatRequest) -> Any:
        options: dict[str, Any] = {}
        if request.seed is not None:
            options["seed"] = request.seed
        if request.subject is not None:
            options["user"] = request.subject
        if request.json_schema is not None:
            schema = {"name": "answer", "schema": request.json_schema, "strict": True}
            options["response_format"] = {"type": "json_schema", "json_schema": schema}
        return await self._openai.chat.completions.create(
            model=self._client.model,
            messages=request.messages,  # type: ignore[arg-type]  # plain dicts in the API's own form
            temperature=request.temperature,
            max_tokens=request.max_tokens,
            extra_body=self._client.extra_body,
            **options,
        )

    def _read(self, completion: Any, seconds: float) -> ChatAnswer:
        try:
            choice = completion.choices[0]
            usage = completion.usage
            text = in_unicode((choice.message.content or "").strip())
            if len(text) > MAX_ANSWER_CHARACTERS:
                raise InputError(
                    f"{self._client.base_url} answered with {len(text)} characters, more than {MAX_ANSWER_CHARACTERS}; "
                    "lower max_tokens, or change the model or its prompt"
                )
            return ChatAnswer(
                text=_without_thoughts(text),
                finish_reason=one_line(choice.finish_reason or "", MAX_REASON_CHARACTERS),
                prompt_tokens=_count(usage.prompt_tokens) if usage else 0,
                completion_tokens=_count(usage.completion_tokens) if usage else 0,
                seconds=round(seconds, 3),
            )
        except (AttributeError, IndexError, TypeError):  # what the library handed on unchecked
            raise TransientError(
                f"{self._client.base_url} answered with no chat completion; is it the right URL?"
            ) from None


def _without_thoughts(text: str) -> str:
    """What follows a reasoning model's <think> block, which a chat template may have opened; cut off in it: nothing."""
    _, ended, answer = text.rpartition("</think>")
    if ended:
        return answer.strip()
    return "" if text.startswith("<think>") else text


def _count(value: object) -> int:
    """A server's figure, where it is one that a table can hold."""
    return value if isinstance(value, int) and 0 <= value < 2**53 else 0


def _hand_over(queue: SimpleQueue[tuple[Item, Future[Result]]], item: Item, done: Future[Result]) -> None:
    queue.put((item, done))


async def _awaited(result: Awaitable[Result]) -> Result:
    return await result


@contextmanager
def _event_loop() -> Iterator[asyncio.AbstractEventLoop]:
    """An event loop in a thread of its own: requests go on while the caller works on a result."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, name="chat", daemon=True)
    thread.start()
    try:
        yield loop
    finally:
        asyncio.run_coroutine_threadsafe(loop.shutdown_default_executor(), loop).result()
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


def _is_loopback(url: str) -> bool:
    """A proxy from the environment can't reach this machine's own servers."""
    host = urlsplit(url).hostname or ""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _login(url: str) -> tuple[str, str] | None:
    parts = urlsplit(url)
    return None if parts.username is None else (unquote(parts.username), unquote(parts.password or ""))


def text_part(text: str) -> dict[str, Any]:
    """A piece of text in a user turn of several parts."""
    return {"type": "text", "text": text}


def image_part(jpeg: bytes) -> dict[str, Any]:
    """A JPEG picture in a user turn, as a data URL."""
    return {"type": "image_url", "image_url": {"url": "data:image/jpeg;base64," + _base64(jpeg)}}


def video_part(jpegs: Sequence[bytes]) -> dict[str, Any]:
    """Pictures of one size as a video in a user turn; the form is vLLM's, which takes each picture as a frame."""
    url = "data:video/jpeg;base64," + ",".join(map(_base64, jpegs))
    return {"type": "video_url", "video_url": {"url": url}}


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode("ascii")


_STRING_OR_TRAILING_COMMA = re.compile(r'("(?:[^"\\]|\\.)*")|,(?=\s*[}\]])', re.DOTALL)
_ESCAPE_OR_QUOTE = re.compile(r'\\.|"', re.DOTALL)
_NEXT_KEY = re.compile(r"""["']\s*:\s*["']""")


def parse_json_answer(text: str, key: str) -> str:
    """The string under `key` in the first JSON object of an answer that has it, white space collapsed.

    Accepts what models do: prose and code fences around the object, line breaks and other control characters in the
    string, a trailing comma, braces and escaped quotes in the text; and, where the key is the only one, quotes in the
    text that aren't escaped and Python's single quotes. Raises ValueError with the reason when no complete object holds
    the key, or its value is no string or empty.
    """
    value = _value(text, key)
    if not isinstance(value, str):
        raise ValueError(f"the value of {key!r} is no string")
    found = " ".join("".join(c if c.isprintable() else " " for c in value).split())
    if not found:
        raise ValueError(f"the value of {key!r} is empty")
    return found


def _value(text: str, key: str) -> Any:
    decoder = json.JSONDecoder(strict=False)
    reason = "the answer holds no complete JSON object"
    for brace in islice(re.finditer("{", text), MAX_BRACES_TRIED):
        candidate = _STRING_OR_TRAILING_COMMA.sub(lambda found: found[1] or "", text[brace.start() :])
        try:
            value, _ = decoder.raw_decode(candidate)
        except (ValueError, RecursionError):
            continue
        if key in value:
            return value[key]
        reason = f"the answer's JSON has no key {key!r}"
    loose = _loosely_quoted(text, key)
    if loose is None:
        raise ValueError(reason)
    return loose


def _loosely_quoted(text: str, key: str) -> str | None:
    """What is between the quote after the key and the one before the last brace; None where another key may be."""
    opened = re.search(rf"""\{{\s*(["']){re.escape(key)}\1\s*:\s*(["'])""", text)
    if opened is None:
        return None
    inner = text[opened.end() :].rpartition("}")[0].rstrip(" \t\r\n,")
    if not inner.endswith(opened[2]) or _NEXT_KEY.search(inner):
        return None
    escaped = _ESCAPE_OR_QUOTE.sub(lambda found: {'"': '\\"', "\\'": "'"}.get(found[0], found[0]), inner[:-1])
    try:
        return str(json.loads(f'"{escaped}"', strict=False))
    except ValueError:
        return None
