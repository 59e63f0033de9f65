"""Alerts: when each rule raises one, what it says, and for how long it then keeps quiet."""

from itertools import pairwise
from typing import Any

import pytest

from scoring.account import decode_state, encode_state
from scoring.alert import Alert
from scoring.fold import Account
from scoring.model import parse_model
from scoring.rules import Rules
from scoring.scores import scores_at
from scoring.transitions import walk
from tests.builders import default_rules, fold_all
from tests.strategies import DAY_0, Json, event

DAY = 86_400.0
MINUTE = 1 / 1_440
HOUR = 1 / 24


def target(day: float = 0, **fields: Any) -> Json:
    return event("account", day, action="upserted", **({"target": True} | fields))


def visit(day: float, page: str = "pricing", **fields: Any) -> Json:
    return event("page_visit", day, url=f"https://x.example/{page}", **fields)


def signal(day: float, strength: float, topic: str = "crm") -> Json:
    return event("intent", day, topic=topic, strength=strength)


def meeting(day: float, *contacts: str, **fields: Any) -> Json:
    attendees = {"attendee_ids": list(contacts)} if contacts else {}
    return event("meeting", day, action="held", meeting_id="m", **attendees, **fields)


def deal(day: float, action: str = "won", kind: str = "new", **fields: Any) -> Json:
    return event("opportunity", day, action=action, opportunity_id="o", kind=kind, **fields)


def contact(day: float, contact_id: str, seniority: str) -> Json:
    return event("contact", day, action="upserted", contact_id=contact_id, seniority=seniority)


def alerts_of(*events: Json, rules: Rules | None = None, rule: str | None = None) -> list[Alert]:
    alerts = fold_all(events, rules=rules)[0].live.alerts
    return [each for each in alerts if rule in (None, each.rule)]


def rules_with(toml: str) -> Rules:
    return Rules.of(parse_model(toml))


def told_by(account: Account, day: float, rule: str, rules: Rules | None = None) -> list[Alert]:
    """Return what the due queue raises up to *day*, beyond what was raised."""
    known = len(account.live.alerts)
    walk(account.state, account.live, DAY_0 + day * DAY, rules or default_rules())
    return [each for each in account.live.alerts[known:] if each.rule == rule]


def days(alerts: list[Alert]) -> list[Any]:
    return [pytest.approx((each.at - DAY_0) / DAY, abs=1e-5) for each in alerts]


# High-value pages


def test_target_account_on_a_page_of_high_value_is_told() -> None:
    (alert,) = alerts_of(
        target(name="Acme Inc", tier=1, owner_id="rep-7", owner_email="rep@us.example"),
        contact(0, "ann", "vp"),
        visit(1, "pricing/enterprise.html", contact_id="ann", duration_seconds=130, id="v1"),
        rule="high_value_page",
    )

    assert alert.sentence == "ann (VP) of Acme Inc spent 2 min 10 s on /pricing/enterprise."
    assert (alert.severity, alert.subject) == ("high", "/pricing/enterprise")
    assert (alert.tier, alert.owner_id, alert.owner_email) == (1, "rep-7", "rep@us.example")
    assert (alert.target, alert.notify) == (True, ("owner",))
    assert alert.next_step == "Call while they are reading, and ask what they compare."
    assert alert.cause == {"source": "test", "id": "v1", "type": "page_visit"}
    assert alert.event_time == alert.at == DAY_0 + DAY
    assert alert.why["url"] == "https://x.example/pricing/enterprise.html"
    assert (alert.why["contact_id"], alert.why["dwell_seconds"]) == ("ann", 130)
    assert alert.why["counts"] == [
        {"topic": "*", "this_week": 1, "usual": 1.0},
        {"topic": "pricing", "this_week": 1, "usual": 1.0},
    ]


def test_visitor_without_name_or_dwell_is_somebody_who_opened_the_page() -> None:
    (alert,) = alerts_of(target(), visit(1, "demo"), rule="high_value_page")

    assert alert.sentence == "Somebody of acme opened /demo."


@pytest.mark.parametrize("page", ["", "product", "careers/pricing", "blog/pricings"])
def test_other_pages_are_not_told(page: str) -> None:
    assert alerts_of(target(), visit(1, page), rule="high_value_page") == []


def test_accounts_that_are_no_target_are_not_told() -> None:
    removed = event("account", 1, action="removed")

    assert alerts_of(visit(1), rule="high_value_page") == []
    assert alerts_of(target(target=False), visit(1), rule="high_value_page") == []
    assert alerts_of(target(), removed, visit(2), rule="high_value_page") == []


def test_second_page_within_half_an_hour_is_not_told() -> None:
    visits = [visit(1 + minute * MINUTE, id=f"v{minute}") for minute in (0, 1, 29, 31, 60, 62)]

    found = alerts_of(target(), *visits, rule="high_value_page")

    assert days(found) == [1, 1 + 31 * MINUTE, 1 + 62 * MINUTE]


def test_page_that_comes_late_is_no_news() -> None:
    found = alerts_of(target(), visit(2, id="v1"), visit(1, id="v2"), rule="high_value_page")

    assert days(found) == [2]


def test_short_visits_may_be_left_out() -> None:
    rules = rules_with("[alerts.high_value_page]\nmin_dwell_seconds = 5")
    short, long = visit(1, duration_seconds=4.9, id="v1"), visit(2, duration_seconds=5, id="v2")

    found = alerts_of(target(), short, visit(1.5, id="v3"), long, rules=rules)

    assert [each.cause and each.cause["id"] for each in found if each.subject == "/pricing"] == [
        "v2"
    ]


def test_scores_before_are_those_without_the_event() -> None:
    past = [target(), visit(0, "x", duration_seconds=300, id="v1"), meeting(0.5, "ann", id="m1")]
    before = fold_all([*past, event("survey", 1, kind="nps", score=9)])[0]

    (alert,) = alerts_of(*past, visit(1, duration_seconds=60, id="v2"), rule="high_value_page")

    known = scores_at(before.state, DAY_0 + DAY, default_rules())
    assert alert.before.engagement == pytest.approx(known.engagement, abs=1e-9)
    assert alert.before.engagement_minutes == pytest.approx(known.engagement_minutes, abs=1e-9)
    assert alert.before.intent_surge == known.intent_surge
    assert alert.before.relationship == known.relationship == alert.after.relationship
    assert alert.after.engagement > alert.before.engagement
    assert alert.after.intent_surge > alert.before.intent_surge


# Surges


def surging(first: float = 0) -> list[Json]:
    return [signal(first + n, 3, topic="crm") for n in range(3)]


def test_start_of_a_surge_is_told_with_the_count_and_the_usual() -> None:
    found = alerts_of(target(name="Acme"), signal(1, 9), rule="surge_started")

    assert [each.subject for each in found] == ["*", "crm"]
    assert found[0].sentence == "Acme looks around more than usual: 9 times this week, usually 1.0."
    assert found[1].sentence == (
        "Acme reads about crm more than usual: 9 times this week, usually 1.0."
    )
    assert found[1].why["counts"] == [{"topic": "crm", "this_week": 9, "usual": 1.0}]
    assert (found[1].before.intent_surge, found[1].severity) == (0.0, "medium")
    assert found[1].after.intent_surge > 95


def test_surge_that_starts_again_within_a_day_is_told_once() -> None:
    rules = rules_with("[surge]\nwindow_days = 1\nbaseline_days = 84")
    started = [signal(0.1, 40), signal(1.05, 40), signal(2.2, 40)]

    found = [each for each in alerts_of(*started, rules=rules) if each.subject == "crm"]

    assert days([each for each in found if each.rule == "surge_started"])[0] == 0.1
    assert all(b.at - a.at >= DAY for a, b in pairwise(found))


def test_rule_that_is_off_tells_nothing() -> None:
    rules = rules_with("[alerts.surge_started]\nenabled = false")

    assert alerts_of(signal(1, 9), rules=rules) == []


# Stages


def test_move_between_stages_is_told_up_and_down() -> None:
    account = fold_all([target(), visit(1, "x", duration_seconds=300)])[0]

    (up,) = [each for each in account.live.alerts if each.rule == "stage_changed"]
    (down,) = told_by(account, 60, "stage_changed")

    assert up.sentence == "acme moved up from target to engaged."
    assert (up.subject, up.why["from"], up.why["to"]) == ("target>engaged", "target", "engaged")
    assert down.sentence == "acme fell back from engaged to target."
    assert (down.cause, down.event_time) == (None, down.at)
    assert down.before.engagement_minutes > down.after.engagement_minutes


def test_accounts_that_enter_or_leave_the_funnel_are_no_news() -> None:
    removed = event("account", 1, action="removed")

    assert alerts_of(target(), removed, rule="stage_changed") == []


def test_won_deal_names_the_opportunity() -> None:
    (alert,) = alerts_of(target(), deal(1), rule="stage_changed")

    assert alert.subject == "target>customer"
    assert (alert.why["opportunity_id"], alert.why["action"]) == ("o", "won")
    assert alert.before == alert.after


# Relationships that cool


FORGETFUL = rules_with("[relationship]\nhalf_life_days = 20")
"""Relationships fall by more than 20 points in 30 days of silence."""


def close_customer() -> list[Json]:
    """A customer whose five contacts are met on day 1, and never again."""
    people = ("ann", "bob", "cy", "dee", "eve")
    return [target(), deal(0), *(meeting(1, *people, id=f"m{n}") for n in range(3))]


def test_relationship_far_under_its_best_of_thirty_midnights_is_told_once_in_a_week() -> None:
    account = fold_all(close_customer(), rules=FORGETFUL)[0]

    found = told_by(account, 120, "relationship_cooling", FORGETFUL)

    assert len(found) > 1
    first = found[0]

    def at(time: float) -> float:
        """Return the relationship, which nothing but time has changed since day 1."""
        return scores_at(account.state, max(time, DAY_0 + 2 * DAY), FORGETFUL).relationship

    score, best = at(first.at), at(first.at - 29 * DAY)
    assert score <= best - 20
    assert at(first.at - DAY) > at(first.at - 30 * DAY) - 20
    assert first.at % DAY == 0
    assert first.why["score"] == pytest.approx(score)
    assert first.why["highest"] == pytest.approx(best)
    assert first.sentence.startswith("The relationship with acme is cooling: ")
    gaps = [(b.at - a.at) / DAY for a, b in pairwise(found)]
    assert all(gap >= 7 for gap in gaps)


def test_only_customers_and_open_opportunities_can_cool() -> None:
    stranger = [each for each in close_customer() if each["type"] != "opportunity"]
    opened = [*stranger, deal(1.5, "opened")]
    lost = [*stranger, deal(1.5, "lost")]

    assert (
        told_by(fold_all(stranger, rules=FORGETFUL)[0], 120, "relationship_cooling", FORGETFUL)
        == []
    )
    assert told_by(fold_all(lost, rules=FORGETFUL)[0], 120, "relationship_cooling", FORGETFUL) == []
    assert (
        told_by(fold_all(opened, rules=FORGETFUL)[0], 120, "relationship_cooling", FORGETFUL) != []
    )


def test_contact_who_leaves_cools_the_relationship_at_once() -> None:
    gone = [
        event("contact", 5.5, action="removed", contact_id=who, id=who)
        for who in ("ann", "bob", "cy")
    ]

    (alert,) = alerts_of(*close_customer(), *gone, rule="relationship_cooling")

    assert days([alert])[0] == 5.5
    assert alert.cause is not None
    assert alert.before.relationship > alert.after.relationship


def test_relationship_that_is_kept_up_does_not_cool() -> None:
    weekly = [meeting(1 + 7 * n, "ann", "bob", id=f"w{n}") for n in range(20)]

    assert alerts_of(target(), deal(0), *weekly, rule="relationship_cooling") == []


# Competitors


def test_customer_surging_on_a_competitor_topic_is_told() -> None:
    (alert,) = alerts_of(
        target(name="Acme"), deal(0), signal(1, 9, "competitors"), rule="competitor_research"
    )

    assert alert.sentence.startswith("Customer Acme reads about competitors more than usual")
    assert (alert.severity, alert.subject) == ("high", "competitors")


def test_prospects_and_other_topics_are_no_competitor_research() -> None:
    assert alerts_of(target(), signal(1, 9, "competitors"), rule="competitor_research") == []
    assert alerts_of(target(), deal(0), signal(1, 9), rule="competitor_research") == []


# Ids, cooldowns and storage


def test_repeated_event_raises_nothing_and_a_replay_the_same_ids() -> None:
    events = [target(), visit(1, id="v1"), visit(1, id="v1"), *surging(2), deal(6)]

    first, again = alerts_of(*events), alerts_of(*events)

    assert len({each.id for each in first}) == len(first) > 3
    assert again == first


def test_cooldowns_are_stored_and_forgotten_when_over() -> None:
    account = fold_all([target(), visit(1, id="v1")])[0]
    account.state = decode_state(encode_state(account.state))

    fold_all([visit(1 + 10 * MINUTE, id="v2")], account)
    stored = dict(account.state.alerted)
    fold_all([visit(3, id="v3")], account)

    assert [each.rule for each in account.live.alerts].count("high_value_page") == 2
    assert stored["p"] == DAY_0 + DAY
    assert account.state.alerted == {"p": DAY_0 + 3 * DAY}
