"""Searching: every key of Surgeline that names a person, in its name or in what it holds."""

import re
from collections.abc import AsyncIterator, Callable, Iterable
from typing import Final, NamedTuple

from scoring.account import AccountState, decode_state
from scoring.digests import digest_of
from scoring.gateway import person_of
from scoring.gifts import decode_gift
from stream.backup_file import HashRecord, ListRecord, Record, StringRecord
from stream.backup_values import read_records
from stream.fact_logs import people_in
from stream.people.naming import Person
from stream.state_store import ERASED, FACT_LOGS, OURS, RedisStore

_OF_SHARD: Final = re.compile(rb"sl:\{[0-9]+\}:([a-z]+)(?::(.*))?", re.DOTALL)
_OF_DIRECTORY: Final = re.compile(rb"sl:directory:(?:\{[^}]*\}:)?([a-z]+)")
_PEOPLE_IN: Final = frozenset({"state", "outbox"})
"""Families of a shard's keys that name people; of others, numbers and account ids look alike."""

Holds = Callable[[bytes], bool]


class Hit(NamedTuple):
    """One key that names a person, or a part of a large one."""

    key: bytes
    family: str
    """Of a shard's key ``state``, ``touches`` and so on; of the directory's ``directory:contact``
    and so on; else empty."""
    account_id: str | None
    """Whose key it is."""
    kind: str
    """``string``, ``hash``, ``list`` or ``zset``."""
    parts: list[bytes]
    """Fields of a hash, elements or members that do; none of a string."""


async def search(store: RedisStore, person: Person) -> AsyncIterator[Hit]:
    """Yield what names *person* among all keys of Surgeline; a key may come twice."""
    async for keys in store.keys(OURS):
        wanted = [key for key in keys if key != ERASED.encode()]
        async for record in read_records(store, wanted):
            hit = _hit(record, person)
            if hit is not None:
                yield hit


def _hit(record: Record, person: Person) -> Hit | None:
    family, account_id = _whose(record.key)
    if family in FACT_LOGS:
        assert isinstance(record, StringRecord)
        known = any(who in person.hashes for who in people_in(record.value))
        return Hit(record.key, family, account_id, "string", []) if known else None
    if family == "state":
        assert isinstance(record, StringRecord)
        found = _state_names(decode_state(record.value), person) or person.plainly_in(record.value)
        return Hit(record.key, family, account_id, "string", []) if found else None
    # Elsewhere a bare number or an account's id looks like a person's.
    of_shard = _OF_SHARD.match(record.key) is not None
    strict = of_shard and family not in _PEOPLE_IN
    kind, named, parts = _contents(record, person.plainly_in if strict else person.names)
    last = record.key.rpartition(b":")[2]
    in_key = not of_shard and (person.plainly_in(record.key) or person.is_name(last))
    return Hit(record.key, family, account_id, kind, parts) if named or in_key else None


def _whose(key: bytes) -> tuple[str, str | None]:
    match = _OF_SHARD.fullmatch(key)
    if match is None:
        match = _OF_DIRECTORY.match(key)
        return "" if match is None else f"directory:{match[1].decode()}", None
    rest = match[2]
    return match[1].decode(), None if rest is None else rest.decode("utf-8", "surrogatepass")


def _contents(record: Record, holds: Holds) -> tuple[str, bool, list[bytes]]:
    """Return what *record* is, whether it names the person, and where."""
    if isinstance(record, StringRecord):
        return "string", holds(record.value), []
    if isinstance(record, HashRecord):
        pairs = zip(record.fields[::2], record.fields[1::2], strict=True)
        parts = [field for field, value in pairs if holds(field) or holds(value)]
        return "hash", bool(parts), parts
    elements: Iterable[bytes]
    if isinstance(record, ListRecord):
        kind, elements = "list", record.elements
    else:
        kind, elements = "zset", [member for member, _ in record.members]
    parts = [each for each in elements if holds(each)]
    return kind, bool(parts), parts


def _state_names(state: AccountState, person: Person) -> bool:
    """Tell whether *state*, or what it has given, holds one of the person's ids."""
    ids = person.contact_ids
    mailed = set(map(person_of, state.emails))
    if mailed & (ids | set(map(digest_of, person.emails))):
        return True
    if ids & state.contacts.keys() or any(touch.contact_id in ids for touch in state.touches):
        return True
    gifts = () if state.ledger is None else state.ledger.gifts.values()
    return any(_state_names(decode_gift(each).read_state(), person) for each in gifts)
