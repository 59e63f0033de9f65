"""The OpenAPI document: what every route may answer, with examples."""

from collections.abc import Iterator
from typing import Any, Final

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from pydantic import BaseModel

from stream.board.examples import EXAMPLES, PROBLEMS
from stream.board.shapes import ProblemDetails
from stream.web.problems import PROBLEM_TYPE, status_name

DESCRIPTION: Final = """\
What Surgeline knows of accounts, read-only but for two things: acknowledging alerts and muting.

Errors are RFC 9457 problem details. Times are RFC 3339 in UTC; scores are from 0 to 100 and as of
`as_of`. Where the board has tokens, every path under `/api/` wants one as `Authorization: Bearer`;
acknowledging and muting want one with the role `operator`. Query parameters that
are unknown, or come twice, are refused.
Ids in paths are percent-encoded, slashes included.
"""

ALWAYS: Final = (401, 403, 413, 414, 421, 422, 429)
"""What the guard answers before any route is asked, 403 for pages of other sites."""

Responses = dict[int | str, dict[str, Any]]


def answers(shape: type[BaseModel], *problems: int) -> Responses:
    """Return what a route documents that answers *shape*, or one of *problems*."""
    found: Responses = {
        200: {
            "model": shape,
            "description": (shape.__doc__ or "").strip(),
        }
    }
    return found | problem_answers(*problems)


def problem_answers(*problems: int) -> Responses:
    """Return the documentation of *problems*, and of those that any request may meet."""
    return {
        status: {
            "description": status_name(status),
            "content": {
                PROBLEM_TYPE: {
                    "schema": {"$ref": "#/components/schemas/ProblemDetails"},
                    "example": _problem(status),
                }
            },
        }
        for status in sorted({*ALWAYS, *problems})
    }


def _problem(status: int) -> dict[str, Any]:
    detail, errors = PROBLEMS[status]
    body: dict[str, Any] = {
        "type": "about:blank",
        "title": status_name(status),
        "status": status,
        "detail": detail,
    }
    return body | ({"errors": errors} if errors else {})


def document_of(app: FastAPI, version: str) -> dict[str, Any]:
    """Return the OpenAPI document of *app*."""
    found = get_openapi(
        title="Surgeline board", version=version, description=DESCRIPTION, routes=app.routes
    )
    schemas = found["components"]["schemas"]
    schemas["ProblemDetails"] = ProblemDetails.model_json_schema(
        ref_template="#/components/schemas/{model}"
    )
    schemas |= schemas["ProblemDetails"].pop("$defs", {})
    for each in _answers_in(found):
        shape = each.get("schema", {}).get("$ref", "").rpartition("/")[2]
        if shape in EXAMPLES:  # added last: FastAPI drops what is null
            each["example"] = EXAMPLES[shape]
    for unused in ("HTTPValidationError", "ValidationError"):
        schemas.pop(unused, None)
    return found


def _answers_in(document: dict[str, Any]) -> Iterator[dict[str, Any]]:
    for operations in document["paths"].values():
        for operation in operations.values():
            for answer in operation["responses"].values():
                yield from answer.get("content", {}).values()
