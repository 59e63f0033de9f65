"""Dead letters as values: what their topic's records say, and what is produced of them again."""

import json
from dataclasses import replace
from typing import Any

import pytest

from scoring.errors import BadRecord, Reason
from stream.dead_letter_rows import letter_of_row, row_of
from stream.dead_letters import (
    Chosen,
    DeadLetter,
    Summary,
    letter_of,
    receipt,
    receipt_of,
    replayed,
)
from stream.errors import BadDeadLetter
from stream.outputs import LARGE_BYTES, Message, dead_letter
from tests.records import consumed

WRITTEN = 1_767_312_000_000
ARRIVED = 1_767_225_600_123


def record(
    value: bytes | None = b"raw",
    *,
    key: bytes | None = b"acme",
    topic: str = "eu.chats",
    at: tuple[int, int] = (3, 17),
    timestamp: int = ARRIVED,
    headers: Any = (("trace", b"1"), ("empty", None)),
) -> Any:
    return consumed(topic, value, at=at, timestamp=timestamp, key=key, headers=headers)


def stored(message: Message, at: tuple[int, int] = (1, 5)) -> Any:
    """Return *message* as it is read back."""
    return record(
        message.value,
        key=message.key,
        topic=f"eu.{message.topic}",
        at=at,
        timestamp=WRITTEN,
        headers=message.headers,
    )


def buried(bad: Any = None, at: tuple[int, int] = (1, 5)) -> DeadLetter:
    error = BadRecord(Reason.NOT_JSON, "no JSON: naïve")
    letter = letter_of(stored(dead_letter(bad or record(), error, prefix="eu."), at))
    assert letter is not None
    return letter


def test_letter_tells_origin_reason_and_the_record_as_it_was() -> None:
    letter = buried(record(b"\xff\x00"))

    assert letter.identity == "chats/3/17"
    assert (letter.reason, letter.detail) == ("not_json", "no JSON: naïve")
    assert (letter.key, letter.value) == (b"acme", b"\xff\x00")
    assert letter.headers == (("trace", b"1"), ("empty", None))
    assert (letter.partition, letter.offset, letter.time) == (1, 5, WRITTEN / 1_000)


def test_headers_that_look_like_ours_are_the_records_own() -> None:
    own = (("surgeline-topic", b"spend"), ("surgeline-reason", b"why not"))

    letter = buried(record(headers=own))

    assert (letter.origin.topic, letter.reason) == ("chats", "not_json")
    assert letter.headers == own


def test_record_without_our_headers_is_no_letter() -> None:
    assert letter_of(record(headers=[("trace", b"1")])) is None


def test_letter_is_replayed_to_its_topic_as_it_was() -> None:
    assert replayed(buried()) == Message(
        "chats",
        b"acme",
        b"raw",
        None,
        [("trace", b"1"), ("empty", None), ("surgeline-replayed-from", b"1/5")],  # type: ignore[list-item]
        ARRIVED,
    )


def test_record_that_fails_again_tells_its_newest_letter_only() -> None:
    first = replayed(buried())
    assert first is not None

    second = replayed(buried(record(headers=first.headers), at=(2, 9)))

    assert second is not None
    assert [each for each in second.headers if each[0] == "surgeline-replayed-from"] == [
        ("surgeline-replayed-from", b"2/9")
    ]


def test_record_that_fails_again_is_another_letter() -> None:
    assert buried(record(at=(3, 99))).identity != buried().identity


def test_record_that_was_buried_twice_is_one_letter() -> None:
    assert buried(at=(1, 5)).identity == buried(at=(1, 6)).identity


def test_receipt_names_its_letter_in_the_letters_partition() -> None:
    message = receipt(buried())

    assert receipt_of(stored(message)) == "chats/3/17"
    assert message.partition == 1
    assert letter_of(stored(message)) is None


def test_letter_is_no_receipt_whatever_headers_its_record_had() -> None:
    faked = dead_letter(
        record(headers=[("surgeline-replayed", b"chats/0/0")]), BadRecord(Reason.EMPTY, "no value")
    )

    assert receipt_of(stored(faked)) is None


def test_line_of_a_file_is_routed_anew() -> None:
    headers = [("surgeline-reason", b"unknown_type"), ("surgeline-topic", b"replay")]
    good = letter_of(record(b'{"type": "chat", "account_id": "acme"}\n', headers=headers))
    bad = letter_of(record(b'{"type": "seance"}', headers=headers))
    assert good is not None
    assert bad is not None

    message = replayed(good)

    assert message is not None
    assert (message.topic, message.key) == ("chats", b"acme")
    assert good.identity == "dead-letters/3/17"
    assert replayed(bad) is None


def test_cut_letter_is_not_replayed() -> None:
    error = BadRecord(Reason.NOT_JSON, "no JSON")
    cut = dead_letter(record(b"x" * LARGE_BYTES), error, prefix="eu.").instead
    assert cut is not None

    letter = letter_of(stored(cut))

    assert letter is not None
    assert letter.headers == ()
    assert replayed(letter) is None


def test_letter_of_a_topic_that_is_gone_is_not_replayed() -> None:
    assert replayed(buried(record(topic="eu.telegrams"))) is None


@pytest.mark.parametrize(
    ("chosen", "is_meant"),
    [
        (Chosen(), True),
        (Chosen(reasons=frozenset({"not_json", "bad_time"})), True),
        (Chosen(reasons=frozenset({"bad_time"})), False),
        (Chosen(topics=frozenset({"chats"})), True),
        (Chosen(topics=frozenset({"emails"})), False),
        (Chosen(since=WRITTEN / 1_000), True),
        (Chosen(since=WRITTEN / 1_000 + 1), False),
    ],
    ids=range(7),
)
def test_letters_are_chosen_by_reason_topic_and_time(chosen: Chosen, *, is_meant: bool) -> None:
    assert (buried() in chosen) is is_meant


def test_summary_counts_by_topic_and_reason() -> None:
    summary = Summary()
    for n in range(3):
        summary.add(buried(), was_replayed=n == 0)

    assert list(summary.rows()) == [
        {
            "topic": "chats",
            "reason": "not_json",
            "letters": 3,
            "replayed": 1,
            "newest": "2026-01-02T00:00:00Z",
        }
    ]


def line(letter: DeadLetter, **changed: Any) -> bytes:
    return json.dumps(row_of(letter, was_replayed=False) | changed).encode()


@pytest.mark.parametrize("value", [b"raw", b"", None, b"\xff\x00", "naïve \U0001f600".encode()])
@pytest.mark.parametrize("key", [b"acme", None, b"\xfe"])
def test_letter_is_read_back_from_its_line(value: bytes | None, key: bytes | None) -> None:
    letter = buried(record(value, key=key))

    found = letter_of_row(line(letter), place="f:1")

    assert replayed(found) == replayed(letter)
    assert (found.identity, found.time) == (letter.identity, letter.time)


def test_cut_letter_is_not_replayed_from_its_line_until_it_is_repaired() -> None:
    letter = replace(buried(), cut=True)

    as_it_was = letter_of_row(line(letter), place="f:1")
    repaired = letter_of_row(line(letter, value='{"a": 1}'), place="f:1")

    assert (as_it_was.cut, replayed(as_it_was)) == (True, None)
    assert (repaired.cut, repaired.value) == (False, b'{"a": 1}')


def test_repaired_value_counts() -> None:
    as_text = letter_of_row(line(buried(), value='{"a": 1}'), place="f:1")
    as_object = letter_of_row(line(buried(), value={"a": [1, None]}), place="f:1")

    assert (as_text.value, as_object.value) == (b'{"a": 1}', b'{"a":[1,null]}')


@pytest.mark.parametrize(
    "text",
    [b"{", b"[]", b"{}", b'{"topic": "chats", "value_base64": "?"}', b'{"topic": 1}'],
)
def test_line_that_is_no_letter_is_refused_with_its_place(text: bytes) -> None:
    with pytest.raises(BadDeadLetter, match=r"^f:7 is no dead letter as listed by --json: .*\.$"):
        letter_of_row(text, place="f:7")
