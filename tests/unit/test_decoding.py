"""Decoding: each record is an event or a reason, and nothing is raised."""

import gc
import json
import weakref
from typing import Any

import pytest

from scoring.errors import Reason
from scoring.events import TOPIC_TYPES
from stream.decoding import NEVER, Decoded, record_decoder
from tests.records import consumed

NOON = 1_767_268_800.0
"""2026-01-01T12:00:00Z."""
VISIT = {
    "id": "1",
    "source": "web",
    "type": "page_visit",
    "time": "2026-01-01T12:00:00Z",
    "account_id": "acme",
    "url": "https://example.com/",
}
MAX_BYTES = 1_000


def record(value: bytes | None) -> Any:
    return consumed("page-visits", value, at=(0, 5), key=b"acme")


def decoded(value: bytes | None, *, topic: str = "page-visits", now: float = NOON) -> Decoded:
    return record_decoder(topic, max_bytes=MAX_BYTES)(record(value), now)


def reason(value: bytes | None, **options: Any) -> Reason:
    found = decoded(value, **options)
    assert found.event is None
    assert found.time == NEVER
    assert found.error is not None
    return found.error.reason


def visit(**fields: object) -> bytes:
    return json.dumps({**VISIT, **fields}).encode()


def test_good_record_becomes_an_event_with_its_time() -> None:
    found = decoded(visit(duration_seconds=2.5))

    assert found.error is None
    assert found.event is not None
    assert found.event["account_id"] == "acme"
    assert found.event["duration_seconds"] == 2.5
    assert found.time == NOON


def test_decoded_record_keeps_where_it_came_from() -> None:
    value = visit()

    assert [decoded(each).record.value for each in (value, b"{", None)] == [value, b"{", None]


def test_time_with_an_offset_is_read_as_unix_seconds() -> None:
    assert decoded(visit(time="2026-01-01T14:00:00.250+02:00")).time == NOON + 0.25


def test_record_without_a_value_is_empty() -> None:
    assert reason(None) is Reason.EMPTY


def test_record_of_the_largest_size_is_read_and_a_larger_one_is_not() -> None:
    padding = MAX_BYTES - len(visit(unknown=""))

    assert decoded(visit(unknown="x" * padding)).error is None
    assert reason(visit(unknown="x" * (padding + 1))) is Reason.TOO_LARGE


def test_size_is_looked_at_before_the_content() -> None:
    found = decoded(b"{" * (MAX_BYTES + 1))

    assert found.error is not None
    assert str(found.error) == "too_large: 1001 bytes; at most 1000 are read"


def test_event_may_be_five_minutes_ahead_of_the_wall_clock_and_no_more() -> None:
    assert decoded(visit(), now=NOON - 300).error is None
    assert reason(visit(), now=NOON - 301) is Reason.IN_FUTURE


def test_event_of_another_topics_type_is_a_bad_record() -> None:
    assert reason(visit(), topic="chats") is Reason.UNKNOWN_TYPE


def test_identification_of_nobody_is_a_bad_record() -> None:
    nobody = {**VISIT, "type": "identify", "anonymous_id": "v"}

    assert reason(json.dumps(nobody).encode(), topic="identities") is Reason.MISSING_FIELD


@pytest.mark.parametrize("topic", TOPIC_TYPES)
@pytest.mark.parametrize(
    "value",
    [
        b"",
        b"\x00",
        b"\xff\xfe\xfd",
        b"null",
        b"[]",
        b"{}",
        b'"text"',
        b"{}{}",
        b"[" * MAX_BYTES,
        b'{"a":' * (MAX_BYTES // 5),
        b'{"time": 1e999}',
        b'{"time": "9999-12-31T23:59:59-23:59"}',
        visit(time="0001-01-01T00:00:00+23:59", type="page_visit"),
        visit(time="9999-12-31T23:59:59.999999-23:59"),
        visit(type=None),
        visit(type=["page_visit"]),
        visit(url="\ud800"),
        "naïve".encode("utf-16"),
    ],
    ids=range(18),
)
def test_nothing_that_a_producer_sends_is_raised(topic: str, value: bytes) -> None:
    found = decoded(value, topic=topic)

    assert (found.event is None) is (found.error is not None)


class Batch(list[Decoded]):
    """A list that a weak reference can look at."""


@pytest.mark.parametrize(
    "value",
    [None, b"x" * (MAX_BYTES + 1), visit(time="2026-01-01T12:30:00Z"), b"no JSON"],
    ids=["no value", "too large", "in the future", "no JSON"],
)
def test_a_bad_record_keeps_nobody_alive(value: bytes | None) -> None:
    def read() -> weakref.ref[Batch]:
        batch = Batch()
        batch.append(decoded(value))
        batch.append(decoded(visit()))
        assert [each.event is None for each in batch] == [True, False]
        return weakref.ref(batch)

    held = read()
    gc.collect()

    assert held() is None
