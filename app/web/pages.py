"""Turns a template into an answer. Everything a template sees besides its things is put here."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any
from urllib.parse import urlencode, urlsplit

import jinja2
from starlette.requests import Request
from starlette.responses import HTMLResponse

from app import config
from app.web import facts, guard, words

OWN_PATH = re.compile(r"^/(?![/\\])")
APP = Path(__file__).parent.parent


def folder(name: str) -> Path:
    """`templates` or `static`: beside the package in a checkout, inside it in a wheel."""
    packaged = APP / "_data" / name
    return packaged if packaged.is_dir() else APP.parent / name


@lru_cache(maxsize=1)
def environment() -> jinja2.Environment:
    """The one Jinja environment of this process; rooms' filters are added to its `filters`."""
    made = jinja2.Environment(
        loader=jinja2.FileSystemLoader(folder("templates")),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        auto_reload=config.get().app_env == "development",
    )
    made.globals["static"] = static
    words.add_to(made)
    facts.add_to(made)
    return made


def page(
    request: Request,
    template: str,
    *,
    status: int = 200,
    headers: Mapping[str, str] | None = None,
    **things: Any,
) -> HTMLResponse:
    """A whole page or a partial.

    Besides `things` a template sees: `who` (or None), `csrf` (empty for a stranger), `path`, `theme`,
    `simulated`, `url_for(name, **ids)` and `static(path)`.
    """
    return HTMLResponse(render(request, template, **things), status, headers)


def render(request: Request, template: str, **things: Any) -> str:
    """The text of a page or a partial, e.g. to join several partials into one answer."""
    who: guard.Who | None = getattr(request.state, "who", None)

    def url_for(name: str, **given: Any) -> str:
        """The path of a route by name; what is not part of its path becomes the query, None left out."""
        query = given.pop("query", None)
        path = str(request.app.url_path_for(name, **given))
        asked = {key: value for key, value in (query or {}).items() if value is not None}
        return f"{path}?{urlencode(asked)}" if asked else path

    shared = {
        "who": who,
        "csrf": guard.csrf_token(who) if who is not None and who.session.kind == "browser" else "",
        "path": request.url.path,
        "theme": who.person.theme if who is not None else "auto",
        "simulated": config.get().any_simulated,
        "url_for": url_for,
    }
    return environment().get_template(template).render(shared | things)


def current_path(request: Request) -> str:
    """The path of the page around an htmx request; empty when it is unknown or not ours."""
    given = urlsplit(request.headers.get("hx-current-url", ""))
    if given.netloc.lower() != request.headers.get("host", "").lower() or not given.path.startswith("/"):
        return ""
    return safe_next(f"{given.path}?{given.query}" if given.query else given.path)


def safe_next(path: str) -> str:
    """A path of this site, or `/` for anything else a link may have smuggled in (reliability, section 7)."""
    return path if OWN_PATH.match(path) and path.isprintable() else "/"


def static(path: str) -> str:
    """The address of a static file; it changes with the content, so browsers may keep it for ever."""
    version = static_version(path)
    return f"/static/{path}?v={version}" if version else f"/static/{path}"


def static_version(path: str) -> str | None:
    """Twelve characters that change with the content of a static file; None when there is no such file."""
    root = folder("static").resolve()
    file = (root / path).resolve()
    try:
        if not file.is_relative_to(root):
            return None
        changed = file.stat()
        return _version(file, changed.st_mtime_ns, changed.st_size)
    except (OSError, ValueError):
        return None


@lru_cache(maxsize=512)
def _version(file: Path, _changed_ns: int, _bytes: int) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()[:12]
