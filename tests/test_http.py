"""Calls out of the house against real servers on the loopback, well behaved and not."""

from __future__ import annotations

import asyncio
import gzip
import logging
import ssl
import tracemalloc
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from app import http
from app.errors import HouseError, NotFound, Permanent, Refused, Retryable, Unsure

pytestmark = pytest.mark.anyio
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Type: text/plain\r\n\r\nok"
SECRET = "upload_token=verysecret"


@dataclass
class Heard:
    """What a server was sent, request by request."""

    heads: list[str] = field(default_factory=list)
    bodies: list[bytes] = field(default_factory=list)
    url: str = ""
    port: int = 0


Answering = Callable[[Heard, asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@asynccontextmanager
async def serving(answer: bytes | Answering, tls: ssl.SSLContext | None = None) -> AsyncIterator[Heard]:
    """A server that reads each request and sends `answer`, or does with the line what `answer` does."""
    heard = Heard()

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
                heard.heads.append(head)
                length = [line for line in head.split("\r\n") if line.lower().startswith("content-length")]
                size = int(length[0].split(":")[1]) if length else 0
                if not isinstance(answer, bytes):
                    await answer(heard, reader, writer)
                    return
                heard.bodies.append(await reader.readexactly(size))
                writer.write(answer)
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(connected, "127.0.0.1", 0, ssl=tls)
    heard.port = server.sockets[0].getsockname()[1]
    heard.url = f"http://127.0.0.1:{heard.port}"
    try:
        yield heard
    finally:
        server.close()
        await http.close()


async def cut(heard: Heard, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Close the line without a word."""


def says(text: bytes) -> Answering:
    async def answer(heard: Heard, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(text)
        await writer.drain()

    return answer


async def hang(heard: Heard, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.read()


async def drip(heard: Heard, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n")
    for _ in range(1000):
        writer.write(b"x")
        await writer.drain()
        if reader.at_eof():
            return
        await asyncio.sleep(0.02)


async def failure(call: Awaitable[object]) -> HouseError:
    with pytest.raises(HouseError) as caught:
        await call
    return caught.value


async def test_an_answer_comes_back_whole_with_lower_case_headers() -> None:
    async with serving(OK) as server:
        answer = await http.request("GET", server.url + "/a", params={"b": "1"}, headers={"X-Y": "z"})
        assert (answer.status, answer.text, answer.headers["content-type"]) == (200, "ok", "text/plain")
        assert server.heads[0].startswith("GET /a?b=1 HTTP/1.1")
        assert "user-agent: backlot" in server.heads[0].lower()
        assert 0 < answer.seconds < 5


async def test_json_and_form_bodies_arrive_as_such() -> None:
    async with serving(OK) as server:
        await http.request(
            "POST", server.url, json={"a": 1}, headers={"Content-Type": "application/json; charset=UTF-8"}
        )
        await http.request("POST", server.url, form={"a": "ü&"})
        assert server.bodies == [b'{"a":1}', b"a=%C3%BC%26"]
        assert "application/json; charset=utf-8" in server.heads[0].lower()
        assert "application/x-www-form-urlencoded" in server.heads[1].lower()


async def test_a_streamed_body_goes_with_the_length_we_gave_and_not_in_pieces() -> None:
    async def pieces() -> AsyncIterator[bytes]:
        for _ in range(10):
            yield b"x" * 100_000

    async with serving(OK) as server:
        await http.request("PUT", server.url, content=pieces(), headers={"Content-Length": "1000000"})
        assert len(server.bodies[0]) == 1_000_000
        assert "transfer-encoding" not in server.heads[0].lower()


async def test_the_address_is_used_exactly_as_given() -> None:
    async with serving(OK) as server:
        await http.request("PUT", server.url + "/video/?upload_id=7421&upload_token=a%2Fb~c.d_e-f%3D%3D+g=")
        assert server.heads[0].startswith(
            "PUT /video/?upload_id=7421&upload_token=a%2Fb~c.d_e-f%3D%3D+g= HTTP"
        )


async def test_error_answers_and_redirects_are_answers() -> None:
    async with serving(b"HTTP/1.1 302 Found\r\nLocation: /b\r\nContent-Length: 0\r\n\r\n") as server:
        assert (await http.request("GET", server.url)).status == 302
        assert len(server.heads) == 1
    async with serving(b"HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n") as server:
        assert (await http.request("GET", server.url)).status == 503


async def test_cookies_of_one_call_do_not_travel_with_the_next() -> None:
    answer = b"HTTP/1.1 200 OK\r\nSet-Cookie: who=me\r\nContent-Length: 0\r\n\r\n"
    async with serving(answer) as server:
        await http.request("GET", server.url)
        await http.request("GET", server.url)
        assert "who=me" not in server.heads[1]


async def test_junk_in_place_of_json_is_told_as_unreadable() -> None:
    async with serving(b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\n<html>") as server:
        answer = await http.request("GET", server.url)
        with pytest.raises(Retryable) as caught:
            answer.json()
        assert caught.value.code == "unreadable_answer"


@pytest.mark.parametrize("irreversible", [False, True])
async def test_nothing_sent_is_retryable_even_when_irreversible(irreversible: bool) -> None:
    async with serving(OK) as server:
        port = server.port
    for url in (f"http://127.0.0.1:{port}/?{SECRET}", f"http://no-such-host.invalid/?{SECRET}"):
        error = await failure(http.request("POST", url, irreversible=irreversible))
        assert isinstance(error, Retryable) and error.code == "not_reached"
        assert "verysecret" not in str(error)


@pytest.mark.parametrize(
    "line",
    [
        cut,
        says(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf"),
        says(b"HTTP/1.1 200 OK\r\nContent-Le"),
        says(b"no http at all\r\n\r\n"),
        says(b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 4\r\n\r\njunk"),
        says(b"HTTP/1.1 200 OK\r\nContent-Length: 99999999\r\n\r\n"),
    ],
    ids=["cut", "half a body", "half a head", "no http", "no gzip", "too large"],
)
async def test_a_lost_answer_is_unsure_only_where_it_matters(line: Answering) -> None:
    async with serving(line) as server:
        url = f"{server.url}/?{SECRET}"
        harmless = await failure(http.request("POST", url, headers={"Authorization": "Bearer verysecret"}))
        assert isinstance(harmless, Retryable) and harmless.code == "answer_lost"
        grave = await failure(http.request("POST", url, json={"token": "verysecret"}, irreversible=True))
        assert isinstance(grave, Unsure) and grave.code == "answer_lost"
        for error in (harmless, grave, harmless.__cause__, grave.__cause__):
            assert "verysecret" not in repr(error) + str(error)
        assert len(server.heads) == 2


@pytest.mark.parametrize("line", [hang, drip], ids=["silent", "a byte now and then"])
async def test_the_whole_call_ends_within_its_time_limit(line: Answering) -> None:
    async with serving(line) as server:
        begun = asyncio.get_running_loop().time()
        error = await failure(http.request("GET", server.url, timeout_s=0.3, irreversible=True))
        assert isinstance(error, Unsure) and "0.3 s" in error.message
        assert asyncio.get_running_loop().time() - begun < 1.5


async def test_an_answer_before_the_whole_body_was_sent_is_still_an_answer() -> None:
    async def pieces() -> AsyncIterator[bytes]:
        for _ in range(400):
            yield b"x" * 100_000

    async with serving(says(b"HTTP/1.1 403 No\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")) as server:
        try:
            answer = await http.request(
                "PUT", server.url, content=pieces(), headers={"Content-Length": "40000000"}, timeout_s=5
            )
            assert answer.status == 403
        except Retryable as error:
            # A reset may overtake the answer; then it counts as lost.
            assert error.code == "answer_lost"


async def test_a_failure_of_our_own_body_comes_through_as_it_is() -> None:
    async def pieces() -> AsyncIterator[bytes]:
        yield b"x"
        raise NotFound("The file is gone.")

    async with serving(OK) as server:
        call = http.request(
            "PUT", server.url, content=pieces(), headers={"Content-Length": "9"}, irreversible=True
        )
        assert isinstance(await failure(call), NotFound)
        assert server.bodies == []


async def test_an_address_that_is_none_is_permanent_and_not_quoted() -> None:
    for url in (f"http://h:port/{SECRET}", f"ftp://h/{SECRET}", f"/{SECRET}"):
        error = await failure(http.request("GET", url))
        assert isinstance(error, Permanent) and "verysecret" not in repr(error)


async def test_a_compressed_answer_is_counted_unpacked() -> None:
    bomb = gzip.compress(b"\0" * 200_000_000, 6)
    head = f"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: {len(bomb)}\r\n\r\n".encode()
    async with serving(head + bomb) as server:
        tracemalloc.start()
        error = await failure(http.request("GET", server.url))
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert isinstance(error, Retryable)
        assert peak < 30_000_000


async def test_a_proxy_in_the_environment_is_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    monkeypatch.setenv("ALL_PROXY", "http://127.0.0.1:9")
    await http.close()
    async with serving(OK) as server:
        assert (await http.request("GET", server.url)).status == 200


async def test_no_line_of_any_library_names_the_address(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING)
    async with serving(OK) as server:
        await http.request("GET", f"{server.url}/?{SECRET}")
    assert "verysecret" not in caplog.text


async def test_closing_twice_and_calling_after_is_fine() -> None:
    async with serving(OK) as server:
        await http.request("GET", server.url)
        await http.close()
        await http.close()
        assert (await http.request("GET", server.url)).status == 200


# Addresses that people gave us

ELSEWHERE = "93.184.216.34"


def inside(port: int, names: dict[str, Sequence[str]] | None = None) -> http.Network:
    """An internet of our own: every name has a public address, and behind all of them is our server."""

    async def addresses(host: str, _: int) -> Sequence[str]:
        return (names or {}).get(host, [ELSEWHERE])

    return http.Network(addresses=addresses, dial=lambda address, _: ("127.0.0.1", port))


NOT_PUBLIC = [
    "127.0.0.1", "127.8.8.8", "::1", "10.0.0.1", "10.255.255.255", "172.16.0.1", "172.31.255.255",
    "192.168.1.1", "169.254.169.254", "100.64.0.1", "100.100.100.200", "0.0.0.0", "0.1.2.3", "192.0.0.192",
    "192.0.2.1", "198.18.0.1", "198.51.100.1", "203.0.113.9", "224.0.0.1", "239.255.255.255", "240.0.0.1",
    "255.255.255.255", "168.63.129.16", "192.88.99.1", "::", "::ffff:127.0.0.1", "::ffff:8.8.8.8",
    "::127.0.0.1", "64:ff9b::7f00:1", "64:ff9b::a00:1", "64:ff9b:1::1", "2002:7f00:1::", "2002:a00:1::1",
    "2001::1", "2001:db8::1", "2001:10::1", "fe80::1", "fe80::1%eth0", "fc00::1", "fd00:ec2::254",
    "ff02::1", "3fff::1", "100::1", "5f00::1", "fec0::1", "nonsense",
]  # fmt: skip


@pytest.mark.parametrize("address", NOT_PUBLIC)
async def test_an_address_outside_the_open_internet_is_refused(address: str) -> None:
    assert not http.is_public(address)
    async with serving(OK) as server:
        for known in ([address], [ELSEWHERE, address]):
            call = http.fetch_public("http://looks.fine/", network=inside(server.port, {"looks.fine": known}))
            error = await failure(call)
            assert isinstance(error, Refused) and error.code == "address_refused"
        assert server.heads == []


def test_addresses_of_the_open_internet_pass() -> None:
    for address in ("8.8.8.8", "93.184.216.34", "172.32.0.1", "2606:4700::1111", "2a00:1450:4001::200e"):
        assert http.is_public(address)


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1/", "http://127.0.0.1./", "http://[::1]/", "http://[::ffff:127.0.0.1]/",
        "http://[64:ff9b::7f00:1]/", "http://[2002:7f00:1::]/", "http://10.1.2.3/",
        "http://169.254.169.254/latest/meta-data/", "http://0.0.0.0/", "http://0/", "http://2130706433/",
        "http://0x7f000001/", "http://0x7f.1/", "http://127.1/", "http://0177.0.0.1/",
        "http://017700000001/", "http://user@example.com/", "http://user:word@example.com/",
        "http://@example.com/", "http://example.com:8080/", "https://example.com:22/",
        "http://example.com:0/", "ftp://example.com/", "file:///etc/passwd", "gopher://example.com/",
        "//example.com/", "example.com", "http:///", "http://127.0.0.1\\@example.com/",
        "http://exa%00mple.com/", "http://１２７.0.0.1/", "http://[fe80::1%25eth0]/", "javascript:alert(1)",
        "http://example.com:80:80/", "http://①②⑦.⓪.⓪.①/",
    ],
)  # fmt: skip
async def test_an_address_that_hides_something_is_refused_before_anything_is_sent(url: str) -> None:
    async with serving(OK) as server:
        error = await failure(http.fetch_public(url, network=inside(server.port)))
        assert isinstance(error, Refused) and error.code == "address_refused", url
        assert server.heads == []


async def test_the_system_resolver_leads_nobody_home() -> None:
    assert (await failure(http.fetch_public("http://localhost/"))).code == "address_refused"


async def test_line_breaks_and_very_long_addresses_are_refused() -> None:
    for url in ("http://example.com/\r\nHost: x", "http://example.com/ x", "http://e.com/" + "a" * 3000):
        assert (await failure(http.fetch_public(url, network=inside(9)))).code == "address_refused"


async def test_a_public_page_is_fetched_from_the_checked_address_under_its_own_name() -> None:
    looked_up: list[str] = []

    async def addresses(host: str, _: int) -> list[str]:
        looked_up.append(host)
        # A name that answers otherwise the second time must not matter: it is asked once.
        return [ELSEWHERE] if len(looked_up) == 1 else ["127.0.0.1"]

    dialled: list[tuple[str, int]] = []
    async with serving(OK) as server:

        def dial(address: str, port: int) -> tuple[str, int]:
            dialled.append((address, port))
            return "127.0.0.1", server.port

        network = http.Network(addresses=addresses, dial=dial)
        answer = await http.fetch_public("http://Example.com/page?a=1#part", network=network)
        assert (answer.status, answer.body) == (200, b"ok")
        assert looked_up == ["example.com"] and dialled == [(ELSEWHERE, 80)]
        assert (
            server.heads[0].startswith("GET /page?a=1 HTTP")
            and "host: example.com\r\n" in server.heads[0].lower()
        )


def redirecting(to: Sequence[str]) -> Answering:
    async def answer(heard: Heard, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        where = to[len(heard.heads) - 1] if len(heard.heads) <= len(to) else ""
        writer.write(
            f"HTTP/1.1 302 Found\r\nLocation: {where}\r\nContent-Length: 0\r\n\r\n".encode() if where else OK
        )
        await writer.drain()

    return answer


async def test_three_redirects_are_followed_and_a_fourth_is_refused() -> None:
    async with serving(redirecting(["/1", "http://other.net/2", "//third.net/3"])) as server:
        answer = await http.fetch_public("http://example.com/", network=inside(server.port))
        assert answer.status == 200 and len(server.heads) == 4
    async with serving(redirecting(["/1", "/2", "/3", "/4"])) as server:
        error = await failure(http.fetch_public("http://example.com/", network=inside(server.port)))
        assert isinstance(error, Refused) and error.code == "too_many_redirects"
        assert len(server.heads) == 4


@pytest.mark.parametrize(
    "to",
    ["http://127.0.0.1/", "http://inner.net/", "http://example.com:8080/", "http://u@example.com/", "file:///etc/passwd",
     "http://[::1]/", "http://2130706433/"],
)  # fmt: skip
async def test_a_redirect_to_a_place_that_is_refused_is_not_followed(to: str) -> None:
    async with serving(redirecting([to])) as server:
        network = inside(server.port, {"inner.net": ["10.0.0.7"]})
        error = await failure(http.fetch_public("http://example.com/", network=network))
        assert isinstance(error, Refused) and error.code == "address_refused"
        assert len(server.heads) == 1


async def test_a_body_at_the_limit_is_taken_and_one_byte_more_is_refused() -> None:
    for told in (True, False):
        for size, fits in ((1000, True), (1001, False)):
            length = f"Content-Length: {size}\r\n" if told else "Connection: close\r\n"
            async with serving(says(f"HTTP/1.1 200 OK\r\n{length}\r\n".encode() + b"x" * size)) as server:
                call = http.fetch_public("http://example.com/", max_bytes=1000, network=inside(server.port))
                if fits:
                    assert len((await call).body) == 1000
                else:
                    assert (await failure(call)).code == "answer_too_large"


async def test_a_gzip_bomb_is_refused_before_it_unfolds() -> None:
    bomb = gzip.compress(b"\0" * 200_000_000, 6)
    head = f"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: {len(bomb)}\r\n\r\n".encode()
    async with serving(head + bomb) as server:
        tracemalloc.start()
        error = await failure(http.fetch_public("http://example.com/", network=inside(server.port)))
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert isinstance(error, Refused) and error.code == "answer_too_large"
        assert peak < 30_000_000


async def test_a_slow_page_ends_in_time_and_an_unreachable_one_is_retryable() -> None:
    async with serving(drip) as server:
        error = await failure(http.fetch_public("http://e.com/", timeout_s=0.3, network=inside(server.port)))
        assert isinstance(error, Retryable) and error.code == "answer_lost"
        port = server.port
    error = await failure(http.fetch_public("http://e.com/", network=inside(port)))
    assert isinstance(error, Retryable) and error.code == "not_reached"

    async def unknown(host: str, _: int) -> list[str]:
        raise OSError("Name or service not known")

    error = await failure(http.fetch_public("http://e.com/", network=http.Network(addresses=unknown)))
    assert isinstance(error, Retryable) and error.code == "not_reached"


def certificate(name: str, folder: Path) -> Path:
    """A certificate for `name`, signed by itself, with its key in the same file."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
    now = datetime.now(UTC)
    signed = (
        x509.CertificateBuilder(subject, subject, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(hours=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        .sign(key, hashes.SHA256())
    )
    path = folder / f"{name}.pem"
    path.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        + signed.public_bytes(serialization.Encoding.PEM)
    )
    return path


async def test_over_tls_the_certificate_must_bear_the_name_that_was_asked_for(tmp_path: Path) -> None:
    pem = certificate("example.com", tmp_path)
    served = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    served.load_cert_chain(pem)
    trusting = ssl.create_default_context(cafile=str(pem))

    async with serving(OK, tls=served) as server:
        home = inside(server.port)
        network = http.Network(home.addresses, home.dial, lambda: trusting)
        assert (await http.fetch_public("https://example.com/", network=network)).body == b"ok"
        error = await failure(http.fetch_public("https://other.net/", network=network))
        assert isinstance(error, Retryable) and error.code == "not_reached"
        assert len(server.heads) == 1
