"""Errors of the API as RFC 9457 problem details."""

from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any, Final

import msgspec
from starlette.responses import Response

PROBLEM_TYPE: Final = "application/problem+json"

_RFC_9110: Final = {
    413: "Content Too Large",
    414: "URI Too Long",
    416: "Range Not Satisfiable",
    422: "Unprocessable Content",
}
"""Names of statuses that Python has since 3.13."""

_encode = msgspec.json.Encoder().encode


def status_name(status: int) -> str:
    """Return the name of an HTTP *status* as RFC 9110 has it, the same for every Python.

    >>> status_name(404), status_name(422)
    ('Not Found', 'Unprocessable Content')
    """
    return _RFC_9110.get(status) or HTTPStatus(status).phrase


class Problem(Exception):
    """What the API answers instead of what was asked for."""

    def __init__(
        self,
        status: int,
        detail: str,
        *,
        headers: Mapping[str, str] | None = None,
        errors: Sequence[Mapping[str, str]] = (),
    ) -> None:
        super().__init__(detail)
        self.status = status
        self.detail = detail
        self.headers = dict(headers or {})
        self.errors = list(errors)

    def response(self) -> Response:
        """Return the response that says so."""
        body: dict[str, Any] = {
            "type": "about:blank",
            "title": status_name(self.status),
            "status": self.status,
            "detail": self.detail,
        }
        if self.errors:
            body["errors"] = self.errors
        return Response(
            _encode(body), status_code=self.status, headers=self.headers, media_type=PROBLEM_TYPE
        )


def unavailable(detail: str) -> Problem:
    """Return the problem of a server that the board waits for."""
    return Problem(503, detail, headers={"Retry-After": "2"})
