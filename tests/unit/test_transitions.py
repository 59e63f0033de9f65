"""Transitions: when they happen without an event, in which order, and under which id."""

from math import log2
from typing import Any

import pytest

from scoring.account import decode_state, encode_state
from scoring.fold import Account
from scoring.live import Transition
from scoring.model import parse_model
from scoring.report import account_report
from scoring.rules import Rules
from scoring.transitions import next_due, next_transition, walk
from tests.builders import default_rules, fold_all, new_account
from tests.strategies import DAY_0, Json, event

Told = tuple[str, str, Any]
"""Rule, subject and day, the last one to about a second."""
DAY = 86_400.0
LAPSE_DAYS = 14 * log2(30 / 2.5)
"""Half an hour falls to the engaged stage's lower bound after 50.19 days."""


def target(day: float = 0) -> Json:
    return event("account", day, action="upserted", target=True)


def meeting(day: float, duration: float = 30, **fields: object) -> Json:
    held = {"action": "held", "meeting_id": "m", "duration_minutes": duration}
    return event("meeting", day, **held, **fields)


def signal(day: float, strength: float, topic: str = "crm") -> Json:
    return event("intent", day, topic=topic, strength=strength)


def survey(day: float) -> Json:
    return event("survey", day, kind="nps", score=9)


def won(day: float = 0) -> Json:
    return event("opportunity", day, action="won", opportunity_id="o", kind="new")


def told(announced: list[Transition]) -> list[Told]:
    """Return what was announced, with the days after DAY_0."""
    return [(t.rule, t.subject, pytest.approx((t.at - DAY_0) / DAY, abs=1e-5)) for t in announced]


def announced_by(*events: Json, rules: Rules | None = None) -> list[Told]:
    return told(fold_all(events, rules=rules)[0].live.announced)


def due_by(account: Account, day: float) -> list[Told]:
    """Return what the due queue announces up to *day*, beyond what was announced."""
    known = len(account.live.announced)
    walk(account.state, account.live, DAY_0 + day * DAY, default_rules())
    return told(account.live.announced[known:])


def test_a_target_enters_engaged_at_five_minutes() -> None:
    assert announced_by(target(), meeting(1, 4.9), meeting(1, 0.2)) == [
        ("stage_changed", "none>target", 0),
        ("stage_changed", "target>engaged", 1),
    ]


def test_an_account_leaves_engaged_without_an_event() -> None:
    account, _ = fold_all([target(), meeting(0)])

    assert due_by(account, LAPSE_DAYS - 0.001) == []
    assert due_by(account, LAPSE_DAYS + 0.001) == [("stage_changed", "engaged>target", LAPSE_DAYS)]
    assert account.state.stage == "target"


def test_the_next_event_of_any_type_finds_the_account_left_already() -> None:
    assert announced_by(target(), meeting(0), survey(60))[2:] == [
        ("stage_changed", "engaged>target", LAPSE_DAYS)
    ]


def test_an_account_stays_engaged_between_the_bounds() -> None:
    # 30 minutes are 3.75 after three half-lives: below 5, above 2.5.
    account, _ = fold_all([target(), meeting(0), survey(42)])

    assert account.state.stage == "engaged"
    assert account.state.minutes == pytest.approx(3.75)


def test_an_account_leaves_within_the_day_of_its_last_event() -> None:
    day = LAPSE_DAYS // 1

    assert announced_by(target(), meeting(0), survey(day), survey(day + 0.9))[2:] == [
        ("stage_changed", "engaged>target", LAPSE_DAYS)
    ]


def test_the_lower_bound_is_due_at_the_same_instant_seen_from_between_the_bounds() -> None:
    account, _ = fold_all([meeting(0), survey(42)])

    due = next_due(account.state, default_rules())

    assert due == pytest.approx(DAY_0 + LAPSE_DAYS * DAY, abs=0.01)


def test_five_minutes_enter_and_two_and_a_half_stay() -> None:
    def engaged(*titles: str | None) -> bool:
        records = [
            event("contact", number, action="upserted", contact_id="ann")
            | ({} if title is None else {"seniority": title})
            for number, title in enumerate(titles)
        ]
        # All at one instant, so that nothing decays in between.
        met = meeting(len(titles), 2.5, contact_id="ann")
        return fold_all([met, *records])[0].state.engaged

    # Two and a half minutes, twice for the highest title, then once, then three quarters.
    assert engaged("c_level")
    assert engaged("c_level", None)
    assert not engaged("c_level", None, "other")
    assert not engaged(None)


def test_minutes_between_the_bounds_do_not_enter() -> None:
    assert announced_by(target(), meeting(0, 4)) == [("stage_changed", "none>target", 0)]


def test_a_promotion_can_engage_an_account() -> None:
    promoted = event("contact", 1, action="upserted", contact_id="ann", seniority="c_level")

    found = announced_by(target(), meeting(0, 3, contact_id="ann"), promoted)

    # 3 x 2 decayed by a day is 5.71.
    assert found[1:] == [("stage_changed", "target>engaged", 1)]


def test_a_surge_ends_without_an_event() -> None:
    account, _ = fold_all([signal(0.5, 4)])

    assert told(account.live.announced) == [
        ("surge_started", "*", 0.5),
        ("surge_started", "crm", 0.5),
    ]
    # The signal is of the window's days until the midnight on which day 7 begins.
    assert due_by(account, 6.99) == []
    assert due_by(account, 7) == [("surge_ended", "*", 7), ("surge_ended", "crm", 7)]
    assert account.state.surging == []


def test_a_surge_goes_on_until_its_score_is_below_80() -> None:
    # From day 7 on x = 4, b = 1, n = 0, so r = 2, p = 1/2 and P(X <= k) = 1 - (k + 3)/2^(k + 2):
    # the score is the mean of 1 - 6/32 and 1 - 7/64, 85.2: too little to start. Three are 75.
    account, _ = fold_all([signal(0, 1), signal(1, 4)])

    walk(account.state, account.live, DAY_0 + 7 * DAY, default_rules())

    report = account_report(account.state, DAY_0 + 7 * DAY, default_rules())
    assert report["surge"]["crm"] == pytest.approx(100 * (26 / 32 + 57 / 64) / 2)
    assert report["surging"] == ["*", "crm"]


def test_the_same_score_does_not_start_a_surge() -> None:
    # Three signals of an account without history score 90.6.
    account, _ = fold_all([signal(0, 3)])

    assert account.state.surging == []


def test_late_events_can_start_a_surge_at_the_instant() -> None:
    assert announced_by(signal(2, 1), signal(1, 3)) == [
        ("surge_started", "*", 2),
        ("surge_started", "crm", 2),
    ]


def test_a_late_event_of_the_week_before_counts_for_the_usual() -> None:
    # Day 0 is a week before day 7, so that the three late signals are no part of its window.
    assert announced_by(signal(0, 1), signal(7, 1), signal(0.5, 3)) == []


def test_late_events_raise_the_usual() -> None:
    history = [signal(0, 1), signal(7, 1)]

    # Nine against one surge, nine against thirty-one do not.
    assert ("surge_started", "crm", 7.5) in announced_by(*history, signal(7.5, 8))
    assert announced_by(*history, signal(0.5, 30), signal(7.5, 8)) == []


def test_late_events_of_the_weeks_before_end_a_surge() -> None:
    surging = [signal(0, 1), signal(7, 9)]

    assert announced_by(*surging)[-2:] == [("surge_started", "*", 7), ("surge_started", "crm", 7)]
    assert announced_by(*surging, signal(0.5, 30))[-2:] == [
        ("surge_ended", "*", 7),
        ("surge_ended", "crm", 7),
    ]


def test_due_instants_come_before_the_event_of_the_same_instant() -> None:
    assert announced_by(signal(0, 4), signal(7, 50)) == [
        ("surge_started", "*", 0),
        ("surge_started", "crm", 0),
        ("surge_ended", "*", 7),
        ("surge_ended", "crm", 7),
        ("surge_started", "*", 7),
        ("surge_started", "crm", 7),
    ]


def test_a_forgotten_topic_surges_no_more() -> None:
    rules = Rules.of(
        parse_model("[surge]\nmax_topics = 3\n[surge.topics]\npricing = ['pricing']\n")
    )
    signals = [signal(0, 4, "a"), signal(0, 5, "b"), signal(0, 6, "c")]

    assert ("surge_ended", "a", 0) in announced_by(*signals, rules=rules)


def test_topics_that_start_to_surge_together_are_announced_in_one_order() -> None:
    url = "https://x.example/pricing/alternatives"
    visits = [event("page_visit", 0, url=url, id=f"e{n}") for n in range(4)]
    whole, _ = fold_all(visits)
    first, _ = fold_all(visits[:3])
    stored = Account(decode_state(encode_state(first.state)), first.seen)

    cut, _ = fold_all(visits[3:], stored)

    # Cut or not, whoever folds the fourth visit: the batches must not show.
    assert cut.live.announced == whole.live.announced
    assert [t.subject for t in cut.live.announced] == ["*", "competitors", "pricing"]


def test_the_instant_never_goes_back() -> None:
    account, _ = fold_all([survey(5), target(1), meeting(2)])

    assert account.state.instant == DAY_0 + 5 * DAY
    assert told(account.live.announced) == [
        ("stage_changed", "none>target", 5),
        ("stage_changed", "target>engaged", 5),
    ]


def test_an_event_before_the_last_due_instant_is_evaluated_at_it() -> None:
    account, _ = fold_all([target(), signal(0, 1)])
    walk(account.state, account.live, DAY_0 + 3.5 * DAY, default_rules())

    fold_all([meeting(1)], account)

    # The last due instant up to day 3.5 is the midnight of day 3.
    assert told(account.live.announced)[-1] == ("stage_changed", "target>engaged", 3)


def test_nothing_is_due_for_an_account_that_nothing_happens_to() -> None:
    account, _ = fold_all([target(), survey(0)])

    assert next_due(account.state, default_rules()) is None


def test_an_engaged_account_is_due_when_its_minutes_fall_to_the_lower_bound() -> None:
    account, _ = fold_all([meeting(0.25)])

    due = next_due(account.state, default_rules())

    assert due == pytest.approx(DAY_0 + (0.25 + LAPSE_DAYS) * DAY, abs=0.01)


def test_an_account_with_a_count_this_week_is_due_at_midnight() -> None:
    account, _ = fold_all([signal(0.25, 1)])

    assert next_due(account.state, default_rules()) == DAY_0 + DAY


@pytest.mark.parametrize("more", [[signal(0.25, 1)], [won()]])
def test_of_several_due_instants_the_first_counts(more: list[Json]) -> None:
    account, _ = fold_all([meeting(0.25), *more])

    assert next_due(account.state, default_rules()) == DAY_0 + DAY


def test_an_account_at_midnight_is_due_at_the_next_one() -> None:
    account, _ = fold_all([signal(1, 1)])

    assert next_due(account.state, default_rules()) == DAY_0 + 2 * DAY


def test_a_quiet_week_ends_the_midnights() -> None:
    account, _ = fold_all([signal(0.25, 1)])

    walk(account.state, account.live, DAY_0 + 100 * DAY, default_rules())

    assert account.state.instant == DAY_0 + 7 * DAY
    assert next_due(account.state, default_rules()) is None


@pytest.mark.parametrize(
    "deal", [won(), event("opportunity", 0, action="opened", opportunity_id="o", kind="new")]
)
def test_customers_and_open_opportunities_are_due_every_midnight(deal: Json) -> None:
    account, _ = fold_all([deal])
    rules = default_rules()

    assert next_transition(account.state, rules) is None
    assert next_due(account.state, rules) == DAY_0 + DAY
    walk(account.state, account.live, DAY_0 + 9.5 * DAY, rules)
    assert next_due(account.state, rules) == DAY_0 + 10 * DAY
    assert account.live.announced == []


def test_nothing_is_due_before_the_first_event() -> None:
    account = fold_all([])[0]

    assert next_due(account.state, default_rules()) is None
    walk(account.state, account.live, DAY_0, default_rules())
    assert account.state.instant is None


def test_a_transition_has_the_same_id_however_often_it_is_computed() -> None:
    events = [target(), signal(0, 5), meeting(0), survey(60)]

    first, second = (fold_all(events)[0].live.announced for _ in range(2))

    assert first == second
    assert len({t.id for t in first}) == len(first) > 4


def test_a_due_transition_has_the_same_id_whoever_evaluates_it() -> None:
    by_event, _ = fold_all([target(), meeting(0), survey(60)])
    by_queue, _ = fold_all([target(), meeting(0)])

    walk(by_queue.state, by_queue.live, DAY_0 + 60 * DAY, default_rules())

    assert by_queue.live.announced == by_event.live.announced


def test_the_id_of_a_transition_names_account_and_cause() -> None:
    def id_of(account_id: str, cause: str) -> str:
        account, _ = fold_all([{**target(), "id": cause}], new_account(account_id))
        return account.live.announced[0].id

    assert id_of("acme", "e1") == id_of("acme", "e1")
    assert len({id_of("acme", "e1"), id_of("acme", "e2"), id_of("beta", "e1")}) == 3
