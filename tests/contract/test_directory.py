"""The directory in Redis: the newest word counts, in whatever order, by however many writers."""

import asyncio
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from scoring.directory import ContactEntry, Key, Kind
from stream.directory import PREFIX, Directory
from stream.state_store import RedisStore
from tests.directory import Json, account, contact, gone, identify, known, told

REAL = [
    pytest.param("embedded", marks=pytest.mark.embedded),
    pytest.param("kafka", marks=pytest.mark.kafka),
]
NAMES = ("a", "b")
DAYS = tuple(f"2026-01-0{day}T00:00:00Z" for day in range(1, 5))
KEYS: list[Key] = [
    *((kind, name) for kind in (Kind.ACCOUNT, Kind.CONTACT, Kind.VISITOR, Kind.SIZE) for name in NAMES),
    *((Kind.EMAIL, f"{name}@x.com") for name in NAMES),
    *((Kind.DOMAIN, f"{name}.com") for name in NAMES),
    *((Kind.NAME, name) for name in NAMES),
]  # fmt: skip


def plain(value: Any) -> Any:
    """Return what is known, without what is kept for records that may come yet."""
    if isinstance(value, ContactEntry):
        email = None if value.removed else value.email
        return ContactEntry(value.recorded_at, value.account_id, email, value.removed)
    return sorted(value) if isinstance(value, list) else value


Run = Callable[[Any], Any]


class Place:
    """A directory in Redis, and what runs its calls."""

    def __init__(self, runner: asyncio.Runner, store: RedisStore) -> None:
        self.run: Run = runner.run
        self.store = store
        self.directory = Directory(store)

    def read(self) -> dict[Key, Any]:
        found = self.run(self.directory.read(KEYS))
        return {key: plain(value) for key, value in found.items()}

    def empty(self) -> None:
        async def unlink() -> None:
            async for keys in self.store.keys(f"{PREFIX}*"):
                await self.store.client.unlink(*keys)

        self.run(unlink())


@pytest.fixture(params=REAL)
def place(request: pytest.FixtureRequest) -> Iterator[Place]:
    embedded = request.param == "embedded"
    server = request.getfixturevalue("embedded_servers" if embedded else "redis_server")
    with asyncio.Runner() as runner:
        store = RedisStore(server.redis_url if embedded else server.url)
        place = Place(runner, store)
        place.empty()
        yield place
        place.empty()
        runner.run(store.close())


def reference(events: list[Json]) -> dict[Key, Any]:
    look = known(events)
    return {key: plain(look(key)) for key in KEYS}


records = st.one_of(
    st.builds(
        lambda name, domains, at: account(name, *domains, at=at, name=name),
        st.sampled_from(NAMES),
        st.lists(st.sampled_from([f"{name}.com" for name in NAMES]), unique=True),
        st.sampled_from(DAYS),
    ),
    st.builds(
        lambda name, where, mail, at: contact(name, where, at=at, email=f"{mail}@x.com"),
        *(st.sampled_from(NAMES) for _ in range(3)),
        st.sampled_from(DAYS),
    ),
    st.builds(
        lambda name, whom, at: identify(name, at=at, contact_id=whom),
        *(st.sampled_from(NAMES) for _ in range(2)),
        st.sampled_from(DAYS),
    ),
    st.builds(
        lambda name, at: gone(account(name), at), st.sampled_from(NAMES), st.sampled_from(DAYS)
    ),
    st.builds(
        lambda name, where, at: gone(contact(name, where), at),
        *(st.sampled_from(NAMES) for _ in range(2)),
        st.sampled_from(DAYS),
    ),
)
slow = settings(
    max_examples=60,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)


@slow
@given(events=st.lists(records, max_size=12), size=st.integers(1, 5))
def test_directory_holds_what_a_naive_one_holds(
    place: Place, events: list[Json], size: int
) -> None:
    place.empty()
    everything = told(events)
    for start in range(0, len(everything), size):
        place.run(place.directory.tell(everything[start : start + size]))

    assert place.read() == reference(events)


@slow
@given(events=st.lists(records, max_size=10))
def test_telling_all_once_more_changes_nothing(place: Place, events: list[Json]) -> None:
    place.empty()
    everything = told(events)
    place.run(place.directory.tell(everything))
    before = place.read()

    place.run(place.directory.tell(everything))

    assert place.read() == before


def test_batch_tells_what_its_records_tell_one_by_one(place: Place) -> None:
    events = [
        contact("b", "here", at=DAYS[0]),
        gone(contact("b", "elsewhere"), DAYS[1]),
        gone(contact("b", "here"), DAYS[0]),
    ]
    place.run(place.directory.tell(told(events[:1])))

    place.run(place.directory.tell(told(events[1:])))

    found = place.read()[Kind.CONTACT, "b"]
    assert (found.account_id, found.removed) == ("here", True)


def test_several_writers_of_one_contact_leave_no_trace_of_the_older(place: Place) -> None:
    versions = [
        told([contact("a", NAMES[day % 2], at=DAYS[day], email=f"{NAMES[day % 2]}@x.com")])
        for day in range(4)
    ]

    async def all_at_once() -> None:
        await asyncio.gather(*(place.directory.tell(each) for each in versions * 5))

    place.run(all_at_once())

    found = place.read()
    assert found[Kind.CONTACT, "a"].account_id == "b"
    assert (found[Kind.EMAIL, "a@x.com"], found[Kind.EMAIL, "b@x.com"]) == ([], ["a"])
    assert (found[Kind.SIZE, "a"], found[Kind.SIZE, "b"]) == (0, 1)


def test_forgotten_entry_leaves_nothing_behind(place: Place) -> None:
    place.run(place.directory.tell(told([contact("a", "a", email="a@x.com")])))

    place.run(place.directory.forget([(Kind.CONTACT, "a")]))

    assert place.read() == reference([])
    assert place.run(place.directory.contacts_of("a")) == []


def test_progress_is_kept_for_each_partition(place: Place) -> None:
    place.run(place.directory.advance({"accounts/0": 3, "contacts/1": 9}))
    place.run(place.directory.advance({"accounts/0": 5}))

    assert place.run(place.directory.progress()) == {"accounts/0": 5, "contacts/1": 9}


def test_people_of_an_account_are_listed(place: Place) -> None:
    people = [contact("b", "a", at=DAYS[0]), contact("a", "a", at=DAYS[1])]

    place.run(place.directory.tell(told(people)))

    assert place.run(place.directory.contacts_of("a")) == ["b", "a"]
