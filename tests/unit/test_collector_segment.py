"""Segment's calls as events of the contract: what they become, what is noted, what is wrong."""

import contextlib
import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scoring.errors import BadRecord, Reason
from scoring.report import parse_time, rfc3339
from stream.collector.checking import Checker
from stream.collector.segment import Received, Visitor, mapped
from stream.collector.tracks import TRACKS
from stream.collector.write_keys import Sender

Json = dict[str, Any]

NOW = parse_time("2026-03-01T12:00:00Z")
SENDER = Sender("web", "server")
WHO: Json = {
    "messageId": "m1",
    "userId": "ann",
    "anonymousId": "a1",
    "context": {"groupId": "acme"},
    "timestamp": "2026-03-01T11:59:00Z",
}


def received(**fields: Any) -> Received:
    known: Json = {"at": NOW, "sent_at": None, "source": "web", "visitor": None}
    return Received(**(known | {"fresh_id": lambda: "fresh"} | fields))


def events_of(call: Json, **fields: Any) -> list[Json]:
    """Return the events of *call*, each as it was checked and encoded."""
    found = mapped(call, received(**fields)).events
    checker = Checker(keep_ip=True)
    return [json.loads(checker.checked(each, SENDER, NOW).value) for each in found]


def track(name: str, **properties: Any) -> Json:
    return WHO | {"type": "track", "event": name, "properties": properties}


def test_a_page_becomes_a_page_visit() -> None:
    page: Json = {"url": "https://x.example/pricing", "referrer": "https://s.example/"}
    call = WHO | {"type": "page", "properties": page | {"duration_seconds": 12.5}}

    (event,) = events_of(call)

    assert event == page | {
        "id": "m1",
        "source": "web",
        "type": "page_visit",
        "time": "2026-03-01T11:59:00Z",
        "account_id": "acme",
        "contact_id": "ann",
        "anonymous_id": "a1",
        "duration_seconds": 12.5,
    }


def test_a_page_may_leave_its_address_to_the_context() -> None:
    context = {"page": {"url": "https://x.example/"}, "ip": "192.0.2.7", "userAgent": "Browser/1"}

    (event,) = events_of({"type": "page", "userId": 12, "context": context})

    assert (event["url"], event["ip"]) == ("https://x.example/", "192.0.2.7")
    assert (event["user_agent"], event["contact_id"]) == ("Browser/1", "12")
    assert (event["id"], event["time"]) == ("fresh", rfc3339(NOW))


def test_a_browser_is_known_by_its_request_and_a_server_is_nobody() -> None:
    call = WHO | {"type": "page", "properties": {"url": "https://x.example/"}}

    (browser,) = events_of(call, visitor=Visitor("192.0.2.7", "Browser/1"))
    (server,) = events_of(call)

    assert (browser["ip"], browser["user_agent"]) == ("192.0.2.7", "Browser/1")
    assert "ip" not in server
    assert "user_agent" not in server


def test_an_address_that_is_hidden_is_left_out() -> None:
    call = {"type": "page", "properties": {"url": "https://x.example/"}}

    (event,) = events_of(call | {"context": {"ip": "0.0.0.0"}}, visitor=Visitor("192.0.2.7", None))

    assert "ip" not in event


def test_a_clock_that_is_wrong_is_put_right_by_when_the_call_was_sent() -> None:
    sent = NOW - 7_200.0

    (event,) = events_of(
        WHO
        | {
            "type": "page",
            "properties": {"url": "https://x.example/"},
            "timestamp": rfc3339(sent - 90),
        },
        sent_at=sent,
    )

    assert event["time"] == rfc3339(NOW - 90)


def test_a_call_that_is_sent_again_keeps_its_time() -> None:
    call = WHO | {"type": "page", "properties": {"url": "https://x.example/"}}

    times = {
        events_of(call, at=NOW + delay, sent_at=NOW + delay - lag)[0]["time"]
        for delay, lag in ((0.0, 0.01), (3.0, 2.5), (60.0, 0.2))
    }

    assert times == {"2026-03-01T11:59:00Z"}


def test_the_original_time_of_a_call_comes_before_what_others_computed() -> None:
    call = WHO | {"type": "page", "properties": {"url": "https://x.example/"}}

    (event,) = events_of(call | {"originalTimestamp": "2026-03-01T10:00:00"})

    assert event["time"] == "2026-03-01T10:00:00Z"


@pytest.mark.parametrize(
    ("name", "properties", "expected"),
    [
        ("Email Delivered", {"campaign_id": "c", "email_subject": "Hi"}, {"action": "sent", "direction": "outbound", "campaign_id": "c", "subject": "Hi"}),
        ("Email Opened", {}, {"action": "opened", "direction": "outbound"}),
        ("Email Link Clicked", {"campaign_name": "Spring"}, {"action": "clicked", "campaign_id": "Spring"}),
        ("Email Bounced", {}, {"action": "bounced"}),
        ("Unsubscribed", {}, {"action": "unsubscribed"}),
        ("Email Replied", {}, {"action": "replied", "direction": "inbound"}),
        ("Live Chat Conversation Started", {"conversation_id": "v"}, {"action": "started", "direction": "inbound"}),
        ("Live Chat Message Sent", {"conversation_id": "v"}, {"action": "message", "direction": "inbound"}),
        ("Live Chat Message Received", {"conversation_id": 7}, {"direction": "outbound", "conversation_id": "7"}),
        ("Live Chat Conversation Ended", {"conversation_id": "v", "conversation_duration": 300}, {"action": "ended", "duration_seconds": 300.0}),
        ("ad_impression", {"campaignId": "c", "cost": "0.5"}, {"action": "impression", "placement": "web", "cost": 0.5}),
        ("Ad Clicked", {"campaign_id": "c", "placement": "email_signature"}, {"action": "click", "placement": "email_signature"}),
        ("Meeting Held", {"meeting_id": "m", "duration_minutes": 45, "attendee_ids": ["ann", "bob", "ann"]}, {"action": "held", "attendee_ids": ["ann", "bob"], "duration_minutes": 45.0}),
        ("Meeting No Show", {"meeting_id": "m"}, {"action": "no_show"}),
        ("Intent Signal", {"topic": "crm", "strength": 3}, {"topic": "crm", "strength": 3.0}),
    ],
)  # fmt: skip
def test_tracks_of_known_names_say_what_the_contract_can(
    name: str, properties: Json, expected: Json
) -> None:
    (event,) = events_of(track(name, **properties))

    assert expected.items() <= event.items()
    assert event["account_id"] == "acme"


def test_names_of_tracks_are_known_in_any_case() -> None:
    assert events_of(track("EMAIL opened"))[0]["action"] == "opened"
    assert all(name == name.casefold() for name in TRACKS)


def test_a_track_of_another_name_is_noted_and_no_error() -> None:
    found = mapped(track("Song Played"), received())

    assert found.events == []
    assert found.note == "event 'Song Played': no score follows from it"


def test_identify_says_whose_visits_they_were() -> None:
    call = WHO | {"type": "identify", "traits": {"email": "ann@acme.example", "name": "Ann"}}

    (event,) = events_of(call)

    assert (event["type"], event["id"], event["email"]) == ("identify", "m1", "ann@acme.example")
    assert (event["anonymous_id"], event["contact_id"]) == ("a1", "ann")


def test_identify_writes_the_contact_where_it_says_something_of_their_place() -> None:
    traits = {"firstName": "Ann", "lastName": "Lee", "title": "CFO", "seniority": "c_level"}

    identity, contact = events_of(WHO | {"type": "identify", "traits": traits})

    assert (identity["type"], identity["id"]) == ("identify", "m1")
    assert (contact["type"], contact["id"], contact["name"]) == ("contact", "m1/contact", "Ann Lee")
    assert (contact["seniority"], contact["role"]) == ("c_level", "CFO")


def test_group_writes_the_account_where_it_says_whether_it_is_a_target() -> None:
    traits = {"name": "Acme", "website": "https://www.acme.example/", "employees": "120", "tier": 1}
    call = WHO | {"type": "group", "groupId": "acme", "traits": traits | {"target": True}}

    account, identity = events_of(call)

    assert account == {
        "id": "m1",
        "source": "web",
        "type": "account",
        "action": "upserted",
        "time": "2026-03-01T11:59:00Z",
        "account_id": "acme",
        "name": "Acme",
        "domains": ["acme.example"],
        "employees": 120.0,
        "tier": 1,
        "target": True,
    }
    assert (identity["type"], identity["id"], identity["account_id"]) == (
        "identify", "m1/identify", "acme",
    )  # fmt: skip


def test_group_leaves_the_crms_record_where_it_does_not_say_so() -> None:
    found = mapped(WHO | {"type": "group", "groupId": "acme", "traits": {"name": "A"}}, received())

    assert [each["type"] for each in found.events] == ["identify"]
    assert found.note is not None
    assert "target" in found.note


@pytest.mark.parametrize("type_", ["screen", "alias"])
def test_calls_from_which_nothing_follows_are_noted(type_: str) -> None:
    assert mapped(WHO | {"type": type_}, received()).note is not None


@pytest.mark.parametrize(
    ("call", "reason"),
    [
        ({"type": "page"}, Reason.MISSING_FIELD),
        ({"type": "track"}, Reason.MISSING_FIELD),
        ({"type": "group"}, Reason.MISSING_FIELD),
        ({"type": "dance"}, Reason.UNKNOWN_TYPE),
        ({"type": ["page"]}, Reason.UNKNOWN_TYPE),
        ({}, Reason.UNKNOWN_TYPE),
        (track("Live Chat Message Sent"), Reason.MISSING_FIELD),
        (track("Email Opened") | {"userId": "x" * 513}, Reason.OUT_OF_RANGE),
        (track("Email Opened") | {"timestamp": "yesterday"}, Reason.BAD_TIME),
        (track("Email Opened") | {"timestamp": "2026-03-01T12:10:00Z"}, Reason.IN_FUTURE),
    ],
)
def test_what_is_missing_or_wrong_is_told_with_its_reason(call: Json, reason: Reason) -> None:
    with pytest.raises(BadRecord) as found:
        events_of(call)

    assert found.value.reason is reason


def test_text_that_is_too_long_is_cut_and_an_id_never() -> None:
    call = track("Email Opened", email_subject="s" * 900, campaign_id="c")
    url = "https://x.example/a?" + "q" * 3_000

    assert events_of(call)[0]["subject"] == "s" * 512
    page = events_of({"type": "page", "properties": {"url": url, "referrer": url}})[0]
    assert (page["url"], page["referrer"]) == ("https://x.example/a", "https://x.example/a")


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda each: (
        st.lists(each, max_size=3) | st.dictionaries(st.text(max_size=8), each, max_size=3)
    ),
    max_leaves=8,
)
FIELDS = (
    "messageId",
    "userId",
    "anonymousId",
    "groupId",
    "event",
    "timestamp",
    "originalTimestamp",
)
calls = st.fixed_dictionaries(
    {"type": st.sampled_from(["page", "track", "identify", "group", "screen"]) | json_values},
    optional=dict.fromkeys(FIELDS, json_values)
    | {
        "event": st.sampled_from(sorted(TRACKS)) | json_values,
        "traits": st.dictionaries(
            st.sampled_from(["email", "title", "name", "target", "employees", "website", "domains", "tier", "seniority"]),
            json_values,
        ) | json_values,
        "properties": st.dictionaries(
            st.sampled_from(["url", "referrer", "duration_seconds", "campaign_id", "meeting_id", "attendee_ids", "topic", "conversation_id", "cost", "account_id"]),
            json_values,
        ) | json_values,
        "context": st.dictionaries(
            st.sampled_from(["groupId", "ip", "userAgent", "page", "campaign", "traits"]), json_values
        ) | json_values,
    },
)  # fmt: skip


@settings(max_examples=300, deadline=None)
@given(calls)
def test_any_call_becomes_valid_events_or_one_reason(call: Json) -> None:
    with contextlib.suppress(BadRecord):
        events_of(call)
