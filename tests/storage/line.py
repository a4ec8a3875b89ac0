"""A line to the S3 server that loses, cuts and refuses what a test arms it for, and remembers what passed."""

from __future__ import annotations

import contextlib
import http.client
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Literal
from urllib.parse import urlsplit

Fault = Literal[
    "lose the answer", "lose the request", "cut the body", "hold the body", "SlowDown", "AccessDenied",
    "NotImplemented",
]  # fmt: skip
BUCKET = "videos"
STATUS = {"SlowDown": 503, "AccessDenied": 403, "NotImplemented": 501}


@dataclass
class Line:
    """`armed` are faults still to come: method, a piece of the address or of a header's name, and what happens.

    A held body comes by half, `holds` says so, and the rest when `let_go` is set.
    """

    address: str = ""
    armed: list[tuple[str, str, Fault]] = field(default_factory=list)
    seen: list[tuple[str, str, dict[str, str]]] = field(default_factory=list)
    holds: threading.Event = field(default_factory=threading.Event)
    let_go: threading.Event = field(default_factory=threading.Event)

    def arm(self, method: str, piece: str, fault: Fault, times: int = 1) -> None:
        self.armed += [(method, piece, fault)] * times

    def take(self, method: str, path: str, headers: dict[str, str]) -> Fault | None:
        self.seen.append((method, path, headers))
        for place, (wanted, piece, fault) in enumerate(self.armed):
            if method == wanted and (piece in path or piece in headers):
                self.armed.pop(place)
                return fault
        return None


@contextmanager
def a_line_to(server: str) -> Iterator[Line]:
    line = Line()
    host = urlsplit(server).netloc

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def pass_on(self) -> None:
            headers = {name.lower(): value for name, value in self.headers.items()}
            body = self.rfile.read(int(headers.get("content-length", 0)))
            fault = line.take(self.command, self.path, headers)
            if fault in STATUS:
                said = f"<Error><Code>{fault}</Code><Message>no</Message></Error>".encode()
                self.answer(STATUS[fault], {}, b"" if self.command == "HEAD" else said, len(said))
                return
            if fault == "lose the request":
                self.close_connection = True
                return
            there = http.client.HTTPConnection(host)
            there.request(self.command, self.path, body, headers)
            got = there.getresponse()
            answer = got.read()
            there.close()
            if fault == "lose the answer":
                self.close_connection = True
                return
            length = int(got.headers.get("content-length", len(answer)))
            if fault == "cut the body":
                answer = answer[: len(answer) // 2]
                self.close_connection = True
            self.answer(got.status, dict(got.headers), answer, length, held=fault == "hold the body")

        def answer(
            self, status: int, headers: dict[str, str], body: bytes, length: int, *, held: bool = False
        ) -> None:
            self.send_response(status)
            for name, value in headers.items():
                if name.lower() not in (
                    "content-length",
                    "transfer-encoding",
                    "connection",
                    "server",
                    "date",
                ):
                    self.send_header(name, value)
            self.send_header("Content-Length", str(length))
            self.end_headers()
            if held:
                half = len(body) // 2
                self.wfile.write(body[:half])
                line.holds.set()
                line.let_go.wait(60)
                body = body[half:]
            with contextlib.suppress(ConnectionError):
                self.wfile.write(body)

        do_GET = do_PUT = do_POST = do_DELETE = do_HEAD = pass_on

        def log_message(self, format: str, *args: object) -> None:
            pass

    relay = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    relay.daemon_threads = True
    line.address = f"http://127.0.0.1:{relay.server_port}"
    thread = threading.Thread(target=relay.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    yield line
    line.let_go.set()
    relay.shutdown()
    thread.join()
    relay.server_close()
