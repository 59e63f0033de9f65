"""Attribution in memory: at once, backwards, once, no further back than the horizon."""

import datetime as dt
import json
import time
from typing import Any

from scoring.attribution import Attribution, Decision
from scoring.fold import Outcome
from scoring.model import default_model, parse_model
from scoring.resolution import Found, NotFound
from scoring.rules import Rules
from stream.offline import OfflineRun, score_lines
from tests.builders import decoded, default_rules, fold_all
from tests.directory import Json, account, contact, identify

START = dt.datetime(2026, 1, 5, tzinfo=dt.UTC)


def at(days: float) -> str:
    return (START + dt.timedelta(days=days)).isoformat()


def visit(number: int, days: float = 1.0, **fields: Any) -> Json:
    return {
        "id": f"v{number}",
        "source": "web",
        "type": "page_visit",
        "time": at(days),
        "url": "https://x.example/docs",
        "duration_seconds": 60,
    } | fields


def decide(events: list[Json], model: Any = None) -> list[Decision]:
    attribution = Attribution(default_model().resolution if model is None else model)
    return [each for event in events for each in attribution.take(*decoded(event))]


def found(decisions: list[Decision]) -> list[tuple[str, str | None, bool]]:
    return [
        (each.event["id"], each.event.get("account_id"), each.backwards)
        for each in decisions
        if each.resolution is not None
    ]


def score(events: list[Json]) -> OfflineRun:
    lines = [json.dumps(each).encode() for each in events]
    return score_lines(lines, rules=default_rules(), as_of=None, now=time.time() + 1e9)


def test_visitor_is_attributed_backwards_once_identified() -> None:
    decisions = decide(
        [
            account("acme", "acme.com"),
            visit(1, anonymous_id="a"),
            visit(2, 2, anonymous_id="a"),
            identify("a", at=at(3), email="x@acme.com"),
            visit(3, 4, anonymous_id="a"),
        ]
    )

    assert found(decisions) == [
        ("v1", None, False),
        ("v2", None, False),
        (f"a-{at(3)}", "acme", False),
        ("v1", "acme", True),
        ("v2", "acme", True),
        ("v3", "acme", False),
    ]


def test_event_keeps_rule_and_confidence() -> None:
    (decision,) = decide([account("acme", "acme.com"), visit(1, email="x@acme.com")])[1:]

    assert decision.event["resolution"] == {"by": "email_domain", "confidence": 0.8}


def test_person_who_was_found_is_kept_on_the_event() -> None:
    decisions = decide(
        [contact("ann", "acme", email="ann@acme.com"), visit(1, email="ann@acme.com")]
    )

    assert decisions[-1].event["contact_id"] == "ann"


def test_events_of_a_visitor_whose_person_comes_later_wait_on() -> None:
    decisions = decide(
        [
            visit(1, anonymous_id="a"),
            identify("a", at=at(2), contact_id="ann"),
            contact("ann", "acme", at=at(3)),
        ]
    )

    assert found(decisions)[2:] == [(f"a-{at(2)}", "acme", True), ("v1", "acme", True)] or found(
        decisions
    )[2:] == [("v1", "acme", True), (f"a-{at(2)}", "acme", True)]


def test_any_event_with_both_ids_identifies_the_visitor() -> None:
    click = {
        "id": "c", "source": "mail", "type": "email", "action": "clicked", "time": at(3),
        "direction": "outbound", "account_id": "acme", "contact_id": "ann", "anonymous_id": "a",
    }  # fmt: skip

    decisions = decide([visit(1, anonymous_id="a"), click])

    assert found(decisions)[1:] == [("v1", "acme", True)]


def test_what_is_older_than_the_horizon_is_not_attributed() -> None:
    model = default_model().resolution
    old, young = visit(1, 0, anonymous_id="a"), visit(2, 1, anonymous_id="a")
    late = identify("a", at=at(model.horizon_days + 0.5), email="x@acme.com")

    decisions = decide([account("acme", "acme.com"), old, young, late])

    assert [each for each in found(decisions) if each[2]] == [("v2", "acme", True)]


def test_event_that_came_twice_counts_once() -> None:
    events = [
        account("acme", "acme.com"),
        visit(1, anonymous_id="a"),
        visit(1, anonymous_id="a"),
        identify("a", at=at(30), email="x@acme.com"),
        visit(1, anonymous_id="a"),
    ]

    run = score(events)

    assert run.accounts["acme"].state.events == 1
    assert run.outcomes[Outcome.DUPLICATE] >= 1


def test_attributed_event_is_known_long_after_its_window() -> None:
    note = {"resolution": {"by": "anonymous_id", "confidence": 0.9}, "account_id": "acme"}
    again = [visit(1, 1) | note, visit(2, 30, account_id="acme"), visit(1, 1) | note]

    account_, outcomes = fold_all(again)

    assert outcomes[2] is Outcome.DUPLICATE
    assert account_.state.events == 2


def test_events_with_an_account_are_scored_as_ever() -> None:
    plain = [visit(n, n, account_id="acme", anonymous_id="a") for n in range(5)]

    run = score([*plain, identify("a", at=at(6), email="x@globex.com")])

    alone, _ = fold_all(plain)
    assert run.accounts["acme"].state == alone.state
    assert run.resolved == {}


def test_events_without_any_way_are_not_scored() -> None:
    run = score([account("acme", "acme.com"), visit(1)])

    assert run.outcomes[Outcome.UNRESOLVED] == 1
    assert run.accounts["acme"].state.events == 0


def test_late_attribution_beyond_the_scoring_horizon_is_counted_as_too_late() -> None:
    run = score(
        [
            account("acme", "acme.com"),
            visit(1, 0, anonymous_id="a"),
            visit(2, 50, account_id="acme"),
            identify("a", at=at(51), email="x@acme.com"),
        ]
    )

    assert run.outcomes[Outcome.TOO_LATE] == 1
    assert (run.backwards, run.outcomes[Outcome.UNRESOLVED]) == (1, 0)


def test_subsidiaries_roll_up_with_all_they_do_but_their_own_record() -> None:
    model = parse_model('[resolution]\nroll_up = "all"')
    events = [
        account("group"),
        account("berlin", "acme.de", parent_account_id="group"),
        contact("ann", "berlin", seniority="vp"),
        visit(1, account_id="berlin", contact_id="ann"),
        visit(2, email="x@acme.de"),
    ]
    lines = [json.dumps(each).encode() for each in events]

    run = score_lines(lines, rules=Rules.of(model), as_of=None, now=time.time() + 1e9)

    assert run.accounts["group"].state.events == 2
    assert run.accounts["berlin"].state.events == 0
    assert set(run.accounts["group"].state.contacts) == {"ann"}


def test_decisions_name_what_was_found() -> None:
    decisions = decide([account("acme", "acme.com"), visit(1, network_host="a.acme.com"), visit(2)])

    assert isinstance(decisions[1].resolution, Found)
    assert isinstance(decisions[2].resolution, NotFound)
