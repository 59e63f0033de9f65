"""What the engine makes of memories that are empty, cut or old."""

import datetime as dt
import json
from collections.abc import Iterable
from typing import Any

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from scoring.fold import Account
from scoring.kpis.columns import Bounds, Facts, facts_of
from scoring.kpis.engine import Figure, kpi_period, kpis_of
from scoring.kpis.facts import FactPacker, Names
from stream.fact_logs import cut
from stream.kpi_reading import facts_of_lines
from tests.builders import default_rules, fold_all, new_account
from tests.strategies import START, streams

Json = dict[str, Any]
DAY = 86_400.0
WIDE = Bounds(keep_seconds=1e12, most=100_000)


def facts_from(events: Iterable[Json], bounds: Bounds = WIDE, **more: Any) -> Facts:
    account: Account = new_account()
    fold_all(list(events), account)
    names: Names = {}
    packed = FactPacker(default_rules().read_page).take(account.live, names)
    return facts_of([("acme", *packed)], names=names, spend=[], bounds=bounds, **more)


def figures(facts: Facts, start: float, end: float) -> dict[tuple[str, str], Figure]:
    """Return (KPI, measure) -> its first figure of all accounts."""
    found: dict[tuple[str, str], Figure] = {}
    for each in kpis_of(kpi_period(facts, default_rules(), start, end)):
        found.setdefault((each.kpi, each.measure), each)
    return found


def visit(number: int, day: float) -> Json:
    at = dt.datetime.fromtimestamp(START + day * DAY, dt.UTC).isoformat()
    return {"id": f"v{number}", "source": "t", "type": "page_visit", "time": at,
            "account_id": "acme", "url": "https://x.example/pricing", "duration_seconds": 60}  # fmt: skip


def test_nothing_remembered_is_nothing_told() -> None:
    nothing = facts_of([], names={}, spend=[], bounds=WIDE)

    found = figures(nothing, START, START + DAY)

    assert found["target_accounts", ""].value == 0.0
    assert found["engaged_rate", ""].value is None
    assert found["engaged_rate", ""].missing == "nothing to divide by or to average"


def test_period_that_begins_before_what_is_remembered_is_not_told() -> None:
    events = [visit(number, number / 2) for number in range(40)]
    facts = facts_from(events, Bounds(keep_seconds=10 * DAY, most=1_000))

    early = figures(facts, START + 2 * DAY, START + 20 * DAY)["website_visits", ""]
    late = figures(facts, START + 12 * DAY, START + 20 * DAY)["website_visits", ""]

    assert early.value is None
    assert early.missing is not None
    assert early.missing.startswith("events of 1 account are remembered since 2008-01-19")
    assert late.value == 16.0


def test_memory_that_began_with_an_upgrade_tells_nothing_of_the_crm() -> None:
    facts = facts_from([visit(1, 1)], since=START + 0.5 * DAY)

    found = figures(facts, START + DAY, START + 2 * DAY)["target_accounts", ""]

    assert found.value is None
    assert "remembered since" in (found.missing or "")


def test_memory_that_has_not_begun_tells_nothing() -> None:
    found = figures(facts_from([visit(1, 1)], since=float("inf")), START, START + 2 * DAY)

    assert found["target_accounts", ""].missing is not None
    assert not [figure for figure in found.values() if figure.value is not None]


def test_first_touch_outlives_its_event() -> None:
    events = [visit(number, number) for number in range(40)]
    facts = facts_from(events, Bounds(keep_seconds=5 * DAY, most=1_000))

    period = kpi_period(facts, default_rules(), START + 38 * DAY, START + 41 * DAY)

    assert period.first_touch.tolist() == [START]
    assert facts.touches.tolist() == [34.0]


@settings(max_examples=30, deadline=None)
@given(streams(types=("page_visit", "email", "contact", "opportunity"), days=60), st.data())
def test_what_is_remembered_does_not_depend_on_when_logs_are_cut(
    events: list[Json], data: st.DataObject
) -> None:
    bounds = Bounds(keep_seconds=20 * DAY, most=24)
    whole = facts_from(events, bounds)
    account, names, log, records = new_account(), {}, b"", b""  # type: ignore[var-annotated]
    packer = FactPacker(default_rules().read_page)
    for event in events:
        fold_all([event], account)
        if data.draw(st.booleans()):
            packed = packer.take(account.live, names)
            account.live.announced.clear()
            newest = max(account.state.newest.values())
            log = cut(log + packed.events, oldest=newest - bounds.keep_seconds, spare_seconds=9.0,
                      most=bounds.most)  # fmt: skip
            records += packed.records
    packed = packer.take(account.live, names)
    logs = [("acme", log + packed.events, records + packed.records)]

    again = facts_of(logs, names=names, spend=[], bounds=bounds)

    without = np.array([23, 24])  # surges take places in the log, and come last in a commit
    if not np.isin(whole.events.code, without).any():
        assert again.events.time.tolist() == whole.events.time.tolist()
        assert again.events.subject.tolist() == whole.events.subject.tolist()
        assert (again.cut_at, again.first_touch, again.touches) == (
            whole.cut_at, whole.first_touch, whole.touches,
        )  # fmt: skip


def test_reading_the_same_events_again_tells_the_same() -> None:
    events = [visit(number, number / 3) for number in range(60)]
    lines = [json.dumps(each).encode() for each in (*events, *events[-6:])]
    rules = default_rules()

    first, _, end = facts_of_lines(lines, rules, until=START + 30 * DAY, now=2e9)
    again, _, _ = facts_of_lines(lines, rules, until=end, now=2e9)

    ours, theirs = (figures(each, START, end) for each in (first, again))
    assert ours["website_visits", ""] == theirs["website_visits", ""]
    assert ours["website_visits", ""].value == 60.0
