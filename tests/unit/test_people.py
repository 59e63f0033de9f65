"""What names a person, however it is encoded, and what only looks like it."""

import asyncio
import json
from typing import Any

import msgspec
import pytest

from scoring.digests import digest_of
from scoring.directory import ContactEntry, Kind, Told, VisitorEntry
from stream.people.naming import Person
from stream.resolving.people import Erased, departures

ANN = Person(["ann-lee"], ["Ann.Lee@acme.example"])


@pytest.mark.parametrize(
    "data",
    [
        b"ann-lee",
        b"ANN.lee@ACME.example",
        b'{"contact_id":"ann-lee"}',
        b"https://x.example/?m=ann.lee%40acme.example&x=1",
        b"sl:directory:waits:contact:ann-lee",
        msgspec.msgpack.encode([1.5, "ann-lee", None]),
        b"zz\xa7ann-leezz",
        b"seen by ann-lee.",
    ],
)
def test_name_is_found_in_text_addresses_and_packed_values(data: bytes) -> None:
    assert ANN.named_in(data)


@pytest.mark.parametrize(
    "data", [b"joann-lee", b"ann-lee-2", b"ann.lee@acme.example.org", b"xann.lee@acme.example"]
)
def test_longer_names_are_other_people(data: bytes) -> None:
    assert not ANN.named_in(data)


def test_name_with_letters_of_other_alphabets_is_found_as_json_writes_it() -> None:
    person = Person(["zoë müller"], [])

    assert person.named_in(json.dumps({"contact_id": "zoë müller"}).encode())
    assert person.named_in(json.dumps({"contact_id": "zoë müller"}, ensure_ascii=False).encode())


def test_number_is_a_name_only_where_it_stands_as_one() -> None:
    person = Person(["42"], [])

    assert person.names(b"42")
    assert person.named_in(b'"42"')
    assert not person.named_in(b"events 42")
    assert not person.plainly_in(b'"42"')


class InMemory:
    """The directory as far as departures ask it."""

    def __init__(self, **entries: ContactEntry) -> None:
        self._entries = entries

    async def read(self, keys: list[Any]) -> dict[Any, Any]:
        return {key: self._entries.get(key[1]) for key in keys}


def told_of(contact_id: str, *entries: ContactEntry) -> list[Told]:
    return [Told((Kind.CONTACT, contact_id), each) for each in entries]


def left(directory: InMemory, told: list[Told]) -> list[tuple[str, str, str]]:
    """Return (former account, account now, id) of what is told."""
    found = asyncio.run(departures(directory, told))  # type: ignore[arg-type]
    return [(e.account_id, e.event["moved_to"], e.event["id"]) for e in found if e.event]


OLD, NEW = ContactEntry(1.0, "old"), ContactEntry(2.0, "new")


def test_account_is_told_of_a_person_whose_newest_record_is_of_another_one() -> None:
    ((former, now, _),) = left(InMemory(ann=OLD), told_of("ann", NEW))

    assert (former, now) == ("old", "new")


def test_same_is_told_whichever_record_comes_first_and_whoever_had_it() -> None:
    found = [
        left(InMemory(ann=OLD), told_of("ann", NEW)),
        left(InMemory(ann=NEW), told_of("ann", OLD)),
        left(InMemory(), told_of("ann", OLD, NEW)),
        left(InMemory(), told_of("ann", NEW, OLD)),
    ]

    assert all(each == found[0] for each in found)


def test_person_who_was_removed_before_the_record_of_another_account_has_moved_too() -> None:
    gone = ContactEntry(1.5, "old", removed=True)

    assert left(InMemory(ann=gone), told_of("ann", NEW))[0][:2] == ("old", "new")


@pytest.mark.parametrize(
    "entry", [ContactEntry(2.0, "old"), ContactEntry(2.0, "old", removed=True)]
)
def test_nobody_is_told_of_a_person_who_stays_or_only_leaves(entry: ContactEntry) -> None:
    assert left(InMemory(ann=OLD), told_of("ann", entry)) == []


class Store:
    """A store that knows who was erased."""

    async def erased_people(self) -> dict[str, float]:
        return {digest_of("ann"): 5.0, digest_of("ann.lee@acme.example"): 5.0}


def test_directory_is_told_nothing_of_what_was_said_of_the_erased_before() -> None:
    erased = Erased(Store())  # type: ignore[arg-type]
    asyncio.run(erased.look())

    hidden = [
        Told((Kind.CONTACT, "ann"), ContactEntry(5.0, "acme")),
        Told((Kind.VISITOR, "v"), VisitorEntry(5.0, contact_id="ann")),
        Told((Kind.VISITOR, "v"), VisitorEntry(4.0, email="ann.lee@acme.example")),
    ]
    told = [
        Told((Kind.CONTACT, "ann"), ContactEntry(5.1, "acme")),
        Told((Kind.CONTACT, "bob"), ContactEntry(1.0, "acme", "bob@acme.example")),
        Told((Kind.VISITOR, "ann"), VisitorEntry(1.0, contact_id="bob")),
    ]
    assert [erased.hides(each) for each in hidden + told] == [True] * 3 + [False] * 3
    assert erased.hides_event({"email": "Ann.Lee@acme.example"}, 4.0)
    assert not erased.hides_event({"email": "Ann.Lee@acme.example"}, 6.0)
