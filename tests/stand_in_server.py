"""A stand-in chat server for what the embedded language model can't show: pictures, and failures on command."""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from resources.chat import ChatClient
from tests.http_server import JsonHandler, serving


class StandInServer:
    """Speaks the chat API without a model: `answer(body)` gives status and body of a reply, and headers if it likes;
    None to hang up.

    It shows what is sent and how replies are treated. It doesn't validate requests as a real server does, and says
    nothing of a vision model's answers.
    """

    def __init__(self) -> None:
        self.url = ""
        self.received: list[dict[str, Any]] = []

    def client(self, **options: Any) -> ChatClient:
        return ChatClient(self.url, "stand-in", **options)


def completion(text: str | None, finish_reason: str = "stop") -> bytes:
    message = {"role": "assistant", "content": text}
    choice = {"index": 0, "finish_reason": finish_reason, "message": message}
    usage = {"prompt_tokens": 7, "completion_tokens": 3, "total_tokens": 10}
    whole = {"id": "1", "object": "chat.completion", "created": 0, "model": "stand-in", "choices": [choice]}
    return json.dumps(whole | {"usage": usage}).encode()


Answer = Callable[[dict[str, Any]], tuple[int, bytes] | tuple[int, bytes, dict[str, str]] | None]


@contextmanager
def stand_in_server(answer: Answer) -> Iterator[StandInServer]:
    class Handler(JsonHandler):
        def do_GET(self) -> None:  # noqa: N802
            self.reply(200, json.dumps({"object": "list", "data": [{"id": "stand-in", "object": "model"}]}).encode())

        def do_POST(self) -> None:  # noqa: N802
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            server.received.append(body | {"authorization": self.headers["Authorization"]})
            reply = answer(body)
            if reply is None:
                self.close_connection = True
            else:
                self.reply(*reply)

    server = StandInServer()
    with serving(Handler) as address:
        server.url = f"{address}/v1"
        yield server
