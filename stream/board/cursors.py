"""Cursors: where a list goes on, as opaque text that says for which list it was made."""

from base64 import urlsafe_b64decode, urlsafe_b64encode
from binascii import Error
from hashlib import blake2b
from math import inf
from typing import Final, NamedTuple

import msgspec

from stream.web.problems import Problem

LONGEST: Final = 6_000
"""Characters of a cursor: an id of 512 characters, each of up to four bytes."""


class Place(NamedTuple):
    """The last entry that was shown: its sort value, then its id."""

    value: float
    id: str


class _Cursor(msgspec.Struct, array_like=True):
    question: str
    value: float | None
    id: str


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(_Cursor)


def cursor_of(place: Place, *question: object) -> str:
    """Return the cursor behind *place* in the list that answers *question*."""
    value = None if place.value == -inf else place.value
    data = _encoder.encode(_Cursor(_digest(question), value, place.id))
    return urlsafe_b64encode(data).decode().rstrip("=")


def place_of(cursor: str | None, *question: object) -> Place | None:
    """Return the place that *cursor* means, None without one.

    Raises Problem for text that is no cursor, or one of another list.
    """
    if cursor is None:
        return None
    try:
        found = _decoder.decode(urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)))
    except (Error, ValueError, msgspec.MsgspecError):
        raise _wrong() from None
    value = -inf if found.value is None else found.value
    if found.question != _digest(question) or value != value:  # noqa: PLR0124  # NaN
        raise _wrong()
    return Place(value, found.id)


def _digest(question: tuple[object, ...]) -> str:
    return blake2b(repr(question).encode("utf-8", "surrogatepass"), digest_size=6).hexdigest()


def _wrong() -> Problem:
    detail = "The cursor does not belong to this list: take `next` of its last page, unchanged."
    errors = [{"where": "query.cursor", "problem": "is no cursor of this list"}]
    return Problem(422, detail, errors=errors)
