"""An HTTP proxy that stands before an object store and fails when it is told to.

    with faulty_proxy(store.url) as proxy:
        proxy.fault = lambda method, path: Fault(status=503) if method == "PUT" else None

`fault` is asked once for every request, so a closure that counts scripts faults by number, method or key.
`path` is the quoted path with its query: `/bucket/key`, `/bucket?list-type=2&prefix=...`.
"""

import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.client import HTTPConnection, HTTPException
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import urlsplit

_ERROR_CODES = {
    403: "AccessDenied",
    404: "NoSuchKey",
    409: "OperationAborted",
    500: "InternalError",
    503: "SlowDown",
}
_FOR_ONE_CONNECTION = {"connection", "keep-alive", "transfer-encoding", "content-length", "date", "server"}


@dataclass(frozen=True)
class Fault:
    """What becomes of one request. Without a status it reaches the store.

    `status`: answered so by the proxy, with an S3 error body, instead of the store. `delay_s`: waited before anything
    else. `cut_after`: bytes of the answer's body after which the connection is reset; 0 resets it before the first
    line of the answer, when the request has already had its effect. `refuse`: reset before the request reaches the
    store.
    """

    status: int | None = None
    delay_s: float = 0.0
    cut_after: int | None = None
    refuse: bool = False


@dataclass(frozen=True)
class Request:
    """A request as it came, names of headers in lower case; `status` is what the client got, None for nothing."""

    method: str
    path: str
    headers: Mapping[str, str]
    status: int | None
    sent_bytes: int  # of the answer's body
    faulted: bool


@dataclass
class Proxy:
    """Change `fault` at any time; `requests` are all so far."""

    url: str
    fault: Callable[[str, str], Fault | None] | None = None
    requests: list[Request] = field(default_factory=list)

    def count(self, method: str, part_of_path: str = "") -> int:
        return sum(request.method == method and part_of_path in request.path for request in self.requests)


@contextmanager
def faulty_proxy(upstream_url: str) -> Iterator[Proxy]:
    """A proxy on a free port of 127.0.0.1 before the server at `upstream_url`."""
    server = _Server(("127.0.0.1", 0), _Handler)
    server.upstream = urlsplit(upstream_url).netloc
    server.proxy = Proxy(f"http://127.0.0.1:{server.server_port}")
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield server.proxy
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False  # clients keep connections open
    request_queue_size = 128
    upstream: str
    proxy: Proxy

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Clients that went away are none of the test's business."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server

    def setup(self) -> None:
        super().setup()
        self.connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, True)
        self.upstream = HTTPConnection(self.server.upstream, timeout=60)

    def finish(self) -> None:
        self.upstream.close()
        with suppress(OSError):
            super().finish()

    def log_message(self, *_: Any) -> None:
        pass

    def __getattr__(self, name: str) -> Any:
        if name.startswith("do_"):
            return self._handle
        raise AttributeError(name)

    def _handle(self) -> None:
        body = self._body()
        decide = self.server.proxy.fault
        fault = (decide(self.command, self.path) if decide else None) or Fault()
        time.sleep(fault.delay_s)
        if fault.refuse:
            self._log(None, 0, fault)
            return self._reset()
        if fault.status is not None:
            code = _ERROR_CODES.get(fault.status, "InternalError")
            text = f"<?xml version='1.0'?><Error><Code>{code}</Code><Message>as told</Message></Error>".encode()
            return self._answer(fault.status, {"Content-Type": "application/xml"}, text, fault)
        status, headers, text = self._forward(body)
        return self._answer(status, headers, text, fault)

    def _body(self) -> bytes:
        if self.headers.get("Expect", "").lower() == "100-continue":
            self.send_response_only(100)
            self.end_headers()
        if "chunked" in self.headers.get("Transfer-Encoding", ""):
            body = b""
            while size := int(self.rfile.readline().split(b";")[0], 16):
                body += self.rfile.read(size)
                self.rfile.readline()
            while self.rfile.readline().strip():
                pass
            return body
        return self.rfile.read(int(self.headers.get("Content-Length", 0)))

    def _forward(self, body: bytes) -> tuple[int, dict[str, str], bytes]:
        headers = {name: value for name, value in self.headers.items() if name.lower() not in _FOR_ONE_CONNECTION}
        headers.pop("Expect", None)
        if body or self.command in ("PUT", "POST"):
            headers["Content-Length"] = str(len(body))
        for attempt in (1, 2):  # the store may have closed an idle connection
            try:
                self.upstream.request(self.command, self.path, body, headers)
                answer = self.upstream.getresponse()
                text = answer.read()
                break
            except (HTTPException, OSError):
                self.upstream.close()
                if attempt == 2:
                    raise
        kept = {name: value for name, value in answer.getheaders() if name.lower() not in _FOR_ONE_CONNECTION}
        if self.command == "HEAD":
            kept["Content-Length"] = answer.getheader("Content-Length") or "0"
        return answer.status, kept, text

    def _answer(self, status: int, headers: Mapping[str, str], body: bytes, fault: Fault) -> None:
        cut = fault.cut_after
        sent = 0 if self.command == "HEAD" else len(body) if cut is None else min(cut, len(body))
        self._log(None if cut == 0 else status, sent, fault)
        if cut == 0:
            return self._reset()
        self.send_response_only(status)
        for name, value in headers.items():
            self.send_header(name, value)
        if self.command != "HEAD":
            self.send_header("Content-Length", str(len(body)))
        elif "Content-Length" not in headers:
            self.send_header("Content-Length", "0")
        self.end_headers()
        self.wfile.write(body[:sent])
        self.wfile.flush()
        if cut is not None and cut < len(body):
            self._reset()
        return None

    def _reset(self) -> None:
        """Close with a reset, as a crashed server does."""
        self.close_connection = True
        linger = (1).to_bytes(4, "little") + (0).to_bytes(4, "little")
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        self.connection.shutdown(socket.SHUT_RD)
        self.connection.close()

    def _log(self, status: int | None, sent_bytes: int, fault: Fault) -> None:
        headers = {name.lower(): value for name, value in self.headers.items()}
        request = Request(self.command, self.path, headers, status, sent_bytes, fault != Fault())
        self.server.proxy.requests.append(request)
