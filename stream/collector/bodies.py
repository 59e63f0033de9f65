"""Bodies of requests: read within bounds, unpacked, decoded."""

import zlib
from typing import Any, Final

import msgspec
from starlette.requests import Request

from stream.web.headers import header
from stream.web.problems import Problem

BODY_BYTES: Final = 512_000
"""Of one request, unpacked: the 500 KB that Segment takes."""
_GZIP: Final = 31
"""zlib's word for a gzip header and checksum."""

_decode = msgspec.json.Decoder().decode


async def read_body(request: Request) -> bytes:
    """Return the body of *request*, unpacked. Raises Problem."""
    length = header(request.scope, b"content-length") or "0"
    if not length.isdigit() or int(length) > BODY_BYTES:
        raise _too_long()
    parts, size = [], 0
    async for part in request.stream():
        size += len(part)
        if size > BODY_BYTES:
            raise _too_long()
        parts.append(part)
    return _unpacked(b"".join(parts), header(request.scope, b"content-encoding") or "identity")


def _unpacked(body: bytes, encoding: str) -> bytes:
    if encoding == "identity":
        return body
    if encoding != "gzip":
        raise Problem(415, "Content-Encoding must be gzip or absent.")
    unpacking = zlib.decompressobj(_GZIP)
    try:
        found = unpacking.decompress(body, BODY_BYTES + 1)
    except zlib.error:
        raise Problem(400, "The body is not gzip, although Content-Encoding says so.") from None
    if len(found) > BODY_BYTES:
        raise _too_long()
    if not unpacking.eof:
        raise Problem(400, "The body ends within its gzip stream.")
    return found


def decoded(body: bytes) -> Any:
    """Return the JSON in *body*. Raises Problem."""
    try:
        return _decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise Problem(400, f"The body is not JSON in UTF-8: {error}.") from None


def decoded_object(body: bytes) -> dict[str, Any]:
    """Return the JSON object in *body*. Raises Problem."""
    found = decoded(body)
    if not isinstance(found, dict):
        raise Problem(400, "The body must be a JSON object.")
    return found


def _too_long() -> Problem:
    return Problem(413, f"The body may have {BODY_BYTES} bytes, unpacked; send it in parts.")
