"""The fast scores equal those of the naive reference."""

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from scoring.report import account_report, newest_time
from tests import oracle
from tests.builders import default_rules, fold_all
from tests.strategies import streams

NUMBERS = ("engagement", "engagement_minutes", "intent_surge", "relationship")
EXACT = ("surging", "contacts", "stage", "target", "tier", "owner_id", "events")


def assert_same(ours: dict[str, Any], theirs: dict[str, Any]) -> None:
    for name in NUMBERS:
        assert abs(ours[name] - theirs[name]) <= 1e-9, name
    for name in EXACT:
        assert ours[name] == theirs[name], name
    assert ours["surge"].keys() == theirs["surge"].keys()
    for topic, score in theirs["surge"].items():
        assert abs(ours["surge"][topic] - score) <= 1e-9, topic


@settings(max_examples=250, deadline=None)
@given(streams(), st.sampled_from([0.0, 3_600.0, 86_400.0 * 5, 86_400.0 * 40]))
def test_scores_equal_the_direct_sums_of_the_reference(
    events: list[dict[str, Any]], later: float
) -> None:
    account, _ = fold_all(events)
    newest = newest_time([account.state])
    if newest is None:
        return
    theirs = oracle.score(events, newest + later)["acme"]

    ours = account_report(account.state, newest + later, default_rules())

    assert_same(ours, theirs)
    announced = sorted((t.rule, t.subject) for t in account.live.announced)
    assert announced == sorted((kind, subject) for _, kind, subject in theirs["transitions"])  # type: ignore[attr-defined]


@settings(max_examples=40, deadline=None)
@given(streams(types=("email", "meeting", "page_visit"), max_size=120, days=3_650))
def test_forward_decay_equals_the_direct_sum_over_ten_years(events: list[dict[str, Any]]) -> None:
    account, _ = fold_all(events)
    newest = newest_time([account.state])
    if newest is None:
        return

    ours = account_report(account.state, newest, default_rules())

    assert_same(ours, oracle.score(events, newest)["acme"])
