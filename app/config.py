"""Every setting of the house, read once from the environment. Nobody else reads the environment.

`load` reports every problem at once, one line each, and connects to nothing. Names are the contract's; an
empty value counts as unset. `.env.example` lists them all.
"""

from __future__ import annotations

import fcntl
import os
import re
import secrets
import tempfile
from collections.abc import Mapping
from functools import lru_cache
from ipaddress import ip_network
from pathlib import Path
from typing import Literal
from urllib.parse import parse_qs, urlsplit

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from app import hosts
from app.hosts import PLATFORM_HOSTS, Registration

POSITIONS = (
    "topleft", "top", "topright",
    "left", "center", "right",
    "bottomleft", "bottom", "bottomright",
)  # fmt: skip
PRESETS = (
    "ultrafast", "superfast", "veryfast", "faster", "fast", "medium", "slow", "slower", "veryslow",
)  # fmt: skip
KEY_CHARACTERS = 32
# Health ports of the roles: contract, index of names.
ROLE_PORTS = {
    "video-processor": 3001,
    "social-publisher": 3002,
    "analytics": 3003,
    "notifications": 3004,
    "pipeline": 8000,
}
QUEUE_SETTING = re.compile(r"^QUEUE_([A-Z_]+?)_(TOGETHER|TRIES|FIRST_WAIT_S|MOST|EVERYWHERE|EACH|FAIR)$")
# Starts are remembered for a day, so a longer window could not be kept.
LONGEST_WINDOW_S = 86_400.0


class ConfigError(Exception):
    """The settings cannot be used. `problems` holds one sentence for each."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


def _read_rate(text: object) -> object:
    """`3/60` is three in sixty seconds; `none` is no limit, kept as (0, 0)."""
    if text == "none":
        return (0, 0.0)
    if isinstance(text, str):
        count, _, window_s = text.partition("/")
        try:
            rate = (int(count), float(window_s))
        except ValueError:
            rate = (0, 0.0)
        if not (count.isascii() and count.isdigit()) or not 1 <= rate[0] <= 1_000_000:
            raise ValueError("write it as 3/60 (three in sixty seconds) or none")
        if not 0 < rate[1] <= LONGEST_WINDOW_S:
            raise ValueError("write it as 3/60 (three in sixty seconds, a day at most) or none")
        return rate
    return text


def _read_places(text: object) -> object:
    """`4` is four at once; `none` is no limit, kept as 0."""
    if text == "none":
        return 0
    if isinstance(text, str) and not (text.isascii() and text.isdigit() and 1 <= int(text) <= 10_000):
        raise ValueError("write a number from 1 to 10000, or none")
    return text


class QueueOverride(BaseModel):
    """What the environment changes of one queue: `QUEUE_VIDEO_EDIT_TRIES=3`, `QUEUE_VIDEO_EDIT_MOST=3/60`. The last
    three hold over all workers; 0 is none.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    together: int | None = Field(None, ge=1, le=1000)
    tries: int | None = Field(None, ge=1, le=100)
    first_wait_s: float | None = Field(None, ge=0, le=3600)
    most: tuple[int, float] | None = None
    everywhere: int | None = None
    each: int | None = None
    fair: int | None = None

    @field_validator("most", mode="before")
    @classmethod
    def _read_most(cls, text: object) -> object:
        return _read_rate(text)

    @field_validator("everywhere", "each", "fair", mode="before")
    @classmethod
    def _read_running(cls, text: object) -> object:
        return _read_places(text)


NO_OVERRIDE = QueueOverride(together=None, tries=None, first_wait_s=None)


class Config(BaseModel):
    """All settings, frozen. A field's setting is its name in capitals."""

    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=False)

    # Where we are
    app_env: Literal["development", "test", "production"] = "development"
    backlot_home: Path = Path(".backlot")
    port: int = Field(3000, ge=1, le=65535)
    # Where the web listens; unset: this machine only, and everywhere in production.
    host: str | None = None
    # Addresses or networks of proxies whose word about the caller counts, with commas between them.
    trusted_proxies: str = "127.0.0.1,::1"
    public_url: str | None = None
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    log_format: Literal["json", "text"] | None = None

    # Database
    database_url: str | None = None
    database_direct_url: str | None = None
    backlot_pg_bin: str | None = None
    backlot_pg_user: str | None = None

    # Secrets
    encryption_key: str = ""
    encryption_keys_old: str = ""

    # Queue
    queue_enabled: bool = True
    worker_concurrency: int = Field(5, ge=1, le=1000)
    max_retries: int = Field(3, ge=1, le=100)
    backoff_delay: int = Field(5000, ge=0, le=3_600_000)
    health_check_port: int | None = Field(None, ge=1, le=65535)
    stalled_check_s: int = Field(300, ge=30, le=3600)
    queue_budget: int = Field(500_000, ge=1)
    queues: dict[str, QueueOverride] = {}
    # How many uploads one account starts in how many seconds (contract S1.30), or none.
    account_uploads_most: tuple[int, float] = (1, 300.0)

    # Optional cache
    enable_redis: bool = True
    redis_url: str | None = None
    redis_host: str = "localhost"
    redis_port: int = 6379
    redis_password: str | None = None
    redis_db: int = 0

    # Storage
    storage_provider: Literal["local", "s3"] = "local"
    storage_bucket: str | None = None
    s3_bucket: str | None = None
    s3_endpoint_url: str | None = None
    s3_public_url: str | None = None
    s3_path_style: bool = True
    s3_checksums: Literal["when_required", "when_supported"] = "when_required"
    aws_access_key_id: str | None = None
    aws_secret_access_key: str | None = None
    aws_region: str = "us-east-1"

    # Media
    temp_dir: Path = Path(tempfile.gettempdir()) / "video-processing"
    backlot_ffmpeg: str | None = None
    ffmpeg_preset: str = "medium"
    ffmpeg_threads: int = Field(0, ge=0, le=64)
    # x264's CRF, under the ceiling of each size; unset by `off`: the bits per second below.
    video_quality: int | None = Field(21, ge=10, le=40)
    video_formats: tuple[Literal["hls", "dash", "mp4"], ...] = ("hls", "dash", "mp4")
    # Longer videos are made in parts, of so many seconds each, by any number of workers.
    video_split_s: float = Field(180, ge=1)
    video_part_s: float = Field(60, ge=1)
    video_bitrate: str = "2000k"
    audio_bitrate: str = "128k"
    watermark_enabled: bool = False
    watermark_path: Path = Path("assets/watermark.png")
    watermark_position: str = "bottomright"
    # Pictures are made smaller rather than worse than this (1 to 90, as JPEG and WebP count it).
    picture_quality_floor: int = Field(70, ge=1, le=90)
    max_upload_bytes: int = Field(4 * 1024**3, ge=1)
    # Total bytes one workspace may keep; unset means as much as the disk or bucket holds.
    storage_quota_bytes: int | None = Field(None, ge=1)

    # Platforms
    simulators: Literal["auto", "on", "off"] = "auto"
    sandbox_url: str | None = None
    tiktok_client_key: str | None = None
    tiktok_client_secret: str | None = None
    tiktok_redirect_uri: str | None = None
    tiktok_app_type: Literal["web", "desktop"] = "web"
    tiktok_auth_base: str | None = None
    tiktok_api_base: str | None = None
    youtube_client_id: str | None = None
    youtube_client_secret: str | None = None
    youtube_redirect_uri: str | None = None
    google_auth_base: str | None = None
    google_token_base: str | None = None
    youtube_api_base: str | None = None
    youtube_upload_base: str | None = None
    youtube_analytics_base: str | None = None
    instagram_client_id: str | None = None
    instagram_client_secret: str | None = None
    instagram_redirect_uri: str | None = None
    # Which of Instagram's two ways new accounts are connected by.
    instagram_login: Literal["instagram", "facebook"] = "instagram"
    instagram_auth_base: str | None = None
    instagram_token_base: str | None = None
    instagram_api_base: str | None = None
    facebook_client_id: str | None = None
    facebook_client_secret: str | None = None
    facebook_redirect_uri: str | None = None
    facebook_auth_base: str | None = None
    facebook_api_base: str | None = None
    facebook_video_base: str | None = None
    meta_upload_base: str | None = None
    meta_version: str = Field("v26.0", pattern=r"^v[0-9]{1,3}\.[0-9]$")

    @field_validator("trusted_proxies")
    @classmethod
    def _networks(cls, text: str) -> str:
        for address in filter(None, (part.strip() for part in text.split(","))):
            ip_network(address, strict=False)
        return text

    @field_validator("account_uploads_most", mode="before")
    @classmethod
    def _read_uploads(cls, text: object) -> object:
        return _read_rate(text)

    @field_validator("encryption_key")
    @classmethod
    def _whole_key(cls, key: str) -> str:
        if key and len(key) != KEY_CHARACTERS:
            raise ValueError(f"must be exactly {KEY_CHARACTERS} characters, this one has {len(key)}")
        return key

    @field_validator("encryption_keys_old")
    @classmethod
    def _whole_keys(cls, keys: str) -> str:
        # By position, as a key may hold a comma itself.
        pieces = [keys[at : at + KEY_CHARACTERS + 1] for at in range(0, len(keys), KEY_CHARACTERS + 1)]
        if any(len(piece) != KEY_CHARACTERS + 1 or piece[-1] != "," for piece in pieces[:-1]) or (
            pieces and len(pieces[-1]) != KEY_CHARACTERS
        ):
            raise ValueError(f"must be keys of {KEY_CHARACTERS} characters with one comma between them")
        return keys

    @field_validator("database_url", "database_direct_url")
    @classmethod
    def _postgres_address(cls, url: str | None) -> str | None:
        if url is not None and urlsplit(url).scheme not in ("postgres", "postgresql"):
            raise ValueError("must start with postgresql://")
        if url is not None and hosts.names_several(url):
            wanted = parse_qs(urlsplit(url).query).get("target_session_attrs", [""])[-1]
            # Else whoever answers first is taken, and a standby refuses every change.
            if wanted not in ("read-write", "primary"):
                raise ValueError("names several hosts and needs target_session_attrs=read-write")
        return url

    @field_validator("public_url", "sandbox_url", "s3_endpoint_url", "s3_public_url", *hosts.SETTINGS)
    @classmethod
    def _web_address(cls, url: str | None) -> str | None:
        if url is not None and (urlsplit(url).scheme not in ("http", "https") or not urlsplit(url).netloc):
            raise ValueError("must be an address that starts with http:// or https://")
        return url.rstrip("/") if url else None

    @field_validator("ffmpeg_preset")
    @classmethod
    def _known_preset(cls, preset: str) -> str:
        if preset not in PRESETS:
            raise ValueError(f"must be one of {', '.join(PRESETS)}")
        return preset

    @field_validator("video_quality", mode="before")
    @classmethod
    def _read_quality(cls, text: object) -> object:
        return None if text == "off" else text

    @field_validator("video_formats", mode="before")
    @classmethod
    def _read_formats(cls, text: object) -> object:
        if not isinstance(text, str):
            return text
        asked = {word.strip() for word in text.split(",")}
        if not asked <= {"hls", "dash", "mp4"}:
            raise ValueError("must be some of hls, dash, mp4, with commas between them")
        return tuple(name for name in ("hls", "dash", "mp4") if name in asked)

    @field_validator("watermark_position")
    @classmethod
    def _known_position(cls, position: str) -> str:
        if position not in POSITIONS:
            raise ValueError(f"must be one of {', '.join(POSITIONS)}")
        return position

    @field_validator("video_bitrate", "audio_bitrate")
    @classmethod
    def _bitrate(cls, text: str) -> str:
        if not re.fullmatch(r"[1-9][0-9]*[kM]?", text):
            raise ValueError("must be a number with k or M, for example 2000k")
        return text

    @property
    def production(self) -> bool:
        return self.app_env == "production"

    @property
    def old_keys(self) -> tuple[str, ...]:
        """Keys that still open what was sealed with them."""
        step = KEY_CHARACTERS + 1
        return tuple(
            self.encryption_keys_old[at:][:KEY_CHARACTERS]
            for at in range(0, len(self.encryption_keys_old), step)
        )

    @property
    def bind_host(self) -> str:
        return self.host or ("0.0.0.0" if self.production else "127.0.0.1")  # noqa: S104  # a container's port

    @property
    def proxies(self) -> tuple[str, ...]:
        return tuple(address.strip() for address in self.trusted_proxies.split(",") if address.strip())

    @property
    def base_url(self) -> str:
        """The address people open, without a slash at the end."""
        return self.public_url or f"http://localhost:{self.port}"

    @property
    def bucket(self) -> str | None:
        return self.storage_bucket or self.s3_bucket

    def registration(self, platform: str) -> Registration:
        """Our registration at this platform as the environment gives it; empty where it gives none."""
        first = "client_key" if platform == "tiktok" else "client_id"
        return Registration(
            client_key=getattr(self, f"{platform}_{first}") or "",
            client_secret=getattr(self, f"{platform}_client_secret") or "",
            redirect_uri=getattr(self, f"{platform}_redirect_uri")
            or f"{self.base_url}/accounts/{platform}/callback",
        )

    def simulates(self, platform: str) -> bool:
        """The simulator stands in for a platform without credentials; in production only when asked for."""
        if self.simulators == "on":
            return True
        without = not self.registration(platform).client_key
        return self.simulators == "auto" and not self.production and without

    @property
    def any_simulated(self) -> bool:
        return any(self.simulates(platform) for platform in PLATFORM_HOSTS)

    @property
    def sandbox_base(self) -> str:
        """Where the simulators answer, seen from this machine's own processes."""
        return self.sandbox_url or f"http://127.0.0.1:{self.port}/sandbox"

    def bases(self, platform: str, *, simulated: bool | None = None) -> dict[str, str]:
        """Where this platform answers, host by host, or where its simulator does.

        The consent page is opened by the browser, so the simulator's stands under the address that people open.
        """
        simulated = self.simulates(platform) if simulated is None else simulated
        own = {name: getattr(self, name) for name in Config.model_fields if name.endswith("_base")}
        roots = (f"{self.base_url}/sandbox", self.sandbox_base) if simulated else None
        return hosts.bases(platform, own, roots)

    @property
    def redis(self) -> str | None:
        """Address of the optional cache, or None. Localhost counts as none in production (S1.55, S1.56)."""
        if not self.enable_redis or not self.redis_url:
            return None
        host = urlsplit(self.redis_url).hostname
        if urlsplit(self.redis_url).scheme not in ("redis", "rediss") or not host:
            return None
        return None if self.production and host in ("localhost", "127.0.0.1", "::1") else self.redis_url


# Older or shorter names that are read when the first is not set.
FALLBACKS = {"APP_ENV": "NODE_ENV", "STORAGE_BUCKET": "S3_BUCKET"}


def load(env: Mapping[str, str]) -> Config:
    """Read `env`; raises ConfigError with one line for every problem. Connects to nothing.

    In development a missing ENCRYPTION_KEY is made once and kept in BACKLOT_HOME (mode 0600), so that a bare
    laptop needs no settings at all; production refuses to start without one.
    """
    given = _given(env)
    try:
        config = Config.model_validate(given)
        malformed: dict[str, str] = {}
    except ValidationError as error:
        malformed = {_setting(problem["loc"]): _sentence(problem["msg"]) for problem in error.errors()}
        spoiled = {str(problem["loc"][0]) for problem in error.errors()}
        # What is well written is still looked at, so that one start tells everything.
        config = Config.model_validate({name: value for name, value in given.items() if name not in spoiled})
    problems = {**_missing(config), **malformed}
    if problems:
        raise ConfigError([f"{name}: {sentence}" for name, sentence in problems.items()])
    home = config.backlot_home.expanduser().resolve()
    changes: dict[str, object] = {"backlot_home": home, "temp_dir": config.temp_dir.expanduser().resolve()}
    if not config.encryption_key:
        changes["encryption_key"] = _development_key(home)
    return config.model_copy(update=changes)


def _given(env: Mapping[str, str]) -> dict[str, object]:
    """The fields that `env` sets; an empty value counts as unset."""
    given: dict[str, object] = {}
    for field in Config.model_fields:
        name = field.upper()
        text = env.get(name, "").strip() or env.get(FALLBACKS.get(name, name), "").strip()
        if text and field != "queues":
            given[field] = text.lower() if name == "LOG_LEVEL" else text
    queues: dict[str, dict[str, str]] = {}
    for name, text in env.items():
        if (match := QUEUE_SETTING.match(name)) and text.strip():
            queue_name = match[1].lower().replace("_", "-")
            queues.setdefault(queue_name, {})[match[2].lower()] = text.strip()
    return given | {"queues": queues}


def _setting(where: tuple[int | str, ...]) -> str:
    """The name a person set, from pydantic's place of the problem."""
    parts = [str(part) for part in where]
    if parts[0] == "queues":
        return f"QUEUE_{parts[1].replace('-', '_')}_{parts[2]}".upper()
    return parts[0].upper()


def _sentence(message: str) -> str:
    message = message.removeprefix("Value error, ")
    return message[0].lower() + message[1:]


def _missing(config: Config) -> dict[str, str]:
    """What these settings need and do not have: setting → sentence."""
    missing: dict[str, str] = {}
    if config.production and not config.database_url:
        missing["DATABASE_URL"] = "is not set; give the address of a PostgreSQL (15 to 18)"
    if config.production and not config.encryption_key:
        missing["ENCRYPTION_KEY"] = f"is not set; give {KEY_CHARACTERS} random characters"
    if config.storage_provider == "s3":
        needed = {
            "STORAGE_BUCKET": config.bucket,
            "AWS_ACCESS_KEY_ID": config.aws_access_key_id,
            "AWS_SECRET_ACCESS_KEY": config.aws_secret_access_key,
        }
        for name in (name for name, value in needed.items() if not value):
            missing[name] = "is not set, and STORAGE_PROVIDER=s3 needs it"
    if config.watermark_enabled and not config.watermark_path.is_file():
        missing["WATERMARK_PATH"] = f"there is no file {config.watermark_path}, and WATERMARK_ENABLED is on"
    for platform in PLATFORM_HOSTS:
        given = config.registration(platform)
        key = f"{platform}_client_{'key' if platform == 'tiktok' else 'id'}".upper()
        secret = f"{platform}_client_secret".upper()
        if given.client_key and not given.client_secret:
            missing[secret] = f"is not set, and {key} needs it"
        if given.client_secret and not given.client_key:
            missing[key] = f"is not set, and {secret} needs it"
    return missing


def _development_key(home: Path) -> str:
    """The key of this data folder, made on first use; processes that start at once get the same one."""
    path = home / "encryption.key"
    try:
        home.mkdir(parents=True, exist_ok=True)
        file = os.fdopen(os.open(path, os.O_RDWR | os.O_CREAT, 0o600), "r+")
    except OSError as error:
        raise ConfigError([f"BACKLOT_HOME: {path} cannot be written ({error.strerror})"]) from error
    with file:
        fcntl.flock(file, fcntl.LOCK_EX)
        key = file.read().strip()
        if not key:
            key = secrets.token_hex(KEY_CHARACTERS // 2)
            file.write(key)
            file.flush()
            os.fsync(file.fileno())
        if len(key) != KEY_CHARACTERS:
            raise ConfigError([f"ENCRYPTION_KEY: {path} does not hold {KEY_CHARACTERS} characters"])
        return key


@lru_cache(maxsize=1)
def get() -> Config:
    """The settings of this process. Read on first use and never again; tests call `get.cache_clear`."""
    return load(os.environ)
