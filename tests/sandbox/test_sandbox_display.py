"""Section 9, item 9, and the pulls of 4.5 and 4.6."""

from __future__ import annotations

import datetime
import http.server
import ssl
import subprocess
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import imageio_ffmpeg
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from sandbox_kit import POSTING, WISH, Client, Person, sha256

from app.sandbox import Settings

PUBLIC = {"privacy_level": "PUBLIC_TO_EVERYONE"}


def videos(person: Person, fields: str = "id,title,view_count", **body: Any) -> dict[str, Any]:
    answer = person.call("/tiktok/v2/video/list/", body, params={"fields": fields})
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()["data"]
    return found


@pytest.fixture
def maya(world: Client, clip: bytes) -> Person:
    """A public creator with three public posts and one for herself, all past moderation."""
    world.apps(audited=True)
    person = world.person(private=False)
    for number in range(3):
        person.posted(clip, title=f"Public {number}", **PUBLIC)
        world.later(15)
    person.posted(clip, title="Mine")
    world.later(15)
    return person


def test_lists_show_public_posts_newest_first_and_only_the_fields_asked_for(maya: Person) -> None:
    found = videos(maya)
    assert [video["title"] for video in found["videos"]] == ["Public 2", "Public 1", "Public 0"]
    assert set(found["videos"][0]) == {"id", "title", "view_count"}
    assert found["has_more"] is False


def test_lists_are_paged_by_a_time_in_milliseconds(maya: Person) -> None:
    first = videos(maya, max_count=2)
    assert (len(first["videos"]), first["has_more"]) == (2, True)
    rest = videos(maya, max_count=2, cursor=first["cursor"])
    assert [video["title"] for video in rest["videos"]] == ["Public 0"]
    assert rest["has_more"] is False
    for wrong in ({"max_count": 21}, {"max_count": 0}, {"cursor": "x"}, {"page": 1}):
        answer = maya.call("/tiktok/v2/video/list/", wrong, params={"fields": "id"})
        assert answer.status_code == 400


def test_counters_only_grow(maya: Person) -> None:
    before = {v["id"]: v["view_count"] for v in videos(maya)["videos"]}
    maya.world.later(3600)
    after = {v["id"]: v["view_count"] for v in videos(maya)["videos"]}
    assert all(after[each] > before[each] for each in before)


def test_a_query_gives_own_public_videos_and_leaves_out_the_others(maya: Person, world: Client) -> None:
    ids = [post["id"] for post in world.posts]
    path, query = "/tiktok/v2/video/query/", {"fields": "id,share_url"}
    found = maya.call(path, {"filters": {"video_ids": ids}}, params=query).json()["data"]["videos"]
    assert [video["id"] for video in found] == ids[:3]
    assert found[0]["share_url"] == f"https://www.tiktok.com/@{maya.username}/video/{ids[0]}"
    ben = world.person("Ben")
    assert ben.call(path, {"filters": {"video_ids": ids}}, params=query).json()["data"]["videos"] == []
    many = {"filters": {"video_ids": [str(number) for number in range(21)]}}
    assert maya.call(path, many, params=query).status_code == 400
    assert maya.call(path, {"filters": {"video_ids": ids}}, params={"fields": "id,saves"}).status_code == 400


def test_a_profile_shows_the_fields_asked_for(maya: Person) -> None:
    fields = "open_id,display_name,username,video_count"
    user = maya.get("/tiktok/v2/user/info/", params={"fields": fields}).json()["data"]["user"]
    assert user == {
        "open_id": maya.tokens["open_id"],
        "display_name": "Maya Makes",
        "username": maya.username,
        "video_count": 3,
    }
    assert maya.get("/tiktok/v2/user/info/").status_code == 400
    assert maya.get("/tiktok/v2/user/info/", params={"fields": "open_id,email"}).status_code == 400
    face = maya.get("/tiktok/v2/user/info/", params={"fields": "avatar_url"}).json()["data"]["user"][
        "avatar_url"
    ]
    assert maya.get(face).headers["content-type"].startswith("image/svg+xml")


@dataclass
class Site:
    """An https site on localhost with its own authority, for the platform to pull from."""

    authority: Path
    files: dict[str, bytes] = field(default_factory=dict)
    port: int = 0
    asked: list[str] = field(default_factory=list)
    gate: threading.Event = field(default_factory=threading.Event)

    def url(self, name: str) -> str:
        return f"https://localhost:{self.port}/{name}"


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    authority = tmp_path / "authority.pem"
    authority.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    secret = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    (tmp_path / "key.pem").write_bytes(secret)
    found = Site(authority)
    found.gate.set()

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            found.asked.append(self.path)
            found.gate.wait(10)
            content = found.files.get(self.path.lstrip("/"))
            self.send_response(200 if content else 302)
            self.send_header("location", "/real.mp4")
            self.send_header("content-length", str(len(content or b"")))
            self.end_headers()
            self.wfile.write(content or b"")

        def log_message(self, format: str, *args: Any) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(authority, tmp_path / "key.pem")
    server.socket = context.wrap_socket(server.socket, server_side=True)
    found.port = server.server_port
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield found
    found.gate.set()
    server.shutdown()


@pytest.fixture
def puller(start: Any, site: Site) -> Person:
    world = start(settings=Settings(pull_ca=site.authority, verified_url_prefixes=("localhost",)))
    person: Person = world.person()
    return person


def pull(person: Person, url: str) -> Any:
    body = {"post_info": WISH, "source_info": {"source": "PULL_FROM_URL", "video_url": url}}
    return person.call(f"{POSTING}/video/init/", body)


def photos(person: Person, *urls: str, mode: str = "DIRECT_POST", **post: Any) -> Any:
    return person.call(
        f"{POSTING}/content/init/",
        {
            "media_type": "PHOTO",
            "post_mode": mode,
            "post_info": WISH | post,
            "source_info": {"source": "PULL_FROM_URL", "photo_images": list(urls), "photo_cover_index": 0},
        },
    )


def settled(person: Person, publish_id: str) -> dict[str, Any]:
    """The state once the platform has fetched what it was told to."""
    for _ in range(400):
        entries = person.world.ledger(all=1)
        waiting = [each for each in entries["incomplete"] if each["reason"] is None]
        if not waiting:
            break
        threading.Event().wait(0.02)
    person.world.later(61)
    return person.state(publish_id)


def test_a_video_is_pulled_from_a_verified_place(puller: Person, site: Site, clip: bytes) -> None:
    site.files["clip.mp4?signed=1"] = clip
    publish_id = pull(puller, site.url("clip.mp4?signed=1")).json()["data"]["publish_id"]
    assert publish_id.startswith("v_pub_url~")
    state = settled(puller, publish_id)
    assert (state["status"], state["downloaded_bytes"]) == ("PUBLISH_COMPLETE", len(clip))
    assert [post["sha256"] for post in puller.world.posts] == [sha256(clip)]


def test_a_redirect_is_not_followed(puller: Person, site: Site, clip: bytes) -> None:
    site.files["real.mp4"] = clip
    publish_id = pull(puller, site.url("moved.mp4")).json()["data"]["publish_id"]
    state = settled(puller, publish_id)
    assert (state["status"], state["fail_reason"]) == ("FAILED", "video_pull_failed")
    assert site.asked == ["/moved.mp4"] and puller.world.posts == []


def test_an_unverified_place_is_refused_and_never_asked(puller: Person, site: Site) -> None:
    puller.world.apps(verifiedUrlPrefixes=["example.org", f"https://localhost:{site.port}/videos/user/"])
    for url in (
        site.url("videos/2023/user/a.mp4"),
        site.url("videos/user/../a.mp4"),
        site.url("videos/user/a.mp4").replace("https", "http"),
        site.url("videos/user/a.mp4").replace("localhost", "127.0.0.1"),
        "https://notexample.org/a.mp4",
    ):
        answer = pull(puller, url)
        puller.world.later(11)
        assert (answer.status_code, answer.json()["error"]["code"]) == (403, "url_ownership_unverified"), url
    assert site.asked == []
    assert pull(puller, "https://media.example.org/a.mp4").status_code == 200


def test_a_download_can_be_cancelled_an_upload_cannot(puller: Person, site: Site, clip: bytes) -> None:
    site.files["clip.mp4"] = clip
    site.gate.clear()
    publish_id = pull(puller, site.url("clip.mp4")).json()["data"]["publish_id"]
    assert puller.state(publish_id)["status"] == "PROCESSING_DOWNLOAD"
    cancel = f"{POSTING}/cancel/"
    assert puller.call(cancel, {"publish_id": publish_id}).status_code == 200
    site.gate.set()
    state = settled(puller, publish_id)
    assert (state["status"], state["fail_reason"]) == ("FAILED", "publish_cancelled")
    assert puller.world.posts == []
    uploading = puller.init(100).json()["data"]["publish_id"]
    for late in (publish_id, uploading):
        answer = puller.call(cancel, {"publish_id": late})
        assert (answer.status_code, answer.json()["error"]["code"]) == (400, "publish_not_cancellable")


def picture(path: Path, size: str) -> bytes:
    ffmpeg = imageio_ffmpeg.get_ffmpeg_exe()
    source = ["-f", "lavfi", "-i", f"testsrc2=size={size}", "-frames:v", "1"]
    subprocess.run([ffmpeg, "-v", "error", "-y", *source, str(path)], check=True)
    return path.read_bytes()


def test_photos_are_pulled_and_looked_at(puller: Person, site: Site, tmp_path: Path) -> None:
    site.files["a.jpg"] = picture(tmp_path / "a.jpg", "1080x1920")
    site.files["b.webp"] = picture(tmp_path / "b.webp", "640x360")
    publish_id = photos(puller, site.url("a.jpg"), site.url("b.webp")).json()["data"]["publish_id"]
    assert settled(puller, publish_id)["status"] == "PUBLISH_COMPLETE"
    assert puller.world.posts[0]["sha256"] == sha256(site.files["a.jpg"] + site.files["b.webp"])
    draft = photos(puller, site.url("a.jpg"), mode="MEDIA_UPLOAD").json()["data"]["publish_id"]
    assert settled(puller, draft)["status"] == "SEND_TO_USER_INBOX"


@pytest.mark.parametrize(
    ("name", "size", "reason"),
    [
        ("a.png", "640x360", "file_format_check_failed"),
        ("a.jpg", "1922x1080", "picture_size_check_failed"),
        ("missing.jpg", "", "photo_pull_failed"),
    ],
)
def test_a_bad_photo_fails_the_post(
    puller: Person, site: Site, tmp_path: Path, name: str, size: str, reason: str
) -> None:
    if size:
        site.files[name] = picture(tmp_path / name, size)
    publish_id = photos(puller, site.url(name)).json()["data"]["publish_id"]
    state = settled(puller, publish_id)
    assert (state["status"], state["fail_reason"]) == ("FAILED", reason)
    assert puller.world.posts == []


def test_malformed_photo_posts_are_refused(puller: Person, site: Site) -> None:
    puller.world.later(61)
    assert photos(puller).status_code == 400
    assert photos(puller, *[site.url("a.jpg")] * 36).status_code == 400
    assert photos(puller, site.url("a.jpg"), title="x" * 91).status_code == 400
    assert photos(puller, site.url("a.jpg"), mode="LATER").status_code == 400
    assert photos(puller, "http://localhost/a.jpg").status_code == 403
    assert site.asked == []
