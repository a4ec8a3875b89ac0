"""Shapes of what the API takes (`Body`) and gives (`Answer`), and the reading of JSON bodies.

The shapes are pydantic models, so the published schema and the check are the same thing.
"""

from __future__ import annotations

from typing import Annotated, Any, TypeVar

from pydantic import BaseModel, ConfigDict, StringConstraints, ValidationError
from pydantic.alias_generators import to_camel
from starlette.requests import Request

from app.errors import Refused
from app.web import forms

MOST_BYTES = 256 * 1024

# A column cannot hold a zero byte, and half a surrogate pair is no text.
Text = Annotated[str, StringConstraints(pattern=r"^[^\x00]*$")]
# Text of one line.
Line = Annotated[str, StringConstraints(pattern=r"^[^\x00-\x1f\x7f]*$")]


class Body(BaseModel):
    """What a caller sends: exactly these fields, exactly these types. Strings are `Text` or `Line`."""

    model_config = ConfigDict(alias_generator=to_camel, extra="forbid", strict=True, frozen=True)


class Answer(BaseModel):
    """What a caller gets. Made with snake_case names, sent as camelCase; times are ISO 8601 in UTC."""

    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True, extra="forbid", frozen=True)


class Problem(Answer):
    """What failed: a word for the machine, a sentence for the person, and what is wrong field by field."""

    code: str
    message: str
    fields: dict[str, str]


class Failure(Answer):
    error: Problem


B = TypeVar("B", bound=Body)

PLAIN = {
    "missing": "This is needed.",
    "extra_forbidden": "There is no such field.",
    "string_type": "This must be text.",
    "int_type": "This must be a whole number.",
    "float_type": "This must be a number.",
    "bool_type": "This must be true or false.",
    "string_pattern_mismatch": "This holds characters that cannot be used here.",
    "string_unicode": "This is not valid text.",
}


async def raw(request: Request, most_bytes: int = MOST_BYTES) -> bytes:
    """The body as it was sent; Refused (413) above the limit. Asked again, the same answer."""
    if not hasattr(request.state, "raw_body"):
        request.state.raw_body = await forms.bounded(request, most_bytes)
    found: bytes = request.state.raw_body
    return found


async def read(request: Request, shape: type[B]) -> B:
    """The body as a `shape`. Refused: 415 for another type, 400 for no JSON, 422 with `fields` for a wrong one."""
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "application/json":
        raise Refused("Send the body as application/json.", code="wrong_type", status=415)
    try:
        return shape.model_validate_json(await raw(request))
    except ValidationError as error:
        raise _refusal(error) from error


def as_json(answer: Answer) -> Any:
    """What is sent of an answer: plain values under camelCase names."""
    return answer.model_dump(mode="json", by_alias=True)


def _refusal(error: ValidationError) -> Refused:
    problems = error.errors(include_url=False, include_context=False, include_input=False)
    if any(problem["type"] == "json_invalid" for problem in problems):
        return Refused("The body is not valid JSON.", code="bad_json", status=400)
    if any(not problem["loc"] for problem in problems):
        return Refused("The body must be a JSON object.", code="invalid")
    fields = {
        ".".join(str(part) for part in problem["loc"]): PLAIN.get(problem["type"])
        or _sentence(problem["msg"])
        for problem in problems
    }
    return Refused("Some of this cannot be accepted yet.", code="invalid", fields=fields)


def _sentence(message: str) -> str:
    message = message.removeprefix("Value error, ")
    return message if message.endswith(".") else f"{message}."
