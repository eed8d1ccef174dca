"""How the chat client treats a server that is well, overloaded, wrong, dying or gone."""

import base64
import json
import logging
import os
import signal
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from resources.chat import ChatAnswer, ChatClient, ChatRequest
from resources.errors import EngineUnavailable, InputError, TransientError
from resources.llama_server import embedded_llm_identity, embedded_llm_server
from tests.stand_in_server import completion, stand_in_server

HELLO = ChatRequest([{"role": "user", "content": "Say hello."}], max_tokens=8)
IN_JSON = replace(HELLO, json_schema={"type": "object"})


def error(message: str) -> bytes:
    return json.dumps({"error": {"message": message, "type": "x"}}).encode()


def only(client: ChatClient) -> ChatAnswer | Exception:
    [(_, result)] = client.complete_all([("a", HELLO)])
    return result


def test_a_server_that_is_not_there_is_found_out_before_any_work() -> None:
    client = ChatClient("http://127.0.0.1:9/v1", "m", setting="captions.chat.base_url")
    with pytest.raises(EngineUnavailable, match=r"no server answers at http://127.0.0.1:9/v1.*captions.chat.base_url"):
        client.check()


def test_a_model_that_is_not_served_is_found_out_before_any_work() -> None:
    with stand_in_server(lambda body: (200, completion("hello"))) as server:
        server.client().check()
        with pytest.raises(EngineUnavailable, match="doesn't serve model 'other' but stand-in"):
            ChatClient(server.url, "other").check()


@pytest.mark.parametrize("status", [408, 429, 500, 503])
def test_a_busy_server_is_asked_again(status: int) -> None:
    replies = iter([(status, error("busy")), (200, completion("hello", "length"))])
    with stand_in_server(lambda body: next(replies)) as server:
        answer = only(server.client())
        assert len(server.received) == 2
    assert isinstance(answer, ChatAnswer)
    assert (answer.text, answer.finish_reason, answer.prompt_tokens, answer.completion_tokens) == (
        "hello",
        "length",
        7,
        3,
    )


def test_a_server_that_hangs_up_is_asked_again() -> None:
    replies = iter([None, (200, completion("hello"))])
    with stand_in_server(lambda body: next(replies)) as server:
        answer = only(server.client())
        assert len(server.received) == 2
    assert isinstance(answer, ChatAnswer)


def test_a_server_that_asks_for_a_pause_gets_it() -> None:
    asked: list[float] = []

    def answer(body: dict[str, Any]) -> tuple[int, bytes, dict[str, str]]:
        asked.append(time.monotonic())
        return (429, error("slow down"), {"Retry-After": "1"}) if len(asked) == 1 else (200, completion("hello"), {})

    with stand_in_server(answer) as server:
        assert isinstance(only(server.client()), ChatAnswer)
    assert asked[1] - asked[0] >= 1  # of its own the client waits half a second at most


def test_a_server_that_stays_broken_is_a_transient_failure_of_the_request() -> None:
    with stand_in_server(lambda body: (500, error("out of memory"))) as server:
        result = only(server.client(max_retries=1))
    assert isinstance(result, TransientError)
    assert "HTTP 500: out of memory" in str(result)


def test_a_request_the_server_refuses_is_an_input_error_with_its_words_trimmed() -> None:
    with stand_in_server(lambda body: (400, error("too many pictures " + "x" * 5000))) as server:
        result = only(server.client())
        assert len(server.received) == 1
    assert isinstance(result, InputError)
    assert "HTTP 400: too many pictures" in str(result)
    assert len(str(result)) < 500


@pytest.mark.parametrize("body", [b"<html>hello</html>", b"{}", b"[]", b'{"choices": []}', b'{"choices": [{}]}'])
def test_garbage_is_no_answer(body: bytes) -> None:
    with stand_in_server(lambda _: (200, body)) as server:
        assert isinstance(only(server.client(max_retries=0)), TransientError)


def test_a_request_has_a_time_limit() -> None:
    def hang(body: dict[str, Any]) -> tuple[int, bytes]:
        time.sleep(0.6)
        return 200, completion("late")

    with stand_in_server(hang) as server:
        result = only(server.client(request_timeout_s=0.2))
    assert isinstance(result, TransientError)
    assert "within 0.2 s" in str(result)


def test_the_key_is_sent_and_never_shown(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    monkeypatch.setenv("TEST_CHAT_KEY", "sk-do-not-show")
    with (
        stand_in_server(lambda body: (401, error("wrong key sk-do-not-show"))) as server,
        caplog.at_level(logging.DEBUG),
    ):
        client = server.client(api_key_env="TEST_CHAT_KEY")
        result = only(client)
        assert server.received[0]["authorization"] == "Bearer sk-do-not-show"
    assert isinstance(result, TransientError)
    assert "sk-do-not-show" not in f"{result} {client!r} {caplog.text}"


def test_a_login_in_the_url_is_sent_and_never_shown(caplog: pytest.LogCaptureFixture) -> None:
    with (
        stand_in_server(lambda body: (401, error("wrong password do:not"))) as server,
        caplog.at_level(logging.DEBUG),
    ):
        host = server.url.removeprefix("http://")
        client = ChatClient(f"http://user:do%3Anot@{host}", "other")
        said = [str(only(client)), repr(client)]
        only(replace(client, concurrency=1))
        sent, by_copy = (request["authorization"] for request in server.received)
        with pytest.raises(EngineUnavailable) as refused:
            client.check()
    for bad in (f"http://user:do%3Anot@{host}", "http://user:do%3Anot@127.0.0.1:9/v1"):
        dead = ChatClient(bad, "m", max_retries=0)
        with pytest.raises(EngineUnavailable) as unreachable:
            dead.check()
        said += [str(unreachable.value), str(only(dead)), repr(dead)]
    with pytest.raises(EngineUnavailable) as no_key:
        ChatClient("http://user:do%3Anot@127.0.0.1:9/v1", "m", api_key_env="TEST_NO_SUCH_KEY")
    assert base64.b64decode(sent.removeprefix("Basic ")) == b"user:do:not"
    assert by_copy == sent
    assert f"http://{host}" in said[0]
    shown = " ".join([*said, str(refused.value), str(no_key.value), caplog.text])
    assert "do:not" not in shown
    assert "do%3Anot" not in shown


def test_no_word_of_a_message_is_taken_for_a_key() -> None:
    with stand_in_server(lambda body: (400, error("none of the pictures can be read"))) as server:
        assert "none of the pictures" in str(only(server.client()))


def test_a_server_without_schemas_is_asked_without_from_then_on() -> None:
    def answer(body: dict[str, Any]) -> tuple[int, bytes]:
        return (400, error("no json_schema")) if "response_format" in body else (200, completion("hello"))

    with stand_in_server(answer) as server:
        results = server.client(concurrency=1).complete_all((i, IN_JSON) for i in range(3))
        assert all(isinstance(result, ChatAnswer) for _, result in results)
        assert ["response_format" in body for body in server.received] == [True, False, False, False]


def test_a_request_that_is_refused_for_another_reason_leaves_the_schema() -> None:
    refusals = iter([True, True, False, True])

    def answer(body: dict[str, Any]) -> tuple[int, bytes]:
        return (400, error("too long")) if next(refusals) else (200, completion("hello"))

    with stand_in_server(answer) as server:
        results = [result for _, result in server.client(concurrency=1).complete_all((i, IN_JSON) for i in range(3))]
        assert ["response_format" in body for body in server.received] == [True, False, True, True]
    assert [type(result) for result in results] == [InputError, ChatAnswer, InputError]


@pytest.mark.parametrize(
    ("said", "answer"),
    [
        ("<think>A car? {draft}</think>\n\nA red car.", "A red car."),
        ("A car? It is.\n</think>\nA red car.", "A red car."),
        ("<think>\n\n</think>\n\nA red car.", "A red car."),
        ("<think>A car, or", ""),
        ("A red car.", "A red car."),
    ],
)
def test_a_models_thoughts_are_no_answer(said: str, answer: str) -> None:
    with stand_in_server(lambda body: (200, completion(said))) as server:
        result = only(server.client())
    assert isinstance(result, ChatAnswer)
    assert result.text == answer


def test_further_fields_are_sent_with_each_request() -> None:
    with stand_in_server(lambda body: (200, completion("hello"))) as server:
        only(server.client(extra_body={"top_k": 20, "stop": ["<end>"], "chat_template_kwargs": {"x": 1}}))
        [body] = server.received
    assert (body["top_k"], body["stop"], body["chat_template_kwargs"]) == (20, ["<end>"], {"x": 1})
    assert body["max_tokens"] == HELLO.max_tokens


def test_every_place_is_taken_at_the_same_time() -> None:
    all_are_here = threading.Barrier(48)

    def answer(body: dict[str, Any]) -> tuple[int, bytes]:
        all_are_here.wait(30)
        return 200, completion("hello")

    with stand_in_server(answer) as server:
        results = list(server.client(concurrency=48, max_retries=0).complete_all((i, HELLO) for i in range(96)))
    assert all(isinstance(result, ChatAnswer) for _, result in results)


def test_a_key_that_is_not_set_is_named() -> None:
    with pytest.raises(EngineUnavailable, match="TEST_NO_SUCH_KEY holds no API key"):
        ChatClient("http://127.0.0.1:9/v1", "m", api_key_env="TEST_NO_SUCH_KEY")


def test_no_more_requests_are_made_than_there_are_places() -> None:
    made: list[int] = []

    def requests() -> Any:
        for i in range(20):
            made.append(i)
            yield i, HELLO

    with stand_in_server(lambda body: (200, completion("hello"))) as server:
        results = server.client(concurrency=3).complete_all(requests())
        for taken, _ in enumerate(results, 1):
            assert len(made) <= taken + 3
        assert sorted(made) == list(range(20))
        assert len(server.received) == 20


def test_a_consumer_may_stop_early() -> None:
    with stand_in_server(lambda body: (200, completion("hello"))) as server:
        results = server.client(concurrency=2).complete_all((i, HELLO) for i in range(100))
        next(results)
        results.close()
        assert len(server.received) < 10


def test_requests_after_a_server_died_fail_at_once() -> None:
    others = language_models()
    with embedded_llm_server() as url:
        client = ChatClient(url, embedded_llm_identity().model, concurrency=2, max_retries=1)
        client.check()
        taken = 0

        def requests() -> Any:
            nonlocal taken
            for taken in range(200):
                yield taken, HELLO

        results = client.complete_all(requests())
        _, first = next(results)
        [child] = language_models() - others
        os.kill(child, signal.SIGKILL)
        rest = [result for _, result in results]
    assert isinstance(first, ChatAnswer)
    failures = [result for result in rest if isinstance(result, Exception)]
    assert len(rest) == 199
    assert len(failures) >= 195
    assert all(isinstance(failure, TransientError) for failure in failures)
    assert sum("not sent" in str(failure) for failure in failures) >= 190


def language_models() -> set[int]:
    """This process's children that serve the language model."""
    found = set()
    for status in Path("/proc").glob("[0-9]*/stat"):
        try:
            parent = int(status.read_text().rpartition(")")[2].split()[1])
            command = status.with_name("cmdline").read_bytes()
        except OSError:
            continue
        if parent == os.getpid() and b"resources.llama_server" in command:
            found.add(int(status.parent.name))
    return found


def test_the_language_model_ends_with_a_parent_that_is_killed() -> None:
    program = (
        "from resources.llama_server import embedded_llm_server\n"
        "with embedded_llm_server() as url:\n"
        "    print(url, flush=True)\n"
        "    input()\n"
    )
    parent = subprocess.Popen([sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    client = ChatClient(parent.stdout.readline().strip(), embedded_llm_identity().model)
    client.check()
    parent.kill()
    parent.communicate()
    for _ in range(20):
        try:
            client.check()
        except EngineUnavailable:
            return
    pytest.fail("the server outlived its parent")


def test_a_language_model_that_does_not_start_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(EngineUnavailable, match="did not start"), embedded_llm_server(threads="many"):  # type: ignore[arg-type]
        pass
