"""Every call out of the house, with its limits. Knows HTTP and faults of the line; knows no platform.

`request` is for services we chose, `fetch_public` for addresses that people gave us. The failure says what
may have happened: `Retryable` with code `not_reached` means that nothing was sent; `answer_lost` means that
the request may have arrived, and is `Unsure` where the call was irreversible. Addresses and headers carry
secrets (upload_token, bearer), so failures name the host only.
"""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import re
import socket
import ssl
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from json import loads
from typing import Any
from urllib.parse import parse_qsl, quote
from weakref import WeakKeyDictionary

import httpx2

from app.errors import HouseError, Permanent, Refused, Retryable, Unsure

MOST_BYTES = 5 * 1024**2
CONNECT_S = 10.0
MOST_REDIRECTS = 3
MOST_ADDRESSES_TRIED = 3
LONGEST_ADDRESS = 2048
USER_AGENT = "backlot"
REDIRECTS = (301, 302, 303, 307, 308)
PUBLIC_PORTS = (80, 443)
# Servers close idle connections after 5 s and more; a request on one that just closes would count as lost.
LIMITS = httpx2.Limits(max_connections=100, max_keepalive_connections=20, keepalive_expiry=2.0)

# IANA special-purpose registries, 2026; ipaddress.is_global differs between Python versions and lets
# multicast, NAT64 and 6to4 through.
_NOT_PUBLIC_V4 = tuple(
    ipaddress.IPv4Network(block)
    for block in (
        *("0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12"),
        *("192.0.0.0/24", "192.0.2.0/24", "192.31.196.0/24", "192.52.193.0/24", "192.88.99.0/24"),
        *("192.168.0.0/16", "192.175.48.0/24", "198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24"),
        *("224.0.0.0/4", "240.0.0.0/4"),
        "168.63.129.16/32",  # Azure answers its machines with their secrets here
    )
)
_PUBLIC_V6 = ipaddress.IPv6Network("2000::/3")
_NOT_PUBLIC_V6 = tuple(
    ipaddress.IPv6Network(block)
    for block in ("2001::/23", "2001:db8::/32", "2002::/16", "2620:4f:8000::/48", "3fff::/20")
)

FORM = "application/x-www-form-urlencoded"
# Shorter ones would take ordinary words out of an answer.
LEAST_SECRET = 8
_SECRET_NAME = re.compile(r"token|secret|code|verifier|password|upload_id", re.IGNORECASE)
# An empty one, which the parser drops.
_USER_PART = re.compile(r"[^/?#]*//[^/?#]*@")

_clients: WeakKeyDictionary[asyncio.AbstractEventLoop, httpx2.AsyncClient] = WeakKeyDictionary()


@dataclass(frozen=True)
class Answer:
    """What came back: header names in lower case, the decompressed body, seconds from start to last byte."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    seconds: float

    @property
    def text(self) -> str:
        return self.body.decode("utf-8", "replace")

    def json(self) -> Any:
        """The body as JSON; Retryable (`unreadable_answer`) when it is something else, e.g. an error page."""
        try:
            return loads(self.body)
        except ValueError as error:
            raise Retryable(
                "The other side answered with something we cannot read.", code="unreadable_answer"
            ) from error


async def request(
    method: str,
    url: str,
    *,
    headers: Mapping[str, str] | None = None,
    params: Mapping[str, str] | None = None,
    json: Any = None,
    form: Mapping[str, str] | None = None,
    content: bytes | AsyncIterator[bytes] | None = None,
    timeout_s: float = 30.0,
    irreversible: bool = False,
    max_bytes: int = MOST_BYTES,
) -> Answer:
    """Make one call and give back what was answered, error answers and redirects too; nothing is repeated.

    `timeout_s` limits the whole call, body included. A streamed `content` needs its Content-Length in
    `headers`; a HouseError it raises comes through as it is. What an error answer quotes of our secrets is
    taken out of it. Raises Retryable(`not_reached`) when nothing can
    have been sent; after that Retryable(`answer_lost`), or Unsure when `irreversible`.
    """
    line = _Line()
    host = "the other side"
    try:
        host = httpx2.URL(url).netloc.decode("ascii").rpartition("@")[2] or host
        call = _client().build_request(
            method,
            url,
            headers=dict(headers or {}),
            params=dict(params) if params else None,
            json=json,
            data=dict(form) if form is not None else None,
            content=content,
            timeout=_limits(timeout_s),
            extensions={"trace": line.heard},
        )
        async with asyncio.timeout(timeout_s):
            return await _answer(_client(), call, max_bytes)
    except (httpx2.InvalidURL, httpx2.UnsupportedProtocol):
        # Without the cause: its text quotes the address.
        raise Permanent(f"The address of {host} cannot be called.", code="bad_address") from None
    except (httpx2.HTTPError, httpx2.StreamError, TimeoutError, _TooLarge) as error:
        raise _fault(error, host, line.used, irreversible, timeout_s) from error


async def close() -> None:
    """Close this event loop's connections. Calling it again, or calling out afterwards, is fine."""
    if client := _clients.pop(asyncio.get_running_loop(), None):
        await client.aclose()


class _TooLarge(Exception):
    """The answer is larger than we take."""


class _Line:
    """Whether a byte of the request may have left: the transport tells each of its steps."""

    used = False

    async def heard(self, step: str, _: object) -> None:
        self.used = self.used or step.endswith(".send_request_headers.started")


def _limits(timeout_s: float) -> httpx2.Timeout:
    return httpx2.Timeout(timeout_s, connect=min(CONNECT_S, timeout_s), pool=min(CONNECT_S, timeout_s))


def _client() -> httpx2.AsyncClient:
    loop = asyncio.get_running_loop()
    if loop not in _clients:
        _clients[loop] = httpx2.AsyncClient(
            verify=_tls(),
            trust_env=False,
            follow_redirects=False,
            limits=LIMITS,
            headers={"User-Agent": USER_AGENT},
        )
    return _clients[loop]


@lru_cache(maxsize=1)
def _tls() -> ssl.SSLContext:
    return httpx2.create_ssl_context(trust_env=False)


async def _answer(client: httpx2.AsyncClient, call: httpx2.Request, max_bytes: int) -> Answer:
    """Send and read to the end, counting decompressed bytes (the decoder gives at most 1 MiB at a time)."""
    begun = time.monotonic()
    response = await client.send(call, stream=True)
    try:
        if int(response.headers.get("content-length") or 0) > max_bytes and call.method != "HEAD":
            raise _TooLarge
        body = bytearray()
        async for piece in response.aiter_bytes():
            if len(body) + len(piece) > max_bytes:
                raise _TooLarge
            body += piece
    finally:
        await response.aclose()
    # A cookie of one account must not travel with the call of another.
    client.cookies.clear()
    said = bytes(body)
    if response.status_code >= 400:
        said = _without(said, _secrets_of(call))
    return Answer(response.status_code, dict(response.headers), said, time.monotonic() - begun)


def _secrets_of(call: httpx2.Request) -> list[str]:
    """What this call brings that nobody else may know: its credential, and fields that are called like one."""
    pairs = parse_qsl(call.url.query.decode("ascii", "replace"))
    if call.headers.get("content-type") == FORM:
        pairs += parse_qsl(call.content.decode("utf-8", "replace"))
    credential = call.headers.get("authorization", "").rpartition(" ")[2]
    return [credential, *(value for name, value in pairs if _SECRET_NAME.search(name))]


def _without(body: bytes, secrets: Sequence[str]) -> bytes:
    """An error page that quotes us must not carry our secrets into logs and timelines."""
    for secret in secrets:
        if len(secret) >= LEAST_SECRET:
            for written in {secret, quote(secret, safe=""), secret.replace("/", "\\/")}:
                body = body.replace(written.encode(), b"[redacted]")
    return body


def _fault(error: Exception, host: str, used: bool, irreversible: bool, timeout_s: float) -> HouseError:
    """The failure of a call that brought no whole answer."""
    if not used:
        return Retryable(f"We could not reach {host}.", code="not_reached")
    if isinstance(error, (TimeoutError, httpx2.TimeoutException)):
        why = f"{host} did not answer within {timeout_s:g} s."
    elif isinstance(error, (_TooLarge, httpx2.DecodingError)):
        why = f"{host} answered with something we cannot read."
    else:
        why = f"The connection to {host} broke off before the answer came."
    return Unsure(why, code="answer_lost") if irreversible else Retryable(why, code="answer_lost")


# Addresses that people gave us (reliability.md, section 7)


async def system_addresses(host: str, port: int) -> list[str]:
    """Every address the system's resolver knows for this name, in its order of preference."""
    found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(entry[4][0]) for entry in found))


@dataclass(frozen=True)
class Network:
    """How names become addresses and addresses connections; tests put their own servers behind both."""

    addresses: Callable[[str, int], Awaitable[Sequence[str]]] = system_addresses
    dial: Callable[[str, int], tuple[str, int]] = lambda address, port: (address, port)
    tls: Callable[[], ssl.SSLContext] = _tls


INTERNET = Network()


def is_public(address: str) -> bool:
    """Whether an address is on the open internet: not ours, a neighbour's, a cloud's or a disguised one."""
    try:
        ip = ipaddress.ip_address(address)
    except ValueError:
        return False
    if isinstance(ip, ipaddress.IPv4Address):
        return not any(ip in block for block in _NOT_PUBLIC_V4)
    # Mapped (::ffff:0:0/96), NAT64 (64:ff9b::/96), local and link addresses all lie outside 2000::/3.
    return ip in _PUBLIC_V6 and ip.scope_id is None and not any(ip in block for block in _NOT_PUBLIC_V6)


async def fetch_public(
    url: str, *, max_bytes: int = MOST_BYTES, timeout_s: float = 15.0, network: Network = INTERNET
) -> Answer:
    """Fetch what stands at an address that a person gave us, following at most three redirects.

    Refused: anything but http and https on ports 80 and 443, a user part, a name with any address outside the
    open internet, a larger body. We connect to the very address that was checked. Retryable when it cannot be
    reached. Source: reliability.md, section 7.
    """
    host = "the address"
    line = _Line()
    try:
        async with asyncio.timeout(timeout_s):
            here = _parse(url)
            for _ in range(MOST_REDIRECTS + 1):
                host = here.host
                answer = await _fetch_once(here, line, max_bytes, timeout_s, network)
                if answer.status not in REDIRECTS or "location" not in answer.headers:
                    return answer
                here = _parse(answer.headers["location"], base=here)
    except _TooLarge:
        raise Refused(
            f"What {host} sends is larger than {max_bytes:,} bytes.", code="answer_too_large"
        ) from None
    except (httpx2.HTTPError, httpx2.StreamError, TimeoutError) as error:
        raise _fault(error, host, line.used, False, timeout_s) from error
    raise Refused(f"{host} sends us on more than {MOST_REDIRECTS} times.", code="too_many_redirects")


def _refused(why: str) -> Refused:
    return Refused(f"This address cannot be used: {why}.", code="address_refused")


def _parse(text: str, base: httpx2.URL | None = None) -> httpx2.URL:
    """Read an address with the parser that will also connect, and refuse what needs no look-up."""
    if len(text) > LONGEST_ADDRESS or "\\" in text or not text.isprintable() or " " in text:
        raise _refused("it is not written as a web address")
    try:
        url = base.join(text) if base else httpx2.URL(text)
        host, port = url.raw_host.decode("ascii"), url.port
    except (httpx2.InvalidURL, ValueError):
        raise _refused("it is not written as a web address") from None
    if url.scheme not in ("http", "https"):
        raise _refused("only http and https are fetched")
    if url.userinfo or _USER_PART.match(text):
        raise _refused("it carries a user name")
    if port is not None and port not in PUBLIC_PORTS:
        raise _refused("only ports 80 and 443 are fetched")
    if not host or "%" in host:
        raise _refused("it names no host")
    # 2130706433, 0x7f.1 and 127.1 are 127.0.0.1 to some resolvers: only four plain numbers are an address.
    last = host.rstrip(".").rpartition(".")[2]
    if last.isdigit() or last.lower().startswith("0x"):
        with contextlib.suppress(ValueError):
            ipaddress.IPv4Address(host)
            return url
        raise _refused("its host is a number in disguise")
    return url


async def _fetch_once(
    url: httpx2.URL, line: _Line, max_bytes: int, timeout_s: float, network: Network
) -> Answer:
    """One hop: look the name up once, check every answer, connect to what was checked and to nothing else."""
    port = url.port or (443 if url.scheme == "https" else 80)
    host = url.raw_host.decode("ascii").strip("[]")
    try:
        ipaddress.ip_address(host)
        addresses: Sequence[str] = [host]
    except ValueError:
        try:
            addresses = await network.addresses(host, port)
        except (OSError, UnicodeError) as error:
            raise Retryable(f"The name {host} is not known.", code="not_reached") from error
    if not addresses or not all(is_public(address) for address in addresses):
        raise _refused("it does not lead to the open internet")
    transport = httpx2.AsyncHTTPTransport(verify=network.tls(), trust_env=False)
    async with httpx2.AsyncClient(transport=transport, trust_env=False) as client:
        for address in addresses[:MOST_ADDRESSES_TRIED]:
            where, at = network.dial(address, port)
            call = client.build_request(
                "GET",
                url.copy_with(host=where, port=at, fragment=None),
                headers={"Host": url.netloc.decode("ascii"), "User-Agent": USER_AGENT},
                timeout=_limits(timeout_s),
                extensions={"sni_hostname": host, "trace": line.heard},
            )
            with contextlib.suppress(httpx2.ConnectError, httpx2.ConnectTimeout):
                return await _answer(client, call, max_bytes)
    raise Retryable(f"We could not reach {host}.", code="not_reached")
