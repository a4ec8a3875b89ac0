"""What stands around every answer: security headers, request id, log line, metrics."""

from __future__ import annotations

from pathlib import Path

import httpx2
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response

from app import config, log, metrics
from app.web import headers, pages
from app.web.access import Access, route
from app.web.addresses import neighbourhood
from tests.web.conftest import Client

pytestmark = pytest.mark.anyio
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; media-src 'self' blob:; "
    "connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)


@pytest.mark.parametrize(
    "path", ["/sign-in", "/sessions", "/nothing", "/api/me", "/api/nothing", "/health", "/static/no.css"]
)
async def test_every_answer_carries_the_security_headers(client: Client, path: str) -> None:
    told = (await client().get(path)).headers
    assert told["content-security-policy"] == POLICY
    assert told["x-content-type-options"] == "nosniff"
    assert told["referrer-policy"] == "same-origin"
    assert told["cross-origin-opener-policy"] == "same-origin"
    assert told["strict-transport-security"] == "max-age=31536000"
    assert len(told["x-request-id"]) == 32
    assert "no-store" in told["cache-control"] or path.startswith("/static")


async def test_plain_http_is_not_told_to_use_tls(client: Client) -> None:
    assert "strict-transport-security" not in (await client("http://studio.example").get("/sign-in")).headers


PLAIN = {"ENCRYPTION_KEY": "k" * 32}
BUCKET = PLAIN | {
    "STORAGE_PROVIDER": "s3",
    "STORAGE_BUCKET": "clips",
    "AWS_ACCESS_KEY_ID": "a",
    "AWS_SECRET_ACCESS_KEY": "b",
}


@pytest.mark.parametrize(
    ("env", "origin"),
    [
        (PLAIN, ""),
        (BUCKET, "https://s3.us-east-1.amazonaws.com"),
        (BUCKET | {"S3_ENDPOINT_URL": "http://minio:9000"}, "http://minio:9000"),
        (
            BUCKET | {"S3_ENDPOINT_URL": "http://minio:9000", "S3_PUBLIC_URL": "https://files.example/x"},
            "https://files.example",
        ),
        (
            BUCKET | {"S3_ENDPOINT_URL": "https://r2.example", "S3_PATH_STYLE": "false"},
            "https://clips.r2.example",
        ),
    ],
)
def test_pictures_and_media_may_come_from_the_bucket(env: dict[str, str], origin: str) -> None:
    settings = config.load(env)
    allowed = dict(part.split(" ", 1) for part in headers.policy(settings).split("; "))
    assert headers.bucket_origin(settings) == origin
    for kind in ("img-src", "media-src", "connect-src"):
        assert (origin in allowed[kind].split()) is bool(origin)
    assert origin == "" or origin not in allowed["script-src"]


async def test_no_page_of_ours_breaks_its_own_policy(client: Client) -> None:
    for path in ("/sign-in", "/sign-up", "/nothing"):
        text = (await client().get(path)).text
        assert "<script>" not in text
        assert "style=" not in text
        assert "onclick" not in text


async def test_the_log_line_names_the_route_and_no_secret(
    app: Starlette, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    lines: list[dict[str, object]] = []
    monkeypatch.setattr(log, "info", lambda event, **fields: lines.append({"event": event} | fields))

    async def media(request: Request) -> Response:
        return PlainTextResponse(log.correlation_id() or "")

    app.router.routes[:0] = [route("/media/{token}", media, Access.WORLD)]
    answer = await client().get("/media/very-secret-link?sig=abc")
    [line] = [line for line in lines if line["event"] == "request"]
    assert line["route"] == "/media/{token}"
    assert (line["method"], line["status"], line["address"]) == ("GET", 200, "203.0.113.7")
    assert "secret" not in str(line)
    assert answer.text == answer.headers["x-request-id"]


async def test_requests_are_counted_by_route_not_by_address(client: Client) -> None:
    def counted() -> float:
        labels = {"method": "GET", "route": "none", "status": "404"}
        return metrics.REGISTRY.get_sample_value("http_requests_total", labels) or 0

    before = counted()
    for n in range(3):
        await client().get(f"/nothing/{n}")
    assert counted() == before + 3


@pytest.mark.parametrize(
    ("address", "counted_as"),
    [
        ("203.0.113.7", "203.0.113.7"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("::ffff:203.0.113.7", "203.0.113.7"),
        ("::1", "::1"),
        ("fe80::1%eth0", "fe80::/64"),
        ("testclient", "testclient"),
    ],
)
def test_an_address_counts_with_its_neighbourhood(address: str, counted_as: str) -> None:
    assert neighbourhood(address) == counted_as


@pytest.fixture
def own_static(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "static").mkdir()
    (tmp_path / "static/app.css").write_text("body {}")
    (tmp_path / "secret").write_text("secret")
    monkeypatch.setattr(pages, "folder", lambda name: tmp_path / name)
    return tmp_path / "static"


async def test_a_static_file_is_kept_for_ever_under_its_version(
    own_static: Path, app: Starlette, client: Client
) -> None:
    address = pages.static("app.css")
    assert address.startswith("/static/app.css?v=")
    browser = client()
    assert "immutable" in (await browser.get(address)).headers["cache-control"]
    (own_static / "app.css").write_text("body { color: red }")
    assert "immutable" not in (await browser.get(address)).headers["cache-control"]
    assert pages.static("app.css") != address
    assert pages.static("missing.css") == "/static/missing.css"
    assert pages.static_version("../secret") is None


@pytest.mark.parametrize("path", ["/static/../secret", "/static/%2e%2e/secret", "/static/..%2fsecret"])
async def test_nothing_outside_the_static_folder_is_served(
    own_static: Path, app: Starlette, client: Client, path: str
) -> None:
    request = httpx2.Request("GET", f"https://studio.example{path}")
    assert (await client().send(request)).status_code == 404


async def test_long_static_files_travel_small_and_pages_as_they_are(app: Starlette, client: Client) -> None:
    """What differs from person to person is not compressed: its length would tell a listener what is in it."""
    browser = client()
    script = await browser.get("/static/page.js", headers={"accept-encoding": "gzip"})
    assert script.headers["content-encoding"] == "gzip"
    assert script.text == (pages.folder("static") / "page.js").read_text()
    signing_in = await browser.get("/sign-in", headers={"accept-encoding": "gzip"})
    assert "content-encoding" not in signing_in.headers
