"""A stand-in chat server for what the embedded language model can't show: pictures, and failures on command."""

import json
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import MappingProxyType
from typing import Any

from resources.chat import ChatClient


class StandInServer:
    """Speaks the chat API without a model: `answer(body)` gives status and body of a reply, and headers if it likes;
    None to hang up.

    It shows what is sent and how replies are treated. It doesn't validate requests as a real server does, and says
    nothing of a vision model's answers.
    """

    def __init__(self, url: str) -> None:
        self.url = url
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
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self._reply(200, json.dumps({"object": "list", "data": [{"id": "stand-in", "object": "model"}]}).encode())

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            server.received.append(body | {"authorization": self.headers["Authorization"]})
            reply = answer(body)
            if reply is None:
                self.close_connection = True
            else:
                with suppress(ConnectionError):  # the client has stopped waiting
                    self._reply(*reply)

        def _reply(self, status: int, body: bytes, headers: Mapping[str, str] = MappingProxyType({})) -> None:
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: Any) -> None:
            pass

    class Http(ThreadingHTTPServer):
        request_queue_size = 128  # connections that wait to be taken

    http = Http(("127.0.0.1", 0), Handler)
    server = StandInServer(f"http://127.0.0.1:{http.server_address[1]}/v1")
    thread = threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        http.shutdown()
        http.server_close()
        thread.join()
