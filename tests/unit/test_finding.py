"""Look-ups of a worker: in batches, remembered for less than five seconds."""

import asyncio
from collections.abc import Collection
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from scoring.directory import Key, Kind
from scoring.domains import Label
from scoring.model import default_model
from scoring.resolution import Found, NotFound
from stream.backoff import Backoff
from stream.finding import AccountFinder
from tests.builders import decoded
from tests.directory import Json, account, contact, identify, known

STALE_SECONDS = 5.0


class Counting:
    """A directory in memory that counts how often it is asked for what."""

    def __init__(self, events: list[Json]) -> None:
        self.events = events
        self.asked: list[set[Key]] = []

    async def read(self, keys: Collection[Key]) -> dict[Key, Any]:
        self.asked.append(set(keys))
        look = known(self.events)
        return {key: look(key) for key in keys}


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


def finder(directory: Counting, clock: Clock) -> AccountFinder:
    backoff = Backoff(print, name="Redis")
    model = default_model().resolution
    return AccountFinder(directory, model, look_up=None, backoff=backoff, clock=clock)  # type: ignore[arg-type]


def visits(*clues: Json) -> list[Any]:
    common = {"source": "web", "type": "page_visit", "time": "2026-01-06T00:00:00Z", "url": "/"}
    return [decoded(common | {"id": str(n)} | each)[0] for n, each in enumerate(clues)]


def accounts_of(found: list[Any]) -> list[str | None]:
    return [each.account_id if isinstance(each, Found) else None for each in found]


CRM = [
    account("acme", "acme.com"),
    account("acme-eu", "acme.com", parent_account_id="acme"),
    contact("ann", "acme", email="ann@acme.com"),
    identify("a", contact_id="ann"),
]


def test_batch_asks_once_for_each_step_of_the_way() -> None:
    directory = Counting(CRM)
    clues = [{"anonymous_id": "a"}, {"email": "ann@acme.com"}, {"network_host": "x.acme.com"}] * 50

    found = asyncio.run(finder(directory, Clock()).find(visits(*clues)))

    assert accounts_of(found) == ["acme"] * 150
    assert len(directory.asked) <= 6
    assert sum(map(len, directory.asked)) == len(set[Key]().union(*directory.asked))


def test_nobody_is_found_with_the_reason() -> None:
    (found,) = asyncio.run(
        finder(Counting(CRM), Clock()).find(visits({"network_host": "a.aol.com"}))
    )

    assert found == NotFound(Label.PROVIDER)


def test_answers_are_remembered_for_a_moment() -> None:
    directory, clock = Counting(CRM), Clock()
    looking = finder(directory, clock)
    asyncio.run(looking.find(visits({"anonymous_id": "a"})))
    asked = len(directory.asked)

    clock.now += 1.0
    asyncio.run(looking.find(visits({"anonymous_id": "a"})))

    assert [each for each in directory.asked[asked:] if each] == []


@given(st.lists(st.floats(0.01, 6.0), min_size=1, max_size=30))
def test_no_answer_is_older_than_five_seconds(pauses: list[float]) -> None:
    directory, clock = Counting(CRM), Clock()
    looking = finder(directory, clock)
    key = (Kind.VISITOR, "new")
    read_at = None

    for pause in pauses:
        before = len(directory.asked)
        asyncio.run(looking.find(visits({"anonymous_id": "new"})))
        if any(key in each for each in directory.asked[before:]):
            read_at = clock.now
        assert read_at is not None
        assert clock.now - read_at < STALE_SECONDS
        clock.now += pause


def test_what_becomes_known_is_found_in_time() -> None:
    directory, clock = Counting([]), Clock()
    looking = finder(directory, clock)
    assert accounts_of(asyncio.run(looking.find(visits({"anonymous_id": "a"})))) == [None]

    directory.events = CRM
    clock.now += STALE_SECONDS

    assert accounts_of(asyncio.run(looking.find(visits({"anonymous_id": "a"})))) == ["acme"]
