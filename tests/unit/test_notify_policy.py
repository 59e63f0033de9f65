"""When an alert is sent, waits or is dropped."""

import datetime as dt
from zoneinfo import ZoneInfo

import pytest

from stream.notify.policy import (
    SEND,
    Bucket,
    Outcome,
    Standing,
    decided,
    digest_due,
    expired,
    pause_seconds,
    quiet,
    retry_after_seconds,
    taken,
)
from stream.notify.routes import QuietHours, RateLimit, Retry, Route
from tests.alerts import alert

NIGHT = QuietHours.model_validate({"from": "20:00", "to": "08:00", "zone": "Europe/Berlin"})
LUNCH = QuietHours.model_validate({"from": "12:00", "to": "13:00", "zone": "UTC"})
WEEKEND = QuietHours.model_validate(
    {"from": "20:00", "to": "08:00", "zone": "UTC", "days": ["sat", "sun"]}
)
NOON = "2026-06-10T12:00:00Z"


def at(text: str) -> float:
    return dt.datetime.fromisoformat(text).timestamp()


def route(**fields: object) -> Route:
    return Route.model_validate({"name": "ann", "url": "json://ann"} | fields)


@pytest.mark.parametrize(
    ("time", "is_quiet"),
    [
        ("2026-01-15T18:59:59Z", False),  # 19:59:59 in Berlin
        ("2026-01-15T19:00:00Z", True),
        ("2026-01-16T06:59:59Z", True),
        ("2026-01-16T07:00:00Z", False),
        ("2026-07-15T18:00:00Z", True),  # an hour earlier in summer
        ("2026-07-16T06:00:00Z", False),
    ],
)
def test_quiet_hours_follow_the_clocks_of_their_zone(time: str, *, is_quiet: bool) -> None:
    assert quiet(NIGHT, at(time)) is is_quiet


@pytest.mark.parametrize(
    ("time", "is_quiet"),
    [
        ("2026-03-29T01:30:00Z", False),  # 03:30: the clocks jumped over 02:30, its end
        ("2026-03-29T00:59:59Z", True),  # 01:59:59, the last second before the jump
        ("2026-10-25T00:15:00Z", True),  # 02:15 for the first time
        ("2026-10-25T01:15:00Z", True),  # and once more
        ("2026-10-25T01:45:00Z", False),
    ],
)
def test_quiet_hours_end_when_clocks_are_changed(time: str, *, is_quiet: bool) -> None:
    hours = QuietHours.model_validate({"from": "01:00", "to": "02:30", "zone": "Europe/Berlin"})

    assert quiet(hours, at(time)) is is_quiet


def test_an_owner_s_own_zone_counts_before_the_route_s() -> None:
    nine_in_berlin = at("2026-01-15T08:00:00Z")

    assert not quiet(NIGHT, nine_in_berlin)
    assert quiet(NIGHT, nine_in_berlin, zone=ZoneInfo("America/New_York"))


def test_whole_days_may_be_quiet() -> None:
    assert quiet(WEEKEND, at("2026-06-13T12:00:00Z"))
    assert not quiet(WEEKEND, at("2026-06-12T12:00:00Z"))


def test_hours_within_a_day_are_quiet_from_their_begin_until_their_end() -> None:
    assert [quiet(LUNCH, at(f"2026-06-10T{t}Z")) for t in ("11:59", "12:00", "12:59", "13:00")] == [
        False,
        True,
        True,
        False,
    ]


def test_an_alert_older_than_the_route_allows_has_expired() -> None:
    old = alert(at="2026-06-09T11:59:59Z")

    assert expired(old, route(max_age_hours=24.0), at(NOON))
    assert not expired(old, route(max_age_hours=25.0), at(NOON))


def test_an_alert_of_a_replay_never_expires() -> None:
    assert not expired(alert(at="2020-01-01T00:00:00Z", clock="event"), route(), at(NOON))


@pytest.mark.parametrize(
    ("severity", "it", "decision"),
    [
        ("medium", Standing(), SEND),
        ("medium", Standing(muted=True), Outcome.MUTED),
        ("high", Standing(muted=True), Outcome.MUTED),
        ("medium", Standing(holding=True), Outcome.HELD),
        ("high", Standing(holding=True), SEND),
        ("medium", Standing(holding=True, may_hold=False), SEND),
    ],
)
def test_what_decides_on_an_alert(severity: str, it: Standing, decision: str) -> None:
    wanted = route(urgent=["high"])

    found = decided(alert(at=NOON, severity=severity), wanted, at(NOON), zone=None, it=it)

    assert found == decision


def test_an_alert_in_quiet_hours_is_held_unless_it_is_urgent() -> None:
    wanted = route(urgent=["high"], quiet_hours=LUNCH)

    decisions = [
        decided(alert(at=NOON, severity=each), wanted, at(NOON), zone=None, it=Standing())
        for each in ("high", "medium")
    ]

    assert decisions == [SEND, Outcome.HELD]


def test_a_digest_of_the_night_is_due_when_the_night_ends() -> None:
    wanted, held_at = route(quiet_hours=NIGHT), at("2026-01-15T19:30:00Z")

    assert not digest_due(wanted, held_at, at("2026-01-16T06:59:59Z"), zone=None)
    assert digest_due(wanted, held_at, at("2026-01-16T07:00:00Z"), zone=None)


def test_a_digest_of_what_was_too_much_is_due_after_its_minutes_and_not_by_night() -> None:
    wanted, held_at = route(quiet_hours=NIGHT, digest_minutes=15.0), at("2026-01-15T18:50:00Z")

    assert not digest_due(wanted, held_at, held_at + 599.0, zone=None)
    assert not digest_due(wanted, held_at, held_at + 900.0, zone=None)
    assert digest_due(wanted, at("2026-01-15T12:00:00Z"), at("2026-01-15T12:15:00Z"), zone=None)


def test_a_bucket_gives_as_many_as_the_limit_and_fills_up_again() -> None:
    limit, bucket, given = RateLimit(alerts=3, minutes=1), None, []
    for _ in range(4):
        bucket, one = taken(bucket, limit, 0.0)
        given.append(one)

    later, again = taken(bucket, limit, 20.0)

    assert given == [True, True, True, False]
    assert (again, later.left) == (True, 0.0)
    assert taken(Bucket(0.0, 100.0), limit, 50.0)[0].left == 0.0


def test_pauses_grow_up_to_the_longest_with_half_of_them_left_to_chance() -> None:
    retry = Retry(first_seconds=1.0, longest_seconds=10.0)

    assert [pause_seconds(n, retry, share=1.0) for n in (1, 2, 4, 5, 500)] == [1, 2, 8, 10, 10]
    assert pause_seconds(1, retry, share=0.0) == 0.5


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        (None, None),
        ("7", 7.0),
        (" 7 ", 7.0),
        ("soon", None),
        ("-3", None),
        ("Wed, 10 Jun 2026 12:01:00 GMT", 60.0),
        ("Wed, 10 Jun 2026 11:00:00 GMT", 0.0),
    ],
)
def test_retry_after_is_read_as_seconds_or_a_date(value: str | None, seconds: float | None) -> None:
    assert retry_after_seconds(value, at(NOON)) == seconds
