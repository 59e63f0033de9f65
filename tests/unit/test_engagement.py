"""Engagement: points, pages, daily caps, people and decay, with numbers worked out by hand."""

import pytest

from scoring.engagement import add_capped, engagement_score
from scoring.model import parse_model
from scoring.rules import Rules
from scoring.scores import scores_at
from tests.builders import decoded, default_rules, fold_all
from tests.strategies import DAY_0, Json, event

PRICING = "https://x.example/pricing"
BLOG = "https://x.example/blog"
ACTIONS: Json = {
    "ad": {"campaign_id": "c", "placement": "web"},
    "chat": {"conversation_id": "v", "direction": "inbound"},
    "email": {"direction": "inbound"},
    "meeting": {"meeting_id": "m"},
}


def minutes(events: list[Json], day: float, rules: Rules | None = None) -> float:
    account, _ = fold_all(events, rules=rules)
    rules = default_rules() if rules is None else rules
    return scores_at(account.state, DAY_0 + day * 86_400, rules).engagement_minutes


def visit(day: float, seconds: float | None = None, *, url: str = BLOG, **fields: object) -> Json:
    dwell = {} if seconds is None else {"duration_seconds": seconds}
    return event("page_visit", day, url=url, **dwell, **fields)


def meeting(day: float, duration: float, **fields: object) -> Json:
    held = {"action": "held", "meeting_id": "m", "duration_minutes": duration}
    return event("meeting", day, **held, **fields)


def contact(day: float, seniority: str | None, action: str = "upserted") -> Json:
    title = {} if seniority is None else {"seniority": seniority}
    return event("contact", day, action=action, contact_id="ann", **title)


@pytest.mark.parametrize(
    ("type_", "fields", "expected"),
    [
        ("ad", {"action": "impression"}, 0.01),
        ("ad", {"action": "click"}, 1.0),
        ("page_visit", {"url": BLOG}, 0.5),
        ("page_visit", {"url": BLOG, "duration_seconds": 90}, 2.0),  # 0.5 + 90 / 60
        ("page_visit", {"url": BLOG, "duration_seconds": 9_999}, 10.5),  # 0.5 + 600 / 60
        ("page_visit", {"url": PRICING, "duration_seconds": 90}, 6.0),  # 2 x 3
        ("page_visit", {"url": "https://x/docs", "duration_seconds": 90}, 3.0),  # 2 x 1.5
        ("page_visit", {"url": "https://x/careers", "duration_seconds": 90}, 0.0),
        ("chat", {"action": "started"}, 2.0),
        ("chat", {"action": "message"}, 1.0),
        ("chat", {"action": "message", "direction": "outbound"}, 0.2),
        ("chat", {"action": "ended"}, 0.0),
        ("chat", {"action": "ended", "duration_seconds": 90}, 1.5),
        ("chat", {"action": "ended", "duration_seconds": 7_200}, 30.0),
        ("email", {"action": "sent"}, 3.0),
        ("email", {"action": "replied"}, 3.0),
        ("email", {"action": "sent", "direction": "outbound"}, 0.1),
        ("email", {"action": "replied", "direction": "outbound"}, 0.1),
        ("email", {"action": "opened"}, 0.1),
        ("email", {"action": "clicked"}, 1.0),
        ("email", {"action": "bounced"}, 0.0),
        ("email", {"action": "unsubscribed"}, 0.0),
        ("meeting", {"action": "booked"}, 5.0),
        ("meeting", {"action": "held"}, 30.0),
        ("meeting", {"action": "held", "duration_minutes": 45}, 45.0),
        ("meeting", {"action": "held", "duration_minutes": 500}, 120.0),
        ("meeting", {"action": "cancelled"}, 0.0),
        ("meeting", {"action": "no_show"}, 0.0),
        ("intent", {"topic": "crm"}, 0.2),
        ("intent", {"topic": "crm", "strength": 4}, 0.8),
        ("intent", {"topic": "crm", "strength": 0}, 0.0),
    ],
)
def test_an_event_is_worth_the_points_of_its_kind(
    type_: str, fields: Json, expected: float
) -> None:
    valid, _ = decoded(event(type_, 0, **{**ACTIONS.get(type_, {}), **fields}))

    rules = default_rules()
    points, page = rules.kinds[type_].points, valid.get("url")
    value = 1.0 if page is None else rules.read_page(page).value
    assert points is not None
    assert points(valid, value) == pytest.approx(expected)


def test_the_score_halves_what_is_missing_with_every_thirty_minutes() -> None:
    assert engagement_score(0.0, saturation_minutes=30.0) == 0.0
    assert engagement_score(30.0, saturation_minutes=30.0) == 50.0
    assert engagement_score(60.0, saturation_minutes=30.0) == 75.0


def test_minutes_halve_in_fourteen_days() -> None:
    events = [meeting(0, 48)]

    assert minutes(events, 0) == 48.0
    assert minutes(events, 14) == pytest.approx(24.0, rel=1e-12)
    assert minutes(events, 42) == pytest.approx(6.0, rel=1e-12)


def test_late_events_count_what_they_still_weigh() -> None:
    # 48 minutes now, and 48 of a half-life ago: 24.
    assert minutes([meeting(14, 48), meeting(0, 48)], 14) == pytest.approx(72.0)


@pytest.mark.parametrize(
    ("title", "weight"),
    [
        ("c_level", 2.0),
        ("vp", 1.5),
        ("director", 1.25),
        ("manager", 1.0),
        ("other", 0.75),
        (None, 1.0),
    ],
)
def test_minutes_count_by_the_title_of_the_contact(title: str | None, weight: float) -> None:
    assert minutes([contact(0, title), meeting(0, 40, contact_id="ann")], 0) == 40.0 * weight


def test_a_change_of_title_counts_for_the_past_too() -> None:
    events = [contact(0, "other"), meeting(1, 40, contact_id="ann"), contact(1, "c_level")]

    assert minutes(events, 1) == 80.0


def test_an_older_record_of_a_contact_does_not_replace_a_newer_one() -> None:
    events = [contact(1, "vp"), contact(0, "other"), meeting(1, 40, contact_id="ann")]

    assert minutes(events, 1) == 60.0


def test_a_record_without_a_title_replaces_the_one_with_it() -> None:
    events = [contact(0, "vp"), contact(1, None), meeting(1, 40, contact_id="ann")]

    assert minutes(events, 1) == 40.0


def test_a_removed_contact_keeps_its_minutes_at_its_last_title() -> None:
    events = [
        contact(0, "vp"),
        meeting(1, 40, contact_id="ann"),
        contact(1, None, action="removed"),
    ]

    assert minutes(events, 1) == 60.0


@pytest.mark.parametrize(
    ("type_", "fields", "cap"),
    [
        ("ad", {"action": "click"}, 3.0),
        ("page_visit", {"url": PRICING, "duration_seconds": 600}, 60.0),
        ("chat", {"action": "ended", "duration_seconds": 1_800}, 60.0),
        ("email", {"action": "replied"}, 30.0),
        ("meeting", {"action": "held", "duration_minutes": 100}, 240.0),
        ("intent", {"topic": "crm", "strength": 20}, 5.0),
    ],
)
def test_a_channel_adds_no_more_a_day_than_its_cap(type_: str, fields: Json, cap: float) -> None:
    fields = {**ACTIONS.get(type_, {}), **fields}
    events = [event(type_, 0, id=f"e{number}", **fields) for number in range(12)]

    assert minutes(events, 0) == pytest.approx(cap, rel=1e-12)


def test_the_cap_is_of_the_account_and_its_rest_goes_to_whoever_comes_first() -> None:
    events = [
        contact(0, "c_level"),
        meeting(0, 120, contact_id="bob"),
        meeting(0, 90, contact_id="ann"),
        meeting(0, 90, id="third"),  # 30 of these are left under the cap of 240
    ]

    # 120 x 1 + 90 x 2 + 30 x 1
    assert minutes(events, 0) == pytest.approx(330.0)


def test_the_cap_is_of_the_utc_day_of_event_time() -> None:
    # Half a second before and at midnight: both days have room for 120.
    last, first = 1 - 0.5 / 86_400, 1.0
    events = [
        *(meeting(last, 120, id=f"a{n}") for n in range(3)),
        *(meeting(first, 120, id=f"b{n}") for n in range(3)),
    ]

    assert minutes(events, 1) == pytest.approx(480.0, rel=1e-5)


def test_a_late_event_counts_against_the_cap_of_its_own_day() -> None:
    full = [meeting(0, 120, id=f"a{n}") for n in range(2)]

    assert minutes([*full, meeting(20, 60), meeting(0.5, 60)], 20) == pytest.approx(
        # 240 of day 0 and 60 of day 20; the late hour finds its day full.
        240.0 / 2 ** (20 / 14) + 60.0
    )


def test_the_horizon_of_five_weeks_is_measured_within_a_type() -> None:
    at_the_edge, too_late = meeting(0, 40, id="a"), meeting(-1 / 86_400, 40, id="b")
    chat = event("chat", 90, action="started", conversation_id="v", direction="inbound")

    account, outcomes = fold_all([chat, meeting(35, 40), at_the_edge, too_late])

    assert [str(outcome) for outcome in outcomes[2:]] == ["unchecked", "too_late"]
    assert account.state.events == 4
    assert sum(account.state.caps[4][1:]) == 80.0


def test_nothing_is_added_beyond_a_cap() -> None:
    caps: dict[int, list[float]] = {}

    added = [add_capped(caps, 0, 7, points=p, cap=3.0, keep=37) for p in (2.0, 0.5, 2.0, 1.0)]

    assert added == [2.0, 0.5, 0.5, 0.0]
    assert caps == {0: [7, 3.0]}


def test_a_cap_of_zero_keeps_a_channel_out_of_the_score() -> None:
    rules = Rules.of(parse_model("[engagement.daily_cap_minutes]\nmeeting = 0\n"))

    assert minutes([meeting(0, 40)], 0, rules) == 0.0
