"""Dead letters as lines of JSON, for programs, and for people who repair what is in them."""

import base64
from typing import Any

import msgspec

from scoring.report import parse_time, rfc3339
from stream.dead_letters import DeadLetter, Origin
from stream.errors import BadDeadLetter


def row_of(letter: DeadLetter, *, was_replayed: bool) -> dict[str, Any]:
    """Return *letter* as an object of JSON from which `letter_of_row` makes it again."""
    origin = letter.origin
    return {
        "time": rfc3339(letter.time),
        "topic": origin.topic,
        "partition": origin.partition,
        "offset": origin.offset,
        "timestamp_ms": origin.timestamp_ms,
        "reason": letter.reason,
        "detail": letter.detail,
        "key_base64": _base64(letter.key),
        "value": _readable(letter.value),
        "value_base64": _base64(letter.value),
        "cut": letter.cut,
        "headers": [[name, _base64(value)] for name, value in letter.headers],
        "letter_partition": letter.partition,
        "letter_offset": letter.offset,
        "replayed": was_replayed,
    }


class _Row(msgspec.Struct):
    """What is read of a row; the rest is for people."""

    topic: str
    reason: str = ""
    detail: str = ""
    time: str = "1970-01-01T00:00:00Z"
    partition: int | None = None
    offset: int | None = None
    timestamp_ms: int | None = None
    key_base64: str | None = None
    value: str | dict[str, Any] | None = None
    value_base64: str | None = None
    cut: bool = False
    headers: list[tuple[str, str | None]] = []
    letter_partition: int | None = None
    letter_offset: int | None = None


_decode_row = msgspec.json.Decoder(_Row).decode


def letter_of_row(line: bytes, *, place: str) -> DeadLetter:
    """Return the letter of one *line* of JSON, as `dead-letters list --json` prints it.

    Where ``value`` (text, or an object) is there, it counts, else ``value_base64``: so a record
    is repaired by changing its ``value``. Raises BadDeadLetter, naming *place*.
    """
    try:
        row = _decode_row(line)
        return DeadLetter(
            origin=Origin(row.topic, row.partition, row.offset, row.timestamp_ms),
            reason=row.reason,
            detail=row.detail,
            key=_bytes(row.key_base64),
            value=_repaired(row),
            headers=[(name, _bytes(value)) for name, value in row.headers],  # type: ignore[misc]  # a header may lack a value
            partition=row.letter_partition,
            offset=row.letter_offset,
            time=parse_time(row.time),
            # Whoever changes a value has seen to the rest of it.
            cut=row.cut and _repaired(row) == _bytes(row.value_base64),
        )
    except ValueError as error:
        raise BadDeadLetter(
            f"{place} is no dead letter as listed by --json: {str(error).rstrip('.')}."
        ) from None


def _repaired(row: _Row) -> bytes | None:
    if row.value is None:
        return _bytes(row.value_base64)
    if isinstance(row.value, str):
        return row.value.encode("utf-8", "surrogatepass")
    return msgspec.json.encode(row.value)


def _readable(value: bytes | None) -> str | None:
    try:
        return None if value is None else value.decode()
    except UnicodeDecodeError:
        return None


def _base64(value: bytes | None) -> str | None:
    return None if value is None else base64.b64encode(value).decode()


def _bytes(text: str | None) -> bytes | None:
    return None if text is None else base64.b64decode(text, validate=True)
