"""Reading an account as of a moment."""

from math import log2

import pytest

from scoring.account import AccountState, encode_state
from scoring.report import (
    account_report,
    as_of,
    leaderboard_value,
    newest_time,
    parse_time,
    rfc3339,
)
from scoring.scores import scores_at
from tests.builders import default_rules, fold_all
from tests.strategies import DAY_0, Json, event

DAY = 86_400.0


def meeting(day: float, duration: float, **fields: object) -> Json:
    held = {"action": "held", "meeting_id": "m", "duration_minutes": duration}
    return event("meeting", day, **held, **fields)


def target(day: float = 0, **fields: object) -> Json:
    return event("account", day, action="upserted", target=True, **fields)


def test_a_report_says_everything_about_an_account() -> None:
    account, _ = fold_all([target(0, tier=2, owner_id="olga"), meeting(1, 30)])

    report = account_report(account.state, DAY_0 + 15 * DAY, default_rules())

    assert report == {
        "account_id": "acme",
        "as_of": "2008-01-16T00:00:00Z",
        # 15 minutes are left: 100 (1 - 2^-1/2).
        "engagement": pytest.approx(100 * (1 - 2**-0.5)),
        "engagement_minutes": pytest.approx(15.0),
        "intent_surge": 0.0,
        "surge": {},
        "surging": [],
        "relationship": 0.0,
        "contacts": 0,
        "stage": "engaged",
        "target": True,
        "tier": 2,
        "owner_id": "olga",
        "first_event_at": "2008-01-02T00:00:00Z",
        "last_event_at": "2008-01-02T00:00:00Z",
        "events": 1,
        "noise": {},
    }


def test_an_account_with_a_record_alone_is_reported_too() -> None:
    account, _ = fold_all([event("account", 0, action="removed")])

    report = account_report(account.state, DAY_0, default_rules())

    assert (report["target"], report["stage"], report["tier"]) == (False, None, None)
    assert (report["events"], report["first_event_at"], report["engagement"]) == (0, None, 0.0)


def test_reading_later_evaluates_what_fell_due_and_stores_nothing() -> None:
    account, _ = fold_all([target(), meeting(0, 30), event("intent", 0, topic="crm", strength=4)])
    stored, announced = encode_state(account.state), list(account.live.announced)
    rules = default_rules()

    early = account_report(account.state, DAY_0 + 6 * DAY, rules)
    late = account_report(account.state, DAY_0 + 60 * DAY, rules)

    assert (early["stage"], early["surging"]) == ("engaged", ["*", "crm"])
    assert (late["stage"], late["surging"]) == ("target", [])
    assert encode_state(account.state) == stored
    assert account.live.announced == announced


def test_reading_before_anything_is_due_copies_nothing() -> None:
    account, _ = fold_all([meeting(0, 30)])

    assert as_of(account.state, DAY_0 + DAY, default_rules()) is account.state


def test_an_account_without_events_scores_nothing() -> None:
    scores = scores_at(AccountState("acme"), DAY_0, default_rules())

    assert scores == (0.0, 0.0, 0.0, {}, 0.0, 0)


@pytest.mark.parametrize("day", [1, 5, 100])
def test_the_place_on_the_leaderboard_is_the_same_whenever_it_is_computed(day: float) -> None:
    account, _ = fold_all([meeting(0, 30), meeting(1, 10)])
    rules = default_rules()
    now = DAY_0 + day * DAY
    minutes = scores_at(account.state, now, rules).engagement_minutes

    value = leaderboard_value(account.state, minutes, now, rules)

    assert value == pytest.approx(log2(40) + DAY_0 / (14 * DAY), abs=0.1)
    first = scores_at(account.state, DAY_0 + DAY, rules).engagement_minutes
    assert value == pytest.approx(
        leaderboard_value(account.state, first, DAY_0 + DAY, rules), abs=1e-9
    )


def test_the_leaderboard_has_no_place_for_accounts_without_engagement() -> None:
    bounced = event("email", 0, action="sent", direction="inbound", contact_id="a")
    account, _ = fold_all([event("contact", 0, action="upserted", contact_id="a"), bounced])
    account.state.contacts["a"].minutes.clear()  # an exchange, and no minutes

    assert leaderboard_value(account.state, 0.0, DAY_0, default_rules()) is None
    assert leaderboard_value(AccountState("acme"), 0.0, DAY_0, default_rules()) is None


def test_minutes_too_old_to_show_still_have_their_place_on_the_leaderboard() -> None:
    account, _ = fold_all([meeting(0, 30)])
    rules = default_rules()
    long_after = DAY_0 + 100_000 * DAY

    assert scores_at(account.state, long_after, rules).engagement_minutes == 0.0
    assert leaderboard_value(account.state, 0.0, long_after, rules) == pytest.approx(
        log2(30) + DAY_0 / (14 * DAY)
    )


def test_the_newest_time_is_that_of_any_type_of_any_account() -> None:
    first, _ = fold_all([meeting(3, 1), event("survey", 7, kind="nps", score=1)])
    second, _ = fold_all([meeting(5, 1)])

    assert newest_time([first.state, second.state]) == DAY_0 + 7 * DAY
    assert newest_time([AccountState("acme")]) is None


@pytest.mark.parametrize(
    ("time", "text"),
    [
        (0.0, "1970-01-01T00:00:00Z"),
        (1_199_145_600.25, "2008-01-01T00:00:00.250000Z"),
        (-1.0, "1969-12-31T23:59:59Z"),
    ],
)
def test_times_are_written_in_utc(time: float, text: str) -> None:
    assert rfc3339(time) == text
    assert parse_time(text) == time


@pytest.mark.parametrize(
    ("text", "time"),
    [
        ("2008-01-01", DAY_0),
        ("2008-01-01T00:00:00Z", DAY_0),
        ("2008-01-01T02:00:00+02:00", DAY_0),
        ("2008-01-01T00:00:00.5Z", DAY_0 + 0.5),
    ],
)
def test_a_moment_is_a_date_or_a_time_with_an_offset(text: str, time: float) -> None:
    assert parse_time(text) == time


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("yesterday", "is not a time"),
        ("2008-01-32", "is not a time"),
        ("", "is not a time"),
        ("2008-01-01T00:00:00", "no offset"),
    ],
)
def test_a_moment_that_cannot_be_read_is_refused_with_a_sentence(text: str, sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        parse_time(text)
