"""One line for each thing that happened: a fixed sentence and its fields. Secrets are taken out only here.

    log.info("published", target_id=target.id, bytes=size_bytes)
    with log.bound(job_id=7, queue="video-edit"): ...

Lines of the libraries (queue engine, web server, pool) pass through the same filter. `redact` is also used
for texts that are stored: answers of platforms, reasons of failures.
"""

from __future__ import annotations

import logging
import re
import sys
from collections.abc import Callable, Mapping, MutableMapping
from contextlib import AbstractContextManager
from contextvars import ContextVar
from typing import Any

import structlog
from structlog.types import EventDict, Processor

from app.config import Config

GONE = "[redacted]"
_named_by: ContextVar[Callable[[], Mapping[str, object]] | None] = ContextVar("named_by", default=None)
# Deeper nesting is cut, so that a log line can never run away.
DEEPEST = 8

# What a name must end with to make its value a secret. `source_key`, `object_key` and the like are addresses
# in our storage and stay readable.
_NAMES = (
    r"(?:token|secret|passw(?:or)?d|pwd|authorization|signature|\bsig|credentials?|code_verifier|verifier"
    r"|(?:api|client|encryption|private|signing|secret|access|session)[_-]?key(?:[_-]?id)?|\bkey)"
)
_SECRET_FIELD = re.compile(rf"(?:{_NAMES}|cookies?)$", re.IGNORECASE)

_PATTERNS: tuple[tuple[re.Pattern[str], str], ...] = tuple(
    (re.compile(pattern, re.IGNORECASE | re.DOTALL), replacement)
    for pattern, replacement in (
        (r"-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(?:-----END [A-Z ]*PRIVATE KEY-----|\Z)", GONE),
        # Cookies hold several pairs: the whole line goes, or the whole quoted value.
        (
            r"(\bcookies?\\*[\"']?\s*[:=]\s*+)(?!\[redacted)(?:\"(?:[^\"\\]|\\.)*\"?|'(?:[^'\\]|\\.)*'?|[^\r\n\"'}]+)",
            rf"\g<1>{GONE}",
        ),
        (r"\b(bearer|basic)(\s+|%20)[\w.~+/=!%-]{8,}", rf"\1 {GONE}"),
        # name=value, "name": "value", \"name\":\"value\", ('name', 'value'), name%3Dvalue
        (
            rf"({_NAMES}\\*[\"']?(?:\s*[:=]\s*|%3[ad]|\s*,\s*(?=b?[\"']))(?:bearer\s+|basic\s+)?)"
            r"(?!(?:b\w+ )?\[redacted)"
            r"(?:\\+\"[^\"]*\"?|b?\"(?:[^\"\\]|\\.)*\"?|b?'(?:[^'\\]|\\.)*'?|[^\s&\",;}\]<>)]+)",
            rf"\g<1>{GONE}",
        ),
        # The one-time code and the state of a sign-in at a platform stand in the address of the way back.
        (r"([?&](?:code|state)=)[^&\s\"']+", rf"\g<1>{GONE}"),
        # user:password@ in an address.
        (r"(://[^\s:/@\"']*:)[^\s/@\"']+(?=@)", rf"\g<1>{GONE}"),
        (r"\beyJ[\w-]{5,}(?:\.[\w-]*){0,4}", GONE),
        (r"\bsk-[\w-]{8,}", GONE),
        (r"\bbl_[\w-]{8,}", GONE),
        (r"\b(?:act|rft|clt)\.[\w!%.*-]{6,}", GONE),
        # Tokens of Google and of Meta, which their answers quote without a name before them.
        (r"\bya29\.[\w.-]{8,}", GONE),
        (r"\b1//[\w-]{8,}", GONE),
        (r"\b(?:EAA|IGA|IGQ)[\w-]{12,}", GONE),
        (r"\b(?:AKIA|ASIA)[0-9A-Z]{16}\b", GONE),
    )
)


def redact(text: str) -> str:
    """The same text without secrets. Doing it twice changes nothing more."""
    for pattern, replacement in _PATTERNS:
        text = pattern.sub(replacement, text)
    return text


def debug(event: str, **fields: object) -> None:
    """A line for whoever looks for a fault; shown with LOG_LEVEL=debug."""
    _logger.debug(event, **fields)


def info(event: str, **fields: object) -> None:
    """Something happened as it should."""
    _logger.info(event, **fields)


def warning(event: str, **fields: object) -> None:
    """Something is not as it should be, and the house goes on."""
    _logger.warning(event, **fields)


def error(event: str, *, exc_info: bool | BaseException = False, **fields: object) -> None:
    """Something failed. `exc_info=True` inside an `except` adds the traceback."""
    _logger.error(event, exc_info=exc_info, **fields)


def bound(**fields: object) -> AbstractContextManager[None]:
    """Add these fields to every line written inside, also by what is called and by tasks started there."""
    return structlog.contextvars.bound_contextvars(**fields)


def name_by(fields: Callable[[], Mapping[str, object]]) -> None:
    """Add what `fields()` gives to every line of this asyncio task and of those it starts, until it is called again.
    It is asked only when a line is written, so it costs nothing where none is.
    """
    _named_by.set(fields)


def enabled(level: str) -> bool:
    """Whether lines of this level are written, for whoever would have to gather their fields first."""
    return logging.getLogger("backlot").isEnabledFor(getattr(logging, level.upper()))


def correlation_id() -> str | None:
    """The id that joins the lines, jobs and attempts of one request; None where `bound` was not given one."""
    found = structlog.contextvars.get_contextvars().get("correlation_id")
    if found is None and (fields := _named_by.get()) is not None:
        found = fields().get("correlation_id")
    return None if found is None else str(found)


def setup(config: Config) -> None:
    """Send every line of this process to stderr, one JSON object each in production, else readable text.

    May be called again; the last call counts. `LOG_FORMAT` decides over the environment's habit.
    """
    as_json = (config.log_format or ("json" if config.production else "text")) == "json"
    last: list[Processor] = [structlog.stdlib.ProcessorFormatter.remove_processors_meta]
    if as_json:
        last.append(structlog.processors.JSONRenderer(ensure_ascii=False))
    else:
        last += [_one_line, structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty(), timestamp_key="time")]
    handler = _Handler(sys.stderr)
    handler.setFormatter(structlog.stdlib.ProcessorFormatter(processors=last, foreign_pre_chain=_shared))
    root = logging.getLogger()
    for old in list(root.handlers):
        # Ours from an earlier call, or the plain one of `logging.basicConfig`, which does not redact.
        if type(old) in (_Handler, logging.StreamHandler):
            root.removeHandler(old)
    root.addHandler(handler)
    level = getattr(logging, config.log_level.upper())
    root.setLevel(level)
    # Their ordinary lines repeat what our wrappers say, or name addresses with secrets in them.
    for name in (
        "procrastinate",
        "uvicorn",
        "httpx2",
        "httpcore2",
        "botocore",
        "boto3",
        "urllib3",
        "psycopg",
    ):
        library = logging.getLogger(name)
        library.handlers.clear()
        library.propagate = True
        library.setLevel(level if level == logging.DEBUG else max(level, logging.WARNING))
    for name in ("uvicorn.error", "uvicorn.access"):
        logging.getLogger(name).handlers.clear()
        logging.getLogger(name).propagate = True
    # Its debug lines carry the values of statements.
    logging.getLogger("psycopg").setLevel(max(level, logging.WARNING))
    # One line for each try to connect; whoever needs the connection says that it is away.
    logging.getLogger("psycopg.pool").setLevel(logging.ERROR)


class _Handler(logging.StreamHandler[Any]):
    """Ours, so that a second `setup` finds and replaces it."""


def _redact_fields(_: object, __: str, event: EventDict) -> EventDict:
    """Redact every field by its name and by its text; nothing unknown reaches a renderer."""
    for name, value in event.items():
        if name not in ("_record", "_from_structlog"):
            event[name] = _clean(name, value, DEEPEST)
    return event


def _clean(name: str, value: object, depth: int) -> object:
    if value is None or isinstance(value, bool):
        return value
    if _SECRET_FIELD.search(name):
        return GONE
    if isinstance(value, (int, float)):
        return value
    if isinstance(value, str):
        return redact(value)
    if depth == 0:
        return "…"
    if isinstance(value, Mapping):
        return {redact(str(key)): _clean(str(key), part, depth - 1) for key, part in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [_clean("", part, depth - 1) for part in value]
    return redact(str(value))


def _one_line(_: object, __: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """A line break in a value must not look like a second line; only a traceback has several."""
    for name, value in event.items():
        if isinstance(value, str) and name not in ("exception", "stack"):
            event[name] = "".join(
                ch if ch.isprintable() else ch.encode("unicode_escape").decode() for ch in value
            )
    return event


def _merge_named(_: object, __: str, event: EventDict) -> EventDict:
    if (fields := _named_by.get()) is not None:
        for name, value in fields().items():
            event.setdefault(name, value)
    return event


_shared: list[Processor] = [
    structlog.contextvars.merge_contextvars,
    _merge_named,
    structlog.stdlib.add_log_level,
    structlog.stdlib.add_logger_name,
    structlog.stdlib.ExtraAdder(),
    structlog.processors.TimeStamper(fmt="iso", utc=True, key="time"),
    structlog.processors.StackInfoRenderer(),
    structlog.processors.format_exc_info,
    _redact_fields,
]

structlog.configure(
    processors=[
        structlog.stdlib.filter_by_level,
        *_shared,
        structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
    ],
    wrapper_class=structlog.stdlib.BoundLogger,
    logger_factory=structlog.stdlib.LoggerFactory(),
    cache_logger_on_first_use=True,
)
_logger: structlog.stdlib.BoundLogger = structlog.stdlib.get_logger("backlot")
