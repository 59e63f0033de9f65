"""The reference itself, against numbers worked out by hand in the comments.

Day 0 is Monday 5 January 2026. Every expected number follows from the comment next to it.
"""

import itertools
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest
from scipy.stats import nbinom  # type: ignore[attr-defined]  # made at run time

from tests.oracle import page_value, path_matches, score, surge_score

Event = dict[str, object]
Make = Callable[..., Event]
START = datetime(2026, 1, 5, tzinfo=UTC)


def unix(day: float) -> float:
    return (START + timedelta(days=day)).timestamp()


@pytest.fixture
def make() -> Make:
    ids = itertools.count()

    def event(kind: str, day: float, /, **fields: object) -> Event:
        time = (START + timedelta(days=day)).isoformat()
        common = {"id": f"e{next(ids)}", "source": "test", "account_id": "acme"}
        return {**common, "type": kind, "time": time, **fields}

    return event


def pricing_visit(make: Make, day: float, seconds: float = 90.0, **fields: object) -> Event:
    url = "https://example.com/pricing"
    return make("page_visit", day, url=url, duration_seconds=seconds, **fields)


def deal(make: Make, day: float, action: str, name: str = "d1", kind: str = "new") -> Event:
    return make("opportunity", day, action=action, opportunity_id=name, kind=kind)


def mail(make: Make, day: float, direction: str, contact: str | None = "ann") -> Event:
    return make("email", day, action="sent", direction=direction, contact_id=contact)


def contact(make: Make, day: float, action: str, **fields: object) -> Event:
    return make("contact", day, action=action, contact_id="ann", **fields)


def account(make: Make, day: float, action: str = "upserted", **fields: object) -> Event:
    return make("account", day, action=action, **{"target": True, **fields})


def read(events: list[Event], day: float) -> dict[str, object]:
    return score(events, unix(day))["acme"]


def test_a_visit_counts_its_time_on_the_page_and_the_visitors_title(make: Make) -> None:
    events = [
        contact(make, 0, "upserted", seniority="vp"),
        pricing_visit(make, 1, 90, contact_id="ann"),
    ]
    # (0.5 + 90 s / 60) * 3 for a high page = 6; * 1.5 for a vp = 9 minutes.
    assert read(events, 1)["engagement_minutes"] == pytest.approx(9.0)
    # 100 * (1 - 2^(-9/30)); 2^-0.3 = 0.8122524.
    assert read(events, 1)["engagement"] == pytest.approx(18.77476)
    # One half-life of 14 days later: 9 / 2.
    assert read(events, 15)["engagement_minutes"] == pytest.approx(4.5)


@pytest.mark.parametrize(
    ("kind", "fields", "expected"),
    [
        ("ad", {"action": "impression"}, 0.01),
        ("chat", {"action": "ended", "direction": "inbound", "duration_seconds": 90}, 1.5),
        ("chat", {"action": "ended", "direction": "inbound", "duration_seconds": 7200}, 30.0),
        ("chat", {"action": "message", "direction": "outbound"}, 0.2),
        ("email", {"action": "replied", "direction": "inbound"}, 3.0),
        ("email", {"action": "opened", "direction": "outbound"}, 0.1),
        ("meeting", {"action": "held"}, 30.0),
        ("meeting", {"action": "held", "duration_minutes": 500}, 120.0),
        ("meeting", {"action": "no_show"}, 0.0),
        ("intent", {"topic": "crm", "strength": 7}, 1.4),  # 0.2 * 7
        ("intent", {"topic": "crm", "strength": 1000}, 5.0),  # the cap of a day
        ("page_visit", {"url": "https://example.com/"}, 0.5),
    ],
)
def test_each_kind_of_event_has_its_minutes(
    make: Make, kind: str, fields: dict[str, object], expected: float
) -> None:
    assert read([make(kind, 0, **fields)], 0)["engagement_minutes"] == pytest.approx(expected)


def test_a_channels_minutes_are_capped_per_utc_day(make: Make) -> None:
    # 600 s on a high page: (0.5 + 10) * 3 = 31.5; the second adds 60 - 31.5 = 28.5, a third 0.
    events = [pricing_visit(make, hour / 24, 600) for hour in (1, 1, 1)]
    assert read(events, 1 / 24)["engagement_minutes"] == pytest.approx(60.0)
    # An ad click is of another channel: + 1.
    events.append(make("ad", 1 / 24, action="click"))
    assert read(events, 1 / 24)["engagement_minutes"] == pytest.approx(61.0)


def test_page_rules_match_words_in_segments_first_rule_first() -> None:
    assert page_value("https://example.com/careers/pricing") == 0.0
    assert page_value("https://example.com/eu/Pricing-2026.html?x=/jobs") == 3.0
    assert page_value("https://example.com/docs.v2") == 1.5
    assert page_value("https://example.com/pricings") == 1.0
    assert path_matches("https://example.com/a/vs-others", "compare vs")


def test_an_excluded_page_adds_to_nothing_but_the_number_of_events(make: Make) -> None:
    result = read([make("page_visit", 0, url="https://example.com/jobs/sales")], 0)
    assert (result["engagement_minutes"], result["surge"], result["events"]) == (0.0, {}, 1)


def test_a_change_of_title_counts_for_the_past_too_and_outlives_the_contact(make: Make) -> None:
    # An e-mail of theirs is 3 minutes: * 1.25 for a director = 3.75.
    events = [mail(make, 1, "inbound"), contact(make, 0, "upserted", seniority="director")]
    assert read(events, 1)["engagement_minutes"] == pytest.approx(3.75)
    events.append(contact(make, 1, "removed"))
    removed = read(events, 1)
    assert removed["engagement_minutes"] == pytest.approx(3.75)
    assert (removed["relationship"], removed["contacts"]) == (0.0, 0)
    # Back without a title: the whole record is replaced, unknown is 1.
    events.append(contact(make, 1, "upserted"))
    back = read(events, 1)
    assert (back["engagement_minutes"], back["contacts"]) == (pytest.approx(3.0), 1)


def test_surge_of_a_first_week(make: Make) -> None:
    signals = [make("intent", 0, topic="crm") for _ in range(4)]
    # b = 0, n = 0: geometric with p = 1/2, P(X = k) = 2^-(k + 1).
    # x = 2: 2/3 * (3/4 + 1/16) = 13/24.
    assert read(signals[:2], 0)["intent_surge"] == pytest.approx(1300 / 24)
    # x = 3: 7/8 + 1/32 = 29/32, not yet 95.
    three = read(signals[:3], 0)
    assert three["surge"] == {"crm": pytest.approx(90.625), "*": pytest.approx(90.625)}
    assert three["surging"] == []
    # x = 4: 15/16 + 1/64 = 61/64.
    four = read(signals, 0)
    assert four["intent_surge"] == pytest.approx(95.3125)
    assert four["surging"] == ["*", "crm"]


def test_surge_against_an_earlier_week(make: Make) -> None:
    # Day 14: the 7 days begin on day 8, floor(8/7) = 1 complete week since day 0, b = 1.
    # r = 2, p = 2/3: P(0) = 4/9, P(1) = 8/27, P(2) = 4/27, P(3) = 16/243.
    # x = 3: 24/27 + 8/243 = 224/243.
    days = (0, 8, 11, 14)
    result = read([pricing_visit(make, day) for day in days], 14)
    assert result["surge"] == dict.fromkeys(("pricing", "*"), pytest.approx(22400 / 243))


def test_strength_counts_rounded_half_to_even_and_at_least_once(make: Make) -> None:
    # 2.5 -> 2 and 0.1 -> 1: x = 3, as in the first week: 29/32.
    events = [make("intent", 0, topic="crm", strength=strength) for strength in (2.5, 0.1)]
    assert read(events, 0)["intent_surge"] == pytest.approx(90.625)


def test_a_surge_ends_at_the_midnight_when_its_week_is_over(make: Make) -> None:
    events = [make("intent", 0.5, topic="crm") for _ in range(4)]
    result = read(events, 6.9)
    # x = 4 of a first week until day 6: 61/64.
    assert result["surging"] == ["*", "crm"]
    started = [(unix(0.5), "surge_started", topic) for topic in ("*", "crm")]
    assert (result["transitions"], result["due_transitions"]) == (started, [])
    # On day 7 the days counted are 1 to 7: x = 0.
    ended = [(unix(7), "surge_ended", topic) for topic in ("*", "crm")]
    result = read(events, 30)
    assert (result["surging"], result["due_transitions"]) == ([], ended)
    later = read([*events, mail(make, 20, "outbound")], 30)
    assert later["transitions"] == started + ended


def test_an_account_is_engaged_from_5_minutes_until_2_5(make: Make) -> None:
    # A booked meeting is 5 minutes; 2.5 are left after one half-life, on day 14.5.
    events = [account(make, 0), make("meeting", 0.5, action="booked")]
    assert read(events, 14.4)["stage"] == "engaged"
    result = read(events, 14.6)
    assert result["stage"] == "target"
    assert result["transitions"] == [
        (unix(0), "stage_changed", "none>target"),
        (unix(0.5), "stage_changed", "target>engaged"),
    ]
    assert result["due_transitions"] == [(unix(14.5), "stage_changed", "engaged>target")]


def test_a_late_event_is_judged_at_the_newest_event_time(make: Make) -> None:
    # 5 minutes of day 0 are 2.5 on day 14, when a survey was the newest event: never engaged.
    events = [account(make, 0), make("survey", 14, kind="nps", score=9)]
    events.append(make("meeting", 0, action="booked"))
    assert read(events, 14)["stage"] == "target"


def test_the_deepest_won_deal_counts_until_any_deal_churns(make: Make) -> None:
    events = [account(make, 0), deal(make, 1, "opened"), deal(make, 2, "won")]
    events.append(deal(make, 3, "won", "d2", "expansion"))
    stages = [read(events[:n], 9)["stage"] for n in (1, 2, 3, 4)]
    assert stages == ["target", "opportunity", "customer", "expanded"]
    # Churn at the very time of the last win ends both; a later renewal counts again.
    events.append(deal(make, 3, "churned", "d3", "renewal"))
    assert read(events, 9)["stage"] == "target"
    events.append(deal(make, 4, "won", "d3", "renewal"))
    assert read(events, 9)["stage"] == "retained"


def test_updated_alone_is_open_and_never_reopens(make: Make) -> None:
    events = [account(make, 0), deal(make, 5, "updated")]
    assert read(events, 9)["stage"] == "opportunity"
    events.append(deal(make, 1, "lost"))
    assert read(events, 9)["stage"] == "target"
    # Of equal times the later to arrive.
    events.append(deal(make, 1, "opened"))
    assert read(events, 9)["stage"] == "opportunity"


def test_relationship_wants_both_sides_and_several_people(make: Make) -> None:
    both = [mail(make, 0, "inbound"), mail(make, 0, "outbound")]
    # I = O = 1: 2^(-1.25/6) = 0.8655366; s = 0.1344634 * 1 * 1/1.25 = 0.1075707; 60 s.
    assert read(both, 0)["relationship"] == pytest.approx(6.454243, rel=1e-6)
    # I = 2, O = 0: 2^(-2/6) = 0.7937005; s = 0.2062995 * 0.5 * 0.8 = 0.0825198; 60 s.
    one_sided = [mail(make, 0, "inbound"), mail(make, 0, "inbound")]
    assert read(one_sided, 0)["relationship"] == pytest.approx(4.951188, rel=1e-6)
    # The same after 60 days: I = 1; 2^(-1/6) = 0.8908987; s = 0.0436405; 60 s.
    assert read(one_sided, 60)["relationship"] == pytest.approx(2.618431, rel=1e-6)
    # Two attendees, I = O = 4: 2^(-5/6) = 0.5612310; s = 0.3510152; 1 - (1 - 0.6 s)^2.
    held = make("meeting", 0, action="held", contact_id="cat", attendee_ids=["ann", "bob"])
    result = read([held], 0)
    assert (result["relationship"], result["contacts"]) == (pytest.approx(37.68620), 2)


def test_a_repeat_is_left_out_within_three_days_of_its_type(make: Make) -> None:
    first = mail(make, 0, "inbound")
    events = [first, first, mail(make, 2, "inbound"), first]
    assert read(events, 2)["events"] == 2
    # Day 3 moves the window to days 1, 2 and 3: the repeat of day 0 is not recognised.
    events += [mail(make, 3, "inbound"), first]
    assert read(events, 3)["events"] == 4


def test_a_too_late_event_is_counted_and_scores_nothing(make: Make) -> None:
    kept, late = mail(make, 5, "inbound", None), mail(make, 4, "inbound", None)
    events = [mail(make, 40, "inbound", None), late]
    result = read(events, 40)
    # The event of day 40 alone: 3 minutes; day 4 is 36 days older.
    assert result["engagement_minutes"] == pytest.approx(3.0)
    assert (result["events"], result["first_event_at"]) == (2, unix(4))
    # Exactly 5 weeks is in time: 3 * 2^(-35/14) = 0.5303301 more.
    assert read([*events, kept], 40)["engagement_minutes"] == pytest.approx(3.5303301)


def test_events_after_the_time_asked_for_and_spend_are_left_out(make: Make) -> None:
    events = [mail(make, 1, "inbound"), mail(make, 3, "inbound"), make("spend", 1, amount=5)]
    events.append({**mail(make, 1, "inbound"), "account_id": None})
    result = read(events, 2)
    assert (result["events"], result["last_event_at"]) == (1, unix(1))
    assert score(events[1:], unix(2)) == {}


def test_the_newest_account_record_replaces_the_whole_earlier_one(make: Make) -> None:
    events = [account(make, 2, tier=1), account(make, 1, tier=3, owner_id="joe")]
    result = read(events, 9)
    assert (result["target"], result["tier"], result["owner_id"]) == (True, 1, None)
    events.append(account(make, 2, "removed", owner_id="sue"))
    result = read(events, 9)
    assert (result["target"], result["tier"], result["owner_id"]) == (False, None, "sue")
    assert result["stage"] is None
    assert result["transitions"] == [
        (unix(2), "stage_changed", "none>target"),
        (unix(2), "stage_changed", "target>none"),
    ]


@pytest.mark.parametrize(("x", "b", "n"), [(3, 0, 12), (40, 200, 7), (290, 10, 0), (900, 2000, 3)])
def test_the_surge_law_is_the_negative_binomial(x: int, b: int, n: int) -> None:
    law = nbinom(1 + b, (1 + n) / (2 + n))
    expected = 100 * (law.cdf(x - 1) + law.pmf(x) / 2)
    assert surge_score(x, b, n) == pytest.approx(expected, abs=1e-10)
