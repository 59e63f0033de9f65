"""Outputs: what dead letters, unresolved and re-keyed records carry, and the outbox's entries."""

from collections.abc import Sequence
from typing import Any

from aiokafka.structs import ConsumerRecord

from scoring.errors import BadRecord, Reason
from stream.outputs import (
    Announcement,
    Message,
    dead_letter,
    encode_announcements,
    rekeyed,
    unresolved,
)
from stream.outputs import _decode as decode_announcements

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
    return ConsumerRecord[Any, Any](
        topic=topic,
        partition=3,
        offset=17,
        timestamp=1_767_225_600_123,
        timestamp_type=0,
        key=key,
        value=value,
        checksum=None,
        serialized_key_size=0,
        serialized_value_size=0,
        headers=tuple(headers),
    )


def test_dead_letter_is_the_raw_record_with_the_reason_and_its_origin() -> None:
    error = BadRecord(Reason.NOT_JSON, "no JSON: naïve")

    letter = dead_letter(record(b"\xff\x00"), error)

    assert letter == Message(
        "dead-letters",
        b"key",
        b"\xff\x00",
        headers=[
            ("surgeline-reason", b"not_json"),
            ("surgeline-detail", "no JSON: naïve".encode()),
            *ORIGIN,
        ],
    )


def test_dead_letter_of_a_record_without_key_and_value_has_neither() -> None:
    letter = dead_letter(record(None, key=None), BadRecord(Reason.EMPTY, "no value"))

    assert (letter.key, letter.value) == (None, None)


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


def test_unresolved_record_is_passed_on_with_its_origin() -> None:
    message = unresolved(record())

    assert (message.topic, message.key, message.value) == ("unresolved", b"key", b"raw")
    assert message.partition is None
    assert list(message.headers) == ORIGIN


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


def test_outbox_entry_keeps_announcements_as_they_are() -> None:
    announcements = [
        Announcement("score-changes", "Zoë".encode(), b"\x00\xff{}"),
        Announcement("alerts", b"", b""),
    ]

    assert decode_announcements(encode_announcements(announcements)) == announcements


def test_outbox_entry_may_hold_no_announcement() -> None:
    assert decode_announcements(encode_announcements([])) == []
