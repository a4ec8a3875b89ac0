"""The document of the API, OpenAPI 3.1, made from the list of routes and from what the endpoints declare."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from pydantic.json_schema import models_json_schema
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute

from app.web.access import HARMLESS, Access, Door, Id
from app.web.api.body import Answer, Body, Failure
from app.web.api.endpoint import Endpoint

VERSION = "1"
SCHEMAS = "#/components/schemas/{model}"
# A number that an `{…:id}` of a path takes; see `access.Id`.
ID_SCHEMA = {"type": "integer", "minimum": 1, "maximum": 10**18 - 1}
STATUSES = {
    200: "Done.", 201: "Made.", 202: "Accepted; the work goes on.", 204: "Done; there is nothing to tell.",
    400: "The request cannot be read.", 401: "No valid access token.", 403: "Not allowed.",
    404: "There is no such thing, or it is somebody else's.", 409: "Not in this state.", 413: "Too large.",
    415: "Another content type is needed.", 422: "Something in it cannot be accepted; see `fields`.",
    429: "Too often; `Retry-After` says when again.", 503: "Not possible right now; `Retry-After` says when again.",
}  # fmt: skip


def described(routes: Iterable[BaseRoute]) -> list[tuple[Door, Endpoint]]:
    """The routes that are published, with what they declare."""
    return [(door, door.declared) for door in routes if isinstance(door, Door) and door.declared is not None]


def document(routes: Iterable[BaseRoute]) -> dict[str, Any]:
    """The whole document as plain values."""
    doors = described(routes)
    refs, components = _schemas(doors)
    paths: dict[str, dict[str, Any]] = {}
    for door, endpoint in doors:
        # `path_format` is the path without convertors: /api/videos/{video_id}.
        methods = paths.setdefault(door.path_format, {})
        for method in sorted((door.methods or set()) - {"HEAD"}):
            methods[method.lower()] = _operation(door, endpoint, method, refs)
    return {
        "openapi": "3.1.0",
        "info": {"title": "Backlot", "version": VERSION, "description": "The JSON API of a Backlot studio."},
        "paths": paths,
        "components": {
            "schemas": components,
            "securitySchemes": {"bearer": {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"}},
        },
    }


async def published(request: Request) -> Response:
    """GET /api/openapi.json"""
    return JSONResponse(document(request.app.routes))


def _schemas(doors: list[tuple[Door, Endpoint]]) -> tuple[dict[type, dict[str, Any]], dict[str, Any]]:
    """A reference for every shape that is used, and the shapes themselves."""
    takes: list[type[Body]] = [endpoint.takes for _, endpoint in doors if endpoint.takes]
    gives: list[type[Answer]] = [Failure] + [endpoint.gives for _, endpoint in doors if endpoint.gives]
    refs, definitions = models_json_schema(
        [*((shape, "validation") for shape in takes), *((shape, "serialization") for shape in gives)],
        by_alias=True,
        ref_template=SCHEMAS,
    )
    return {shape: ref for (shape, _), ref in refs.items()}, definitions.get("$defs", {})


def _operation(
    door: Door, endpoint: Endpoint, method: str, refs: dict[type, dict[str, Any]]
) -> dict[str, Any]:
    open_to_all = door.access in (Access.PUBLIC, Access.WORLD)
    operation: dict[str, Any] = {
        "operationId": f"{endpoint.name}_{method.lower()}" if len(door.methods or ()) > 2 else endpoint.name,
        "summary": endpoint.summary,
        "tags": [door.path_format.split("/")[2]],
        "parameters": _parameters(door, endpoint, method),
        "responses": {"default": _failure(refs, "Anything else that failed.")},
        "security": [] if open_to_all else [{"bearer": []}],
    }
    if endpoint.takes is not None:
        content: dict[str, Any] = {"application/json": {"schema": refs[endpoint.takes]}}
        operation["requestBody"] = {"required": True, "content": content}
    elif endpoint.content:
        content = {kind: {"schema": dict(schema)} for kind, schema in endpoint.content.items()}
        operation["requestBody"] = {"required": True, "content": content}
    good: dict[str, Any] = {"description": STATUSES.get(endpoint.status, "Done.")}
    if endpoint.gives is not None:
        good["content"] = {"application/json": {"schema": refs[endpoint.gives]}}
    operation["responses"][str(endpoint.status)] = good
    for status in sorted(_failures(door, endpoint, method, open_to_all)):
        operation["responses"][str(status)] = _failure(refs, STATUSES.get(status, "Failed."))
    return operation


def _failures(door: Door, endpoint: Endpoint, method: str, open_to_all: bool) -> set[int]:
    found = {503, *endpoint.errors}
    if not open_to_all:
        found.add(401)
    if door.access is Access.OPERATOR:
        found.add(403)
    if door.param_convertors:
        found.add(404)
    if endpoint.takes is not None or endpoint.content:
        found |= {400, 413, 415, 422}
    if endpoint.query:
        found |= {400, 422}
    if method not in HARMLESS and not open_to_all:
        found |= {422, 429}
    return found


def _failure(refs: dict[type, dict[str, Any]], text: str) -> dict[str, Any]:
    return {"description": text, "content": {"application/json": {"schema": refs[Failure]}}}


def _parameters(door: Door, endpoint: Endpoint, method: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = [
        {"name": name, "in": "path", "required": True, "schema": _path_schema(convertor)}
        for name, convertor in door.param_convertors.items()
    ]
    found += [
        {"name": name, "in": "query", "required": False, "schema": dict(schema)}
        for name, schema in endpoint.query.items()
    ]
    # Where there is nothing to tell there is no first answer to give again.
    keeps = endpoint.gives is not None and method not in HARMLESS
    if keeps and door.access not in (Access.PUBLIC, Access.WORLD):
        key = {"type": "string", "minLength": 1, "maxLength": 255, "pattern": "^[!-~]+$"}
        text = "The same key again gives the first answer again."
        found.append(
            {"name": "Idempotency-Key", "in": "header", "required": False, "schema": key, "description": text}
        )
    return found


def _path_schema(convertor: object) -> dict[str, Any]:
    if isinstance(convertor, Id):
        return dict(ID_SCHEMA)
    # A path parameter holds no slash and is not empty (starlette's `str`).
    return {"type": "string", "minLength": 1, "pattern": "^[^/\\u0000]+$"}
