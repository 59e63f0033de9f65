"""Events that wait in Redis: found once, whatever breaks off in between, and bounded."""

import asyncio
import datetime as dt
import json
from collections.abc import Iterable, Iterator
from typing import Any

import pytest

from scoring.events import TYPE_TOPICS
from scoring.model import default_model
from stream.backoff import Backoff
from stream.directory import PREFIX, Directory
from stream.finding import AccountFinder
from stream.outputs import Message, unresolved
from stream.resolving.metrics import ResolverMetrics
from stream.resolving.people import Erased
from stream.resolving.resolver import Outside, Resolver
from stream.resolving.waiting import Waiting
from stream.routing import shard_of
from stream.settings import load_settings
from stream.state_store import RedisStore
from stream.topics import TRANSFERS
from tests.directory import Json, account, contact, identify
from tests.records import consumed

REAL = [
    pytest.param("embedded", marks=pytest.mark.embedded),
    pytest.param("kafka", marks=pytest.mark.kafka),
]
PARTITIONS = 4
NOW = dt.datetime.now(dt.UTC)


def ago(days: float) -> str:
    return (NOW - dt.timedelta(days=days)).isoformat()


class Crashed(Exception):
    """What a process that is killed here raises."""


class Produced:
    """Outputs that remember what was sent, and may break off after it."""

    def __init__(self) -> None:
        self.messages: list[Message] = []
        self.crash = False

    async def send(self, messages: Iterable[Message]) -> None:
        self.messages += messages
        if self.crash:
            raise Crashed

    @property
    def events(self) -> list[tuple[str, str]]:
        """Return (id, account) of the events that were sent."""
        events = [each for each in self.messages if each.topic != TRANSFERS]
        values = [json.loads(each.value or b"") for each in events]
        return [(each["id"], each["account_id"]) for each in values]


class Place:
    """A resolver over a real Redis; a new one of it is a restarted process."""

    def __init__(self, runner: asyncio.Runner, store: RedisStore) -> None:
        self.run = runner.run
        self.store = store
        self.waiting = Waiting(store)
        self.produced = Produced()
        self.metrics = ResolverMetrics()
        self.restart()

    def restart(self, **settings: Any) -> None:
        backoff = Backoff(print, name="Redis")
        directory = Directory(self.store)
        finder = AccountFinder(directory, default_model().resolution, look_up=None, backoff=backoff)
        outside = Outside(
            directory,
            self.waiting,
            finder,
            self.produced,  # type: ignore[arg-type]
            Erased(self.store),
            backoff,
            follow_moves=True,
        )
        self.resolver = Resolver(
            load_settings(embedded=True, **settings),
            outside,
            self.metrics,
            shard_of=lambda account_id: shard_of(account_id, PARTITIONS),
        )

    def take(self, *events: Json) -> None:
        """Take over records of *events* as workers and producers write them."""
        self.run(self.resolver.take([_record(each) for each in events]))

    def keys(self) -> list[str]:
        async def scan() -> list[str]:
            return [k.decode() async for keys in self.store.keys(f"{PREFIX}*") for k in keys]

        return sorted(each for each in self.run(scan()) if "{" not in each)

    def empty(self) -> None:
        async def unlink() -> None:
            async for keys in self.store.keys(f"{PREFIX}*"):
                await self.store.client.unlink(*keys)

        self.run(unlink())


def _record(event: Json) -> Any:
    topic, value = TYPE_TOPICS[event["type"]], json.dumps(event).encode()
    record = consumed(topic, value)
    if "account_id" in event or event["type"] == "identify":
        return record
    lost = unresolved(record)
    return consumed("unresolved", value, headers=lost.headers)


@pytest.fixture(params=REAL)
def place(request: pytest.FixtureRequest) -> Iterator[Place]:
    embedded = request.param == "embedded"
    server = request.getfixturevalue("embedded_servers" if embedded else "redis_server")
    with asyncio.Runner() as runner:
        place = Place(runner, RedisStore(server.redis_url if embedded else server.url))
        place.empty()
        yield place
        place.empty()
        runner.run(place.store.close())


def visit(number: int, days_ago: float = 5.0, **fields: Any) -> Json:
    return {
        "id": f"v{number}",
        "source": "web",
        "type": "page_visit",
        "time": ago(days_ago),
        "url": "https://x.example/",
    } | fields


ACME = account("acme", "acme.example", at=ago(20))
ANN = contact("ann", "acme", at=ago(20), email="ann@acme.example")


def test_what_waits_is_attributed_in_the_order_of_its_times(place: Place) -> None:
    place.take(visit(1, 3, anonymous_id="a"), visit(2, 4, anonymous_id="a"), ACME, ANN)

    place.take(identify("a", at=ago(1), contact_id="ann"))

    assert place.produced.events == [("v2", "acme"), ("v1", "acme")]
    assert {each.partition for each in place.produced.messages} == {shard_of("acme", PARTITIONS)}


@pytest.mark.parametrize("clue", [
    {"email": "ann@acme.example"}, {"email": "eve@acme.example"}, {"contact_id": "ann"},
    {"network_host": "gw.acme.example"},
], ids=lambda clue: next(iter(clue.items()))[1])  # fmt: skip
def test_event_is_found_by_whatever_appears(place: Place, clue: Json) -> None:
    place.take(visit(1, **clue))
    assert place.produced.events == []

    place.take(ACME, ANN)

    assert place.produced.events == [("v1", "acme")]


def test_event_whose_account_became_known_before_it_came_is_found(place: Place) -> None:
    place.take(ACME)

    place.take(visit(1, email="eve@acme.example"))

    assert place.produced.events == [("v1", "acme")]


def test_visitor_identified_before_their_person_is_known(place: Place) -> None:
    place.take(visit(1, anonymous_id="a"), identify("a", at=ago(2), contact_id="ann"))
    assert place.produced.events == []

    place.take(ANN)

    assert place.produced.events == [("v1", "acme")]


def test_nothing_is_left_of_what_was_attributed(place: Place) -> None:
    place.take(visit(1, anonymous_id="a", email="eve@acme.example"), ACME)

    assert place.keys() == []


def test_event_waits_once_however_often_it_comes(place: Place) -> None:
    place.take(*[visit(1, anonymous_id="a")] * 3)
    place.take(visit(1, anonymous_id="a"))

    assert place.run(place.waiting.count()) == 1


def test_killed_before_it_was_noted_it_repeats_what_it_had_decided(place: Place) -> None:
    place.take(visit(1, anonymous_id="a"), ACME, ANN)
    told = identify("a", at=ago(2), contact_id="ann")
    place.produced.crash = True
    with pytest.raises(Crashed):
        place.take(told)
    place.produced.crash = False

    place.restart()
    moved = contact("ann", "globex", at=ago(1))
    place.take(moved)
    place.take(told)
    place.take(told)

    # Twice the same: the fold of one account knows that; two accounts would both count it.
    assert place.produced.events == [("v1", "acme"), ("v1", "acme")]
    assert place.keys() == []


def test_events_past_the_horizon_are_not_attributed(place: Place) -> None:
    horizon = default_model().resolution.horizon_days
    place.take(visit(1, horizon + 2, anonymous_id="a"), visit(2, horizon - 2, anonymous_id="a"))

    place.take(ACME, identify("a", at=ago(0), email="eve@acme.example"))

    assert place.produced.events == [("v2", "acme")]
    assert place.keys() == []


def test_events_past_the_horizon_are_let_go(place: Place) -> None:
    horizon = default_model().resolution.horizon_days
    place.take(visit(1, horizon + 2, anonymous_id="a"), visit(2, 1, anonymous_id="a"))

    place.run(place.resolver.tidy())

    assert place.run(place.waiting.count()) == 1
    assert len(place.keys()) == 3


def test_oldest_events_go_when_too_many_wait(place: Place) -> None:
    place.restart(waiting_events=10)
    place.take(
        *(visit(number, 20 - number / 10, anonymous_id=f"a{number}") for number in range(25))
    )

    place.run(place.resolver.tidy())

    assert place.run(place.waiting.count()) == 10
    place.take(ACME, *(identify(f"a{n}", at=ago(1), email="e@acme.example") for n in range(25)))
    assert [name for name, _ in place.produced.events] == [f"v{n}" for n in range(15, 25)]


def test_events_without_any_way_are_not_kept(place: Place) -> None:
    place.take(
        visit(1), visit(2, network_host="ad01.compuserve.com"), visit(3, email="a@gmail.com")
    )

    assert place.run(place.waiting.count()) == 1  # an address may be that of a contact yet


def test_records_that_are_no_events_are_passed_over(place: Place) -> None:
    async def take() -> None:
        bad = [b"", b"{", b"[]", b'{"anonymous_id": "a", "email": "b"}', None]
        records = [consumed(topic, each) for each in bad for topic in ("accounts", "page-visits")]
        records += [consumed("unresolved", each) for each in bad]
        headers = [("surgeline-topic", b"nowhere")]
        records += [consumed("unresolved", b"{}", headers=headers)]
        await place.resolver.take(records)

    place.run(take())

    assert place.keys() == []


def test_several_resolvers_decide_the_same(place: Place) -> None:
    place.take(*(visit(number, anonymous_id="a") for number in range(20)), ACME)
    told = _record(identify("a", at=ago(1), email="eve@acme.example"))

    async def all_at_once() -> None:
        await asyncio.gather(*(place.resolver.take([told]) for _ in range(4)))

    place.run(all_at_once())

    assert {name for name, _ in place.produced.events} == {f"v{n}" for n in range(20)}
    assert {account_id for _, account_id in place.produced.events} == {"acme"}
    assert place.keys() == []
