"""The web server against slow, greedy and many clients, and how it stops. Real sockets on the loopback."""

from __future__ import annotations

import asyncio
import signal
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import pytest
from starlette.applications import Starlette
from starlette.requests import ClientDisconnect, Request
from starlette.responses import PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route

from app.web import protocol, server
from app.web.protocol import Patience

pytestmark = pytest.mark.anyio
NOBODY_TRUSTED = ()
# The same rules in a twentieth of the time.
QUICK = Patience(head_s=0.25, body_window_s=1.5, body_bytes_per_s=10_000, idle_s=1, trusted=NOBODY_TRUSTED)
HELLO = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"
Line = tuple[asyncio.StreamReader, asyncio.StreamWriter]


class Seen:
    """What the app under the server met."""

    def __init__(self) -> None:
        self.bytes = 0
        self.cut = 0
        self.slow_reading_s = 0.0
        self.streams = 0


def an_app(seen: Seen) -> Starlette:
    async def hello(request: Request) -> Response:
        return PlainTextResponse(f"{request.url.scheme} {request.client.host if request.client else ''}")

    async def take(request: Request) -> Response:
        try:
            async for chunk in request.stream():
                seen.bytes += len(chunk)
                await asyncio.sleep(seen.slow_reading_s)
        except ClientDisconnect:
            seen.cut += 1
            raise
        return PlainTextResponse(str(seen.bytes))

    async def refuse(request: Request) -> Response:
        return PlainTextResponse("no", 413)

    async def watch(request: Request) -> Response:
        stopping: asyncio.Event = request.app.state.stopping

        async def parts() -> AsyncIterator[bytes]:
            seen.streams += 1
            yield b"data: first\n\n"
            await stopping.wait()

        return StreamingResponse(parts(), media_type="text/event-stream")

    async def hang(request: Request) -> Response:
        await asyncio.sleep(60)
        return PlainTextResponse("late")

    app = Starlette(
        routes=[
            Route("/", hello),
            Route("/take", take, methods=["POST"]),
            Route("/refuse", refuse, methods=["POST"]),
            Route("/watch", watch),
            Route("/hang", hang),
        ]
    )
    app.state.stopping = asyncio.Event()
    return app


async def has_started(made: server.Server) -> None:
    for _ in range(500):
        if made.started:
            return
        await asyncio.sleep(0.01)
    raise AssertionError("the server did not start")


@asynccontextmanager
async def running(app: Starlette, patience: Patience) -> AsyncIterator[int]:
    """The app on a free port."""
    listening = socket.create_server(("127.0.0.1", 0))
    made = server.make(app, "127.0.0.1", 0, patience)
    task = asyncio.create_task(made.serve(sockets=[listening]))
    await has_started(made)
    try:
        yield listening.getsockname()[1]
    finally:
        made.stop()
        await task


@asynccontextmanager
async def lines(port: int, many: int = 1) -> AsyncIterator[list[Line]]:
    opened = [await asyncio.open_connection("127.0.0.1", port) for _ in range(many)]
    try:
        yield opened
    finally:
        for _, writer in opened:
            writer.close()


async def closed_within(line: Line, limit_s: float) -> bytes | None:
    """What the server said before it closed; None when it is still open after the limit."""
    said = b""
    try:
        async with asyncio.timeout(limit_s):
            while part := await line[0].read(65536):
                said += part
    except TimeoutError:
        return None
    except ConnectionError:
        return said
    return said


async def said(line: Line) -> bytes:
    """The next answer with a body of known length."""
    head = await asyncio.wait_for(line[0].readuntil(b"\r\n\r\n"), 5)
    [length] = [row for row in head.lower().split(b"\r\n") if row.startswith(b"content-length")]
    return head + await line[0].readexactly(int(length.split(b":")[1]))


async def drip(line: Line, text: bytes, every_s: float) -> None:
    with suppress(ConnectionError):
        for at in range(len(text)):
            line[1].write(text[at : at + 1])
            await line[1].drain()
            await asyncio.sleep(every_s)


async def test_a_head_that_does_not_come_closes_the_line() -> None:
    async with running(an_app(Seen()), QUICK) as port, lines(port, 20) as opened:
        started = time.monotonic()
        drips = [asyncio.create_task(drip(line, HELLO, 0.1)) for line in opened]
        ends = await asyncio.gather(*(closed_within(line, 2) for line in opened))
        took_s = time.monotonic() - started
        await asyncio.gather(*drips)
    assert all(end is not None and end.startswith(b"HTTP/1.1 408") for end in ends)
    assert took_s < 1


async def test_a_line_on_which_nothing_is_said_is_closed_in_silence() -> None:
    async with running(an_app(Seen()), QUICK) as port, lines(port) as [line]:
        assert await closed_within(line, 2) == b""


async def test_a_second_head_on_a_kept_line_is_measured_too() -> None:
    async with running(an_app(Seen()), QUICK) as port, lines(port, 2) as [one, other]:
        for line in (one, other):
            line[1].write(HELLO)
            assert (await said(line)).startswith(b"HTTP/1.1 200")
        one[1].write(HELLO[:10])
        other[1].write(b"\r\n")
        started = time.monotonic()
        assert (await closed_within(one, 2) or b"").startswith(b"HTTP/1.1 408")
        assert await closed_within(other, 2) is not None
        assert time.monotonic() - started < 0.9


async def test_a_quiet_kept_line_is_closed_after_its_idle_time() -> None:
    async with running(an_app(Seen()), QUICK) as port, lines(port) as [line]:
        line[1].write(HELLO)
        await said(line)
        assert await closed_within(line, 0.5) is None
        assert await closed_within(line, 2) == b""


async def test_requests_sent_at_once_are_all_answered() -> None:
    async with running(an_app(Seen()), QUICK) as port, lines(port) as [line]:
        line[1].write(HELLO * 5)
        for _ in range(5):
            assert (await said(line)).endswith(b"http 127.0.0.1")


@pytest.mark.parametrize("shape", ["one long header", "many headers", "a long address"])
async def test_a_head_above_64_kib_is_refused(shape: str) -> None:
    filler = {
        "one long header": b"GET / HTTP/1.1\r\nHost: x\r\nX-A: " + b"a" * 5_000_000,
        "many headers": b"GET / HTTP/1.1\r\n"
        + b"".join(b"X-%d: %s\r\n" % (n, b"a" * 90) for n in range(800)),
        "a long address": b"GET /" + b"a" * 70_000 + b" HTTP/1.1\r\nHost: x\r\n",
    }[shape]
    async with running(an_app(Seen()), QUICK) as port, lines(port) as [line]:
        with suppress(ConnectionError):
            line[1].write(filler + b"\r\n\r\n")
        end = await closed_within(line, 3)
    # A client that still sends may see a reset instead of the words.
    assert end is not None
    assert end == b"" or end.startswith(b"HTTP/1.1 431")


async def test_a_head_just_below_64_kib_is_answered() -> None:
    async with running(an_app(Seen()), QUICK) as port, lines(port) as [line]:
        line[1].write(b"GET / HTTP/1.1\r\nHost: x\r\nX-A: " + b"a" * 65_400 + b"\r\n\r\n")
        assert (await said(line)).startswith(b"HTTP/1.1 200")


def upload(length: int) -> bytes:
    return b"POST /take HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % length


async def test_a_body_below_10_kb_a_second_is_cut() -> None:
    seen = Seen()
    async with running(an_app(seen), QUICK) as port, lines(port, 5) as opened:
        started = time.monotonic()
        for line in opened:
            line[1].write(upload(100_000))
        drips = [asyncio.create_task(drip(line, b"a" * 100, 0.05)) for line in opened]
        ends = await asyncio.gather(*(closed_within(line, 5) for line in opened))
        took_s = time.monotonic() - started
        await asyncio.gather(*drips)
    assert all(end is not None and end.startswith(b"HTTP/1.1 408") for end in ends)
    assert 1.2 < took_s < 3
    assert seen.cut == 5


async def test_a_body_that_comes_fast_enough_may_take_longer_than_the_window() -> None:
    seen = Seen()
    async with running(an_app(seen), QUICK) as port, lines(port) as [line]:
        line[1].write(upload(40 * 2_000))
        for _ in range(40):
            line[1].write(b"a" * 2_000)
            await line[1].drain()
            await asyncio.sleep(0.08)
        assert (await said(line)).endswith(b"80000")


async def test_a_slow_reader_on_our_side_is_not_the_senders_fault() -> None:
    seen = Seen()
    seen.slow_reading_s = 0.5
    async with running(an_app(seen), QUICK) as port, lines(port) as [line]:
        line[1].write(upload(700_000) + b"a" * 700_000)
        assert (await said(line)).endswith(b"700000")


async def test_what_still_comes_after_a_refusal_is_not_waited_for() -> None:
    async with running(an_app(Seen()), QUICK) as port, lines(port) as [line]:
        line[1].write(b"POST /refuse HTTP/1.1\r\nHost: x\r\nContent-Length: 100000000\r\n\r\nabc")
        assert (await said(line)).startswith(b"HTTP/1.1 413")
        dripping = asyncio.create_task(drip(line, b"a" * 50, 0.05))
        assert await closed_within(line, 1) is not None
        await dripping


async def test_one_address_has_twenty_lines_and_then_the_others_still_get_through() -> None:
    patience = Patience(trusted=NOBODY_TRUSTED)
    async with running(an_app(Seen()), patience) as port:
        async with lines(port, 20) as full, lines(port, 3) as beyond:
            ends = [await closed_within(line, 2) for line in beyond]
            assert all(end is not None and end.startswith(b"HTTP/1.1 429") for end in ends)
            full[-1][1].write(HELLO)
            assert (await said(full[-1])).startswith(b"HTTP/1.1 200")
        await asyncio.sleep(0.1)
        async with lines(port, 20) as again:
            again[-1][1].write(HELLO)
            assert (await said(again[-1])).startswith(b"HTTP/1.1 200")


async def test_a_trusted_proxy_is_not_counted_and_its_word_is_taken() -> None:
    async with running(an_app(Seen()), Patience()) as port, lines(port, 30) as opened:
        forwarded = b"X-Forwarded-For: 203.0.113.9\r\nX-Forwarded-Proto: https\r\n\r\n"
        opened[-1][1].write(HELLO[:-2] + forwarded)
        assert (await said(opened[-1])).endswith(b"https 203.0.113.9")


async def test_the_word_of_a_stranger_is_not_taken() -> None:
    async with running(an_app(Seen()), QUICK) as port, lines(port) as [line]:
        line[1].write(HELLO[:-2] + b"X-Forwarded-For: 1.2.3.4\r\nX-Forwarded-Proto: https\r\n\r\n")
        assert (await said(line)).endswith(b"http 127.0.0.1")


async def test_all_lines_together_have_a_limit() -> None:
    async with running(an_app(Seen()), Patience(in_all=5)) as port, lines(port, 5), lines(port) as [line]:
        end = await closed_within(line, 2)
    assert end is not None
    assert end.startswith(b"HTTP/1.1 503")
    assert b"retry-after" in end


@pytest.mark.parametrize(
    "junk", [b"\x16\x03\x01\x02", b"GET\r\n\r\n", b"\x00" * 1000, b"GET / HTTP/9.9\r\n\r\n"]
)
async def test_what_is_no_http_is_refused(junk: bytes) -> None:
    async with running(an_app(Seen()), QUICK) as port, lines(port) as [line]:
        line[1].write(junk)
        end = await closed_within(line, 2)
    assert end is not None
    assert end.startswith((b"HTTP/1.1 400", b"HTTP/1.1 408"))


async def test_stopping_ends_open_streams_at_once() -> None:
    seen = Seen()
    app = an_app(seen)
    listening = socket.create_server(("127.0.0.1", 0))
    made = server.make(app, "127.0.0.1", 0, Patience())
    task = asyncio.create_task(made.serve(sockets=[listening]))
    await has_started(made)
    async with lines(listening.getsockname()[1], 10) as opened:
        for line in opened:
            line[1].write(HELLO.replace(b"/ ", b"/watch ", 1))
            await asyncio.wait_for(line[0].readuntil(b"first"), 5)
        started = time.monotonic()
        made.stop()
        await asyncio.wait_for(task, 5)
        assert time.monotonic() - started < 1
    assert seen.streams == 10


PROGRAM = """
import asyncio, sys
from contextlib import asynccontextmanager
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse, StreamingResponse
from starlette.routing import Route
from app.web import server

async def hello(request):
    return PlainTextResponse("hello")

async def hang(request):
    await asyncio.sleep(60)

async def watch(request):
    async def parts():
        yield b"first"
        await request.app.state.stopping.wait()
    return StreamingResponse(parts())

@asynccontextmanager
async def lifespan(app):
    yield
    if sys.argv[2] == "stubborn":
        await asyncio.sleep(60)

app = Starlette(routes=[Route("/", hello), Route("/hang", hang), Route("/watch", watch)], lifespan=lifespan)
app.state.stopping = asyncio.Event()
try:
    server.serve(app, "127.0.0.1", int(sys.argv[1]))
    print("after", flush=True)
finally:
    print("finally", flush=True)
"""


def start_process(port: int, how: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", PROGRAM, str(port), how],
        stdout=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parents[2],
    )


@asynccontextmanager
async def a_process(how: str) -> AsyncIterator[tuple[subprocess.Popen[str], int]]:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    process = start_process(port, how)
    try:
        for _ in range(200):
            with suppress(OSError):
                _, writer = await asyncio.open_connection("127.0.0.1", port)
                writer.close()
                break
            await asyncio.sleep(0.05)
        yield process, port
    finally:
        if process.poll() is None:
            process.kill()
        process.communicate()


async def ended(process: subprocess.Popen[str]) -> tuple[int, str, float]:
    started = time.monotonic()
    out, _ = await asyncio.to_thread(process.communicate, timeout=10)
    return process.returncode, out, time.monotonic() - started


@pytest.mark.parametrize("stop_by", [signal.SIGTERM, signal.SIGINT])
async def test_a_signal_ends_the_process_in_order(stop_by: signal.Signals) -> None:
    async with a_process("plain") as (process, port), lines(port, 3) as opened:
        for line in opened:
            line[1].write(HELLO.replace(b"/ ", b"/watch ", 1))
            await asyncio.wait_for(line[0].readuntil(b"first"), 5)
        process.send_signal(stop_by)
        code, out, took_s = await ended(process)
    assert (code, out.split()) == (0, ["after", "finally"])
    assert took_s < 1.5


@pytest.mark.parametrize(("how", "ask"), [("plain", b"/hang "), ("stubborn", b"/ ")])
async def test_the_process_ends_within_three_seconds_whatever_hangs(how: str, ask: bytes) -> None:
    async with a_process(how) as (process, port), lines(port) as [line]:
        line[1].write(HELLO.replace(b"/ ", ask, 1))
        await line[1].drain()
        await asyncio.sleep(0.2)
        process.send_signal(signal.SIGTERM)
        code, _, took_s = await ended(process)
    assert code == 0
    assert took_s < 3.5


def test_every_server_counts_for_itself() -> None:
    one, other = protocol.connection_class(QUICK), protocol.connection_class(QUICK)
    assert one.counted is not other.counted
