"""Every KPI against SQL over the event files of a simulated market."""

import datetime as dt
import json
import math
import random
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from scoring.kpis.columns import Facts
from scoring.kpis.definitions import KPIS
from scoring.kpis.engine import Figure, kpi_period, kpis_of
from scoring.model import default_model
from scoring.rules import Rules
from stream.kpi_reading import facts_of_lines
from stream.simulator import simulate
from tests import oracle
from tests.builders import default_rules
from tests.kpi_sql import Key, Reference, reference

Json = dict[str, Any]

END = dt.datetime(2026, 10, 1, 10, 17, tzinfo=dt.UTC)
DAY = 86_400.0
WEEKS = 9
ACCOUNTS = 24
PERIODS = ((-20.0, 0.0), (-63.0, 0.0), (-50.0, -14.4))
"""Days from the end of the simulation."""
CLOSE = 2e-6
"""Minutes are remembered in four bytes."""
LISTED = 50
"""Of pages and campaigns only so many are listed."""


class Market(NamedTuple):
    events: list[Json]
    facts: Facts
    reference: Reference
    rules: Rules


def market_of(seed: int) -> list[Json]:
    """Return a small market whose CRM and clocks are less tidy than those of the simulation."""
    rng = random.Random(seed)
    events: list[Json] = []
    for event in simulate(seed, end=END, weeks=WEEKS, accounts=ACCOUNTS):
        # Most impressions teach nothing that the others do not.
        if event.get("action") == "impression" and rng.random() < 0.75:
            continue
        events.append(_untidy(dict(event), rng))
    accounts = sorted({e["account_id"] for e in events if e["type"] == "account"})
    for number, account_id in enumerate(accounts[::2]):
        events += _dealt(account_id, number, rng)
    events.sort(key=lambda event: dt.datetime.fromisoformat(event["time"]))
    visits = [e for e in events[-900:] if e["type"] == "page_visit"][:5]
    late = dt.timedelta(days=36, hours=7)
    for number, visit in enumerate(visits):
        at = dt.datetime.fromisoformat(visit["time"]) - late
        events.append(visit | {"id": f"late-{number}", "time": at.isoformat()})
    return events


def _dealt(account_id: str, number: int, rng: random.Random) -> Iterator[Json]:
    """Yield an opportunity of the account, decided in the simulated weeks or still open."""
    at = END - dt.timedelta(days=rng.uniform(40, 70))
    last = rng.choice(("won", "won", "won", "lost", "updated"))
    actions = ["opened", "updated", last, *(["churned"] if number % 7 == 3 else [])]
    for step, action in enumerate(actions):
        at += dt.timedelta(days=rng.uniform(0.5, 14))
        yield {
            "id": f"{number}-{step}",
            "source": "deals",
            "type": "opportunity",
            "action": action,
            "time": at.isoformat(),
            "account_id": account_id,
            "opportunity_id": f"deal-{number}",
            "kind": ("new", "new", "renewal", "expansion")[number % 4],
            "amount": float(rng.randrange(1_000, 90_000)),
            "currency": rng.choice(("USD", "EUR")),
            "term_years": rng.choice((0, 1, 2.5)),
        }


def _untidy(event: Json, rng: random.Random) -> Json:
    match event["type"]:
        case "account":
            if len(event["account_id"]) % 5 == 0:
                event.pop("tier", None)
            event["target"] = len(event["account_id"]) % 7 != 0
            forget = {"icp_fit": 0.1}
        case "contact":
            forget = {"email": 0.2, "role": 0.2, "seniority": 0.2}
        case "opportunity":
            if event["opportunity_id"].endswith(("3-1", "5-1", "8-1")):
                event["currency"] = "EUR"
            forget = {"amount": 0.15, "term_years": 0.2}
        case "spend":
            event["currency"] = rng.choice(("USD", "USD", "EUR"))
            forget = {}
        case _:
            forget = {}
    for field, chance in forget.items():
        if rng.random() < chance:
            event.pop(field, None)
    return event


@pytest.fixture(scope="module", params=[3, 11, 2026])
def market(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Market:
    events, rules = market_of(request.param), default_rules()
    lines = [json.dumps(event).encode() for event in events]
    facts, _, _ = facts_of_lines(lines, rules, until=END.timestamp(), now=time.time())
    folder: Path = tmp_path_factory.mktemp("kpis")
    return Market(events, facts, reference(events, default_model(), folder), rules)


def attention(events: list[Json], end: float) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield, by the naive implementation, each account and what it reads as of *end*."""
    own: dict[str, list[Json]] = {}
    for event in events:
        at = dt.datetime.fromisoformat(event["time"])
        if event["type"] in ("page_visit", "intent") and at.timestamp() < end:
            own.setdefault(event["account_id"], []).append(event | {"time": at})
    for account_id, seen in own.items():
        account = oracle._Account()
        for event in seen:
            account.arrive(event)
        account.walk_due(end)
        yield account_id, {"surging": account.surging, "surge": account.surge(end)}


@pytest.mark.parametrize("days", PERIODS)
def test_every_kpi_is_what_sql_finds_in_the_events(
    market: Market, days: tuple[float, float]
) -> None:
    start, end = (END.timestamp() + each * DAY for each in days)
    figures = kpis_of(kpi_period(market.facts, market.rules, start, end))
    found = dict(attention(market.events, end))
    market.reference.surges(
        [(a, topic) for a, each in found.items() for topic in sorted(each["surging"])],
        dict.fromkeys(market.facts.accounts, 0.0)
        | {a: max(each["surge"].values(), default=0.0) for a, each in found.items()},
    )

    expected = market.reference.answers(start, end)

    ours = {key_of(figure): figure for figure in figures}
    assert len(ours) == len(figures)
    assert len(expected) > 500
    assert not [key for key, (value, _) in expected.items() if not agrees(key, value, ours)]
    assert not [
        (key, expected[key][1], figure.accounts)
        for key, figure in ours.items()
        if key in expected and expected[key][1] not in (None, figure.accounts)
    ]
    # What SQL finds no row for is nothing, or cannot be told.
    assert not [f for key, f in ours.items() if key not in expected and f.value not in (None, 0.0)]


def key_of(figure: Figure) -> Key:
    return figure.kpi, figure.measure, figure.tier, tuple(sorted(figure.labels.items()))


def agrees(key: Key, value: float | None, ours: dict[Key, Figure]) -> bool:
    labels = dict(key[3])
    if key not in ours:
        return value is None or bool(labels.keys() & {"page", "campaign"})
    found = ours[key].value
    if found is None or value is None:
        return found is None and value is None
    return math.isclose(found, value, rel_tol=CLOSE, abs_tol=CLOSE)


def test_the_market_has_something_to_say_of_every_kpi(market: Market) -> None:
    end = END.timestamp()

    figures = kpis_of(kpi_period(market.facts, market.rules, end - WEEKS * 7 * DAY, end))

    told = {f.kpi for f in figures if f.value is not None}
    assert {kpi.id for kpi in KPIS} - told == set()
