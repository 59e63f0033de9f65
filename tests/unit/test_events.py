"""The event contract: what is taken, and for which reason the rest is not."""

import json
from typing import Any

import pytest
from pydantic import ValidationError

from scoring.errors import BadRecord, Reason
from scoring.events import (
    ENGAGEMENT_TYPES,
    TOPIC_TYPES,
    TYPE_TOPICS,
    Event,
    any_decoder,
    bad_record,
    check_event,
    decoders,
)

Json = dict[str, Any]
COMMON: Json = {"id": "1", "source": "s", "time": "2026-01-01T00:00:00Z", "account_id": "acme"}
NEW_YEAR = 1_767_225_600.0
BODIES: dict[str, Json] = {
    "ad": {"action": "click", "campaign_id": "c", "placement": "web"},
    "page_visit": {"url": "https://x.example/"},
    "chat": {"action": "started", "conversation_id": "v", "direction": "inbound"},
    "email": {"action": "sent", "direction": "inbound"},
    "meeting": {"action": "held", "meeting_id": "m"},
    "intent": {"topic": "pricing"},
    "account": {"action": "upserted", "target": True},
    "contact": {"action": "upserted", "contact_id": "ann"},
    "opportunity": {"action": "opened", "opportunity_id": "o", "kind": "new"},
    "spend": {"amount": 5, "currency": "EUR", "program": "p"},
    "survey": {"kind": "nps", "score": 9},
    "identify": {"anonymous_id": "v", "contact_id": "ann"},
}


def record(type_: str, **fields: object) -> Json:
    return {**COMMON, "type": type_, **BODIES[type_], **fields}


def without(type_: str, *names: str) -> Json:
    return {key: value for key, value in record(type_).items() if key not in names}


def decode(type_: str, value: object) -> Event:
    raw = value if isinstance(value, bytes) else json.dumps(value).encode()
    return decoders()[type_](raw)


def refused(type_: str, value: object) -> BadRecord:
    with pytest.raises(ValidationError) as caught:
        decode(type_, value)
    return bad_record(caught.value)


@pytest.mark.parametrize("type_", sorted(BODIES))
def test_every_type_is_decoded_by_its_own_and_by_the_common_decoder(type_: str) -> None:
    raw = json.dumps(record(type_)).encode()

    assert decode(type_, raw) == any_decoder()(raw)


def test_there_is_one_topic_per_type() -> None:
    assert {topic: TYPE_TOPICS[type_] for topic, type_ in TOPIC_TYPES.items()} == {
        topic: topic for topic in TOPIC_TYPES
    }
    assert set(decoders()) == set(TYPE_TOPICS) == set(BODIES)
    assert set(BODIES) > ENGAGEMENT_TYPES


@pytest.mark.parametrize(
    ("type_", "value", "reason", "detail"),
    [
        ("ad", b"", Reason.NOT_JSON, "EOF"),
        ("ad", b"{", Reason.NOT_JSON, "EOF"),
        ("ad", b"\xff\xfe", Reason.NOT_JSON, "Invalid JSON"),
        ("ad", b'{"id": "\xff"}', Reason.NOT_JSON, "Invalid JSON"),
        ("ad", b'{"a": 1}{"b": 2}', Reason.NOT_JSON, "trailing characters"),
        ("ad", b'{"a": 1} x', Reason.NOT_JSON, "trailing characters"),
        ("ad", b"[" * 10_000, Reason.NOT_JSON, "recursion"),
        ("ad", [record("ad")], Reason.NOT_AN_OBJECT, "object"),
        ("ad", None, Reason.NOT_AN_OBJECT, "object"),
        ("account", 5, Reason.NOT_AN_OBJECT, "object"),
        ("ad", {}, Reason.MISSING_FIELD, "field type"),
        ("ad", without("ad", "id"), Reason.MISSING_FIELD, "field id"),
        ("account", without("account", "action"), Reason.MISSING_FIELD, "'action'"),
        ("account", without("account", "account_id"), Reason.MISSING_FIELD, "field account_id"),
        ("contact", without("contact", "contact_id"), Reason.MISSING_FIELD, "field contact_id"),
        ("opportunity", without("opportunity", "account_id"), Reason.MISSING_FIELD, "account_id"),
        ("identify", without("identify", "anonymous_id"), Reason.MISSING_FIELD, "anonymous_id"),
        ("ad", record("ad", type="advert"), Reason.UNKNOWN_TYPE, "field type"),
        ("ad", record("email"), Reason.UNKNOWN_TYPE, "field type"),
        ("ad", record("ad", type=None), Reason.UNKNOWN_TYPE, "field type"),
        ("account", record("contact"), Reason.UNKNOWN_TYPE, "field type"),
        ("ad", record("ad", action="seen"), Reason.UNKNOWN_ACTION, "field action"),
        ("account", record("account", action="merged"), Reason.UNKNOWN_ACTION, "'merged'"),
        ("ad", record("ad", action=None), Reason.UNKNOWN_ACTION, "field action"),
        ("ad", record("ad", id=5), Reason.WRONG_TYPE, "field id"),
        ("ad", record("ad", cost="12"), Reason.WRONG_TYPE, "field cost"),
        ("ad", record("ad", cost=True), Reason.WRONG_TYPE, "field cost"),
        ("ad", record("ad", cost=None), Reason.WRONG_TYPE, "field cost"),
        ("ad", record("ad", contact_id=None), Reason.WRONG_TYPE, "field contact_id"),
        ("ad", record("ad", time=5), Reason.WRONG_TYPE, "field time"),
        ("ad", record("ad", time=None), Reason.WRONG_TYPE, "field time"),
        ("ad", record("ad", email=5), Reason.WRONG_TYPE, "field email"),
        ("page_visit", record("page_visit", url={}), Reason.WRONG_TYPE, "field url"),
        ("account", record("account", target="true"), Reason.WRONG_TYPE, "field target"),
        ("account", record("account", target=1), Reason.WRONG_TYPE, "field target"),
        ("account", record("account", tier="1"), Reason.WRONG_TYPE, "field tier"),
        ("account", record("account", domains="x.example"), Reason.WRONG_TYPE, "field domains"),
        ("meeting", record("meeting", attendee_ids=["a", 5]), Reason.WRONG_TYPE, "attendee_ids.1"),
        ("ad", record("ad", id=""), Reason.OUT_OF_RANGE, "field id"),
        ("ad", record("ad", email=""), Reason.OUT_OF_RANGE, "field email"),
        ("ad", record("ad", source="x" * 513), Reason.OUT_OF_RANGE, "field source"),
        ("ad", record("ad", placement="tv"), Reason.OUT_OF_RANGE, "field placement"),
        ("ad", record("ad", cost=-0.01), Reason.OUT_OF_RANGE, "field cost"),
        ("page_visit", record("page_visit", url="x" * 2049), Reason.OUT_OF_RANGE, "field url"),
        ("intent", record("intent", strength=1000.1), Reason.OUT_OF_RANGE, "field strength"),
        ("account", record("account", tier=4), Reason.OUT_OF_RANGE, "field tier"),
        ("account", record("account", icp_fit=1.1), Reason.OUT_OF_RANGE, "field icp_fit"),
        ("contact", record("contact", seniority="boss"), Reason.OUT_OF_RANGE, "field seniority"),
        ("survey", record("survey", score=10.5), Reason.OUT_OF_RANGE, "field score"),
        ("meeting", record("meeting", attendee_ids=["a", "a"]), Reason.OUT_OF_RANGE, "distinct"),
        (
            "meeting",
            record("meeting", attendee_ids=[str(i) for i in range(201)]),
            Reason.OUT_OF_RANGE,
            "200",
        ),
    ],
)
def test_a_bad_record_has_one_reason_and_names_what_is_wrong(
    type_: str, value: object, reason: Reason, detail: str
) -> None:
    bad = refused(type_, value)

    assert bad.reason is reason
    assert detail in bad.detail


@pytest.mark.parametrize("number", [b"NaN", b"Infinity", b"-Infinity", b"1e999"])
def test_numbers_that_are_not_finite_are_out_of_range(number: bytes) -> None:
    raw = json.dumps(record("ad")).encode().replace(b'"click"', b'"click", "cost": ' + number)

    assert refused("ad", raw).reason is Reason.OUT_OF_RANGE


def test_the_type_is_named_first_when_a_record_is_in_the_wrong_topic() -> None:
    bad = refused("ad", {"type": "page_visit"})

    assert bad.reason is Reason.UNKNOWN_TYPE


def test_a_detail_is_short_however_long_the_mistake() -> None:
    assert len(refused("account", record("account", action="x" * 5_000)).detail) <= 500


def test_unknown_fields_are_ignored_and_not_kept() -> None:
    event = decode("ad", record("ad", colour="red", nested={"a": [None]}))

    assert event.keys() == record("ad").keys()


def test_whole_and_broken_numbers_are_both_numbers() -> None:
    for cost in (3, 3.0, 3.5):
        assert decode("ad", record("ad", cost=cost))["cost"] == cost


def test_the_last_of_equal_keys_counts() -> None:
    raw = json.dumps(record("ad")).encode()[:-1] + b', "id": "2"}'

    assert decode("ad", raw)["id"] == "2"


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("2026-01-01T00:00:00Z", 0.0),
        ("2026-01-01t00:00:00z", 0.0),
        ("2026-01-01T01:30:00+01:30", 0.0),
        ("2025-12-31T19:00:00-05:00", 0.0),
        ("2026-01-01T00:00:00-00:00", 0.0),
        ("2026-01-01T00:00:00.5Z", 0.5),
        ("2026-01-01T00:00:00.123456Z", 0.123456),
        ("2026-01-01T00:00:00.123456789Z", 0.123456),  # microseconds are the finest
    ],
)
def test_times_are_rfc_3339_with_an_offset(text: str, seconds: float) -> None:
    event = decode("ad", record("ad", time=text))

    assert check_event(event, now=NEW_YEAR) == NEW_YEAR + seconds


@pytest.mark.parametrize(
    "text",
    [
        "",
        "2026-01-01",
        "2026-01-01T00:00Z",
        "2026-01-01T00:00:00",
        "2026-01-01 00:00:00Z",
        "2026-01-01T00:00:00+0100",
        "2026-01-01T00:00:00Z ",
        "2026-01-01T00:00:00Z\n",
        "2026-1-1T00:00:00Z",
        "20260101T000000Z",
        "1767225600",
        "٢٠٢٦-01-01T00:00:00Z",
        "2026-02-30T00:00:00Z",
        "2026-13-01T00:00:00Z",
        "2026-01-01T24:00:00Z",
        "2026-01-01T00:00:00+25:00",
        "0000-01-01T00:00:00Z",
    ],
)
def test_what_is_not_rfc_3339_with_an_offset_is_a_bad_time(text: str) -> None:
    bad = refused("ad", record("ad", time=text))

    assert bad.reason is Reason.BAD_TIME
    assert bad.detail.startswith("field time: ")


def test_five_minutes_ahead_of_the_wall_clock_is_the_limit() -> None:
    event = decode("ad", record("ad"))

    assert check_event(event, now=NEW_YEAR - 300.0) == NEW_YEAR
    with pytest.raises(BadRecord, match="ahead of the wall clock") as caught:
        check_event(event, now=NEW_YEAR - 300.001)
    assert caught.value.reason is Reason.IN_FUTURE


def test_a_time_before_the_first_year_in_utc_is_a_bad_time() -> None:
    # Right in its own offset, and an hour before what a calendar can write in UTC.
    event = decode("ad", record("ad", time="0001-01-01T00:00:00+01:00"))

    with pytest.raises(BadRecord) as caught:
        check_event(event, now=NEW_YEAR)

    assert caught.value.reason is Reason.BAD_TIME


def test_an_identification_needs_a_contact_or_an_email() -> None:
    nobody = decode("identify", without("identify", "contact_id"))

    with pytest.raises(BadRecord, match="contact_id or email") as caught:
        check_event(nobody, now=NEW_YEAR)

    assert caught.value.reason is Reason.MISSING_FIELD
    assert check_event(nobody | {"email": "ann@x.example"}, now=NEW_YEAR) == NEW_YEAR


def test_a_removal_needs_nothing_but_its_ids() -> None:
    account = {**COMMON, "type": "account", "action": "removed"}
    contact = {**COMMON, "type": "contact", "action": "removed", "contact_id": "ann"}

    assert decode("account", account)["action"] == "removed"
    assert decode("contact", contact)["action"] == "removed"
