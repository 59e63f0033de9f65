"""Alerts of a real worker: announced on their topic, once for each event, and linked to the board."""

import asyncio
import datetime as dt
import json
from collections.abc import Iterator
from typing import Any, NamedTuple

import pytest

from scoring.account import decode_state
from scoring.history import DayScores, Touched
from scoring.timeline import last_facts, touches_of
from stream.routing import shard_of
from stream.state_store import RedisStore
from tests.integration.worker_kit import PARTITIONS, Found, Place, Servers, Worker, record_of
from tests.system.harness import Json

BOARD = "https://board.example"
NOW = dt.datetime.now(dt.UTC)


def sent(number: int, type_: str, hours_ago: float, **fields: Any) -> Json:
    common = {"id": f"a{number}", "source": "test", "type": type_, "account_id": "a/b é"}
    return common | {"time": (NOW - dt.timedelta(hours=hours_ago)).isoformat()} | fields


EVENTS = [
    sent(0, "account", 50, action="upserted", target=True, tier=1, name="Acme", owner_id="rep"),
    sent(1, "page_visit", 49, url="https://x.example/blog", duration_seconds=60),
    sent(2, "page_visit", 1, url="https://x.example/pricing", duration_seconds=90),
    sent(2, "page_visit", 1, url="https://x.example/pricing", duration_seconds=90),
    sent(3, "page_visit", 0.9, url="https://x.example/demo"),
]


class Alerted(NamedTuple):
    """A worker that has scored EVENTS, and what it announced."""

    place: Place
    worker: Worker
    alerts: list[Found]


@pytest.fixture(scope="module")
def alerted(servers: Servers, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Alerted]:
    with Place(
        servers,
        tmp_path_factory.mktemp("alerts"),
        SURGELINE_CLOCK="wall",
        SURGELINE_BOARD_URL=BOARD,
    ) as place:
        worker = place.ready_worker()
        for event in EVENTS:  # one after the other: topics may be read in any order
            place.wait_scored(place.produce([record_of(event)]))
        yield Alerted(place, worker, place.read("alerts", lambda found: len(found) >= 2))


def test_each_alert_is_announced_once_under_its_account(alerted: Alerted) -> None:
    bodies = [json.loads(each.value or b"") for each in alerted.alerts]

    assert [each.key for each in alerted.alerts] == ["a/b é".encode()] * 2
    assert sorted(each["rule"] for each in bodies) == ["high_value_page", "stage_changed"]
    assert len({each["id"] for each in bodies}) == 2


def test_alert_says_what_a_salesperson_needs(alerted: Alerted) -> None:
    bodies = [json.loads(each.value or b"") for each in alerted.alerts]
    (alert,) = [each for each in bodies if each["rule"] == "high_value_page"]

    assert alert["sentence"] == "Somebody of Acme spent 1 min 30 s on /pricing."
    assert alert["link"] == f"{BOARD}/accounts/a%2Fb%20%C3%A9"
    assert (alert["severity"], alert["tier"], alert["owner_id"]) == ("high", 1, "rep")
    assert (alert["clock"], alert["notify"]) == ("wall", ["owner"])
    assert dt.datetime.fromisoformat(alert["event_time"]) == NOW - dt.timedelta(hours=1)
    assert dt.datetime.fromisoformat(alert["detected_at"]) >= NOW
    assert alert["after"]["engagement"] > alert["before"]["engagement"] > 0
    assert alert["cause"] == {"source": "test", "id": "a2", "type": "page_visit"}


def test_alerts_are_counted(alerted: Alerted) -> None:
    counted = {
        rule: alerted.worker.metric("surgeline_alerts_total", rule=rule, severity=severity)
        for rule, severity in (("high_value_page", "high"), ("stage_changed", "low"))
    }

    assert counted == {"high_value_page": 1, "stage_changed": 1}


async def read_past(place: Place) -> tuple[list[DayScores], list[Touched]]:
    store, shard = RedisStore(place.redis_url), shard_of("a/b é", PARTITIONS)
    try:
        (days,) = await store.history(shard, ["a/b é"])
        (state,) = await store.states(shard, ["a/b é"])
        ((events, _),) = await store.facts(shard, ["a/b é"])
        assert state is not None
        names = await store.names(shard)
        return days, touches_of(last_facts(events), names, decode_state(state).contacts)
    finally:
        await store.close()


def test_days_and_touches_are_kept_for_the_board(alerted: Alerted) -> None:
    days, touches = asyncio.run(read_past(alerted.place))

    assert [each.label for each in touches] == [
        "/demo",
        "/pricing",
        "/blog",
    ]
    assert touches[1].minutes == 6.0
    assert [each.day for each in days] == sorted({each.day for each in days})
    assert len(days) in (2, 3)
    assert days[-1].engagement > 0
