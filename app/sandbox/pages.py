"""The simulator's own few pages: plain HTML with one stylesheet, no script, nothing from outside."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response

FOLDER = Path(__file__).parent / "html"
TEMPLATES = Environment(
    loader=FileSystemLoader(FOLDER), autoescape=True, undefined=StrictUndefined, trim_blocks=True
)
STYLESHEET = "/tiktok/consent.css"


def page(
    request: Request, name: str, values: dict[str, Any], status: int = 200, form_to: str = ""
) -> Response:
    """Render one page; `values["label"]` is the platform it stands for.

    `form_to` is the origin a form's answer may redirect to besides our own.
    """
    root = request.scope.get("root_path", "")
    html = TEMPLATES.get_template(name).render(root=root, stylesheet=root + STYLESHEET, **values)
    policy = (
        "default-src 'none'; style-src 'self'; img-src 'self'; base-uri 'none'; frame-ancestors 'none'; "
        f"form-action 'self' {form_to}"
    )
    headers = {
        "content-security-policy": policy.strip(),
        "cache-control": "no-store",
        "x-content-type-options": "nosniff",
    }
    return HTMLResponse(html, status, headers=headers)


def problem(request: Request, label: str, field: str, message: str) -> Response:
    """Say on a page, as the platform called `label` would, that a parameter of the address is wrong."""
    return page(request, "problem.html", {"label": label, "field": field, "message": message}, 400)


async def stylesheet(request: Request) -> Response:
    return Response((FOLDER / "sandbox.css").read_text(), media_type="text/css")
