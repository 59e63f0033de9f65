"""Outputs: what dead letters, unresolved and re-keyed records carry, and the outbox's entries."""

from collections.abc import Sequence
from typing import Any

import pytest

from scoring.errors import BadRecord, Reason
from stream.outputs import (
    CUT,
    LARGE_BYTES,
    Announcement,
    Message,
    dead_letter,
    encode_announcements,
    rekeyed,
    unresolved,
)
from stream.outputs import _decode as decode_announcements
from tests.records import consumed

ORIGIN = [
    ("surgeline-topic", b"chats"),
    ("surgeline-partition", b"3"),
    ("surgeline-offset", b"17"),
    ("surgeline-timestamp", b"1767225600123"),
]


def record(
    value: bytes | None = b"raw",
    *,
    key: bytes | None = b"key",
    topic: str = "chats",
    headers: Sequence[tuple[str, bytes]] = (("trace", b"1"),),
) -> Any:
    return consumed(topic, value, at=(3, 17), timestamp=1_767_225_600_123, key=key, headers=headers)


def test_dead_letter_is_the_raw_record_with_the_reason_and_its_origin() -> None:
    error = BadRecord(Reason.NOT_JSON, "no JSON: naïve")

    letter = dead_letter(record(b"\xff\x00"), error)

    assert letter == Message(
        "dead-letters",
        b"key",
        b"\xff\x00",
        headers=[
            ("trace", b"1"),
            ("surgeline-reason", b"not_json"),
            ("surgeline-detail", "no JSON: naïve".encode()),
            *ORIGIN,
        ],
    )


def test_dead_letter_of_a_record_without_key_and_value_can_be_sent() -> None:
    letter = dead_letter(record(None, key=None), BadRecord(Reason.EMPTY, "no value"))

    assert (letter.key, letter.value) == (b"", None)


def test_dead_letter_of_a_record_without_key_has_none() -> None:
    letter = dead_letter(record(b"", key=None), BadRecord(Reason.NOT_JSON, "no JSON"))

    assert (letter.key, letter.value) == (None, b"")


def test_detail_that_is_no_proper_text_is_sent_all_the_same() -> None:
    letter = dead_letter(record(), BadRecord(Reason.NOT_JSON, "lone \ud800"))

    assert dict(letter.headers)["surgeline-detail"] == b"lone ?"


def test_origin_is_told_without_the_topic_prefix() -> None:
    error = BadRecord(Reason.NOT_JSON, "no JSON")
    from_prefixed = record(topic="eu.chats")

    headers = [
        dict(dead_letter(from_prefixed, error, prefix="eu.").headers),
        dict(unresolved(from_prefixed, prefix="eu.").headers),
    ]

    assert [each["surgeline-topic"] for each in headers] == [b"chats", b"chats"]


def test_unresolved_record_is_passed_on_with_its_origin_and_the_reason() -> None:
    message = unresolved(record(), why="provider")

    assert (message.topic, message.key, message.value) == ("unresolved", b"key", b"raw")
    assert message.partition is None
    assert list(message.headers) == [*ORIGIN, ("surgeline-why", b"provider")]


def test_rekeyed_record_goes_to_the_partition_of_its_account() -> None:
    message = rekeyed(record(), "chats", "Zoë & Co", 5)

    assert message == Message(
        "chats",
        "Zoë & Co".encode(),
        b"raw",
        5,
        [("trace", b"1"), ("surgeline-rekeyed-from", b"3")],
        1_767_225_600_123,
    )


def test_dead_letter_that_is_too_large_can_be_cut() -> None:
    large = record(b"x" * 2 * LARGE_BYTES)

    instead = dead_letter(large, BadRecord(Reason.NOT_JSON, "no JSON")).instead

    assert instead is not None
    assert instead.value == b"x" * LARGE_BYTES
    assert dict(instead.headers)[CUT] == str(2 * LARGE_BYTES + len(b"keytrace1")).encode()
    assert list(instead.headers)[2:6] == ORIGIN
    assert instead.instead is None


def test_cut_dead_letter_leaves_large_headers_and_keys_behind() -> None:
    large = record(key=b"k" * 2 * LARGE_BYTES, headers=[("trace", b"x" * LARGE_BYTES)])

    instead = dead_letter(large, BadRecord(Reason.NOT_JSON, "no JSON")).instead

    assert instead is not None
    assert instead.key == b"k" * LARGE_BYTES
    assert "trace" not in dict(instead.headers)


@pytest.mark.parametrize("passed_on", ["unresolved", "re-keyed"])
def test_good_record_that_is_too_large_to_be_passed_on_is_a_dead_letter(passed_on: str) -> None:
    large = record(b"x" * LARGE_BYTES, topic="eu.chats")
    message = (
        unresolved(large, prefix="eu.")
        if passed_on == "unresolved"
        else rekeyed(large, "chats", "acme", 5)
    )

    instead = message.instead

    assert instead is not None
    assert (instead.topic, instead.value) == ("dead-letters", large.value)
    assert dict(instead.headers)["surgeline-reason"] == b"too_large"
    assert dict(instead.headers)["surgeline-topic"] == b"chats"


def test_outbox_entry_keeps_announcements_as_they_are() -> None:
    announcements = [
        Announcement("score-changes", "Zoë".encode(), b"\x00\xff{}"),
        Announcement("alerts", b"", b""),
    ]

    assert decode_announcements(encode_announcements(announcements)) == announcements


def test_outbox_entry_may_hold_no_announcement() -> None:
    assert decode_announcements(encode_announcements([])) == []
