"""Static files: kept for ever by browsers when asked for by their version, checked each time otherwise."""

from __future__ import annotations

from urllib.parse import parse_qs

from starlette.responses import Response
from starlette.staticfiles import StaticFiles
from starlette.types import Scope

from app.web import pages
from app.web.access import PATTERN

FOR_EVER = "public, max-age=31536000, immutable"
ASK_EACH_TIME = "public, no-cache"


class Static(StaticFiles):
    """The folder `static`."""

    def __init__(self) -> None:
        super().__init__(directory=pages.folder("static"), check_dir=False)

    async def get_response(self, path: str, scope: Scope) -> Response:
        scope[PATTERN] = "/static"
        response = await super().get_response(path, scope)
        wanted = parse_qs(scope.get("query_string", b"").decode("latin-1")).get("v", [""])[0]
        fixed = wanted != "" and wanted == pages.static_version(path)
        response.headers["cache-control"] = FOR_EVER if fixed else ASK_EACH_TIME
        return response
