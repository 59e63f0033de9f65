"""Erasing a person everywhere in Redis, and proving it.

The accounts' states are the workers': they erase when they read an event that says so, and this
waits until their commits have passed it. What lies beside is erased here: the directory, events
that wait for their account, the last touches. Then everything is looked at again.
"""

import asyncio
import secrets
import time
from collections import defaultdict
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, Final

import msgspec

from scoring.account import decode_state
from scoring.digests import digest_of
from scoring.directory import Key, Kind, plain_email
from scoring.report import newest_time, rfc3339
from stream.directory import Directory
from stream.errors import NotSettled
from stream.outputs import Message
from stream.people.naming import Person
from stream.people.renaming import rename_in_facts
from stream.people.searching import Hit, search
from stream.resolving.waiting import Waiting
from stream.routing import shard_of
from stream.state_store import FACT_LOGS, RedisStore

SOURCE: Final = "surgeline-forget"
CONTACTS: Final = "contacts"
ROUNDS: Final = 6
SCORED_SECONDS: Final = 60.0
POLL_SECONDS: Final = 0.1

Send = Callable[[list[Message]], Awaitable[list[tuple[int, int]]]]
"""Produces records; returns partition and offset of each."""


@dataclass(slots=True)
class Erasure:
    """What was done, and what is left."""

    person: Person
    accounts: set[str] = field(default_factory=set)
    """Accounts whose state knew the person."""
    entries: int = 0
    """What was erased beside the states."""
    left: list[str] = field(default_factory=list)
    """Keys that still name the person."""


async def who_is(store: RedisStore, name: str) -> Person:
    """Return the person of a contact id or an address, with what the directory knows of them."""
    directory, ids, emails = Directory(store), {name}, set[str]()
    if "@" in name:
        emails.add(name)
        known = await directory.read([(Kind.EMAIL, plain_email(name))])
        ids.update(*known.values())
        async for hit in search(store, Person([], [name])):  # people who were removed, too
            if hit.family == "directory:contact":
                ids.update(part.decode("utf-8", "surrogatepass") for part in hit.parts)
    entries = await directory.read([(Kind.CONTACT, each) for each in ids])
    emails.update(each.email for each in entries.values() if each is not None and each.email)
    return Person(ids, emails)


async def left_of(store: RedisStore, person: Person) -> list[str]:
    """Return the keys that name *person*, sorted."""
    found = {hit.key async for hit in search(store, person)}
    return sorted(key.decode("utf-8", "replace") for key in found)


class Eraser:
    """Erases people; *send* produces what workers are told."""

    def __init__(self, store: RedisStore, send: Send, *, partitions: int, clock: str) -> None:
        self._store = store
        self._send = send
        self._partitions = partitions
        self._clock = clock
        self._directory = Directory(store)
        self._waiting = Waiting(store)

    async def erase(self, person: Person) -> Erasure:
        """Erase *person* and look again until nothing is left, a few times at most.

        What is on its way between two accounts, or to Kafka, is met in the next round. Raises
        NotSettled when no worker reads what it is told.
        """
        done = Erasure(person)
        await self._note(person)
        for _ in range(ROUNDS):
            hits = [hit async for hit in search(self._store, person)]
            if not (hits or await self._employers(person)):
                break
            await self._erase_in_states(person, hits, done)
            await self._erase_beside(person, hits, done)
        done.left = await left_of(self._store, person)
        return done

    async def _note(self, person: Person) -> None:
        digests = [digest_of(each) for each in (*person.contact_ids, *person.emails)]
        await self._store.note_erased(digests, await self._now())

    async def _now(self) -> float:
        """Return the time of the clock in force, Unix seconds: the furthest shard's."""
        if self._clock == "wall":
            return time.time()
        fences = await self._store.fences(range(self._partitions))
        times = [fence.time for fence in fences.values() if fence.time is not None]
        return max(times, default=time.time())

    async def _erase_in_states(self, person: Person, hits: Iterable[Hit], done: Erasure) -> None:
        """Tell the workers of every account that knows the person, and wait for their commits."""
        accounts = {
            hit.account_id for hit in hits if hit.family == "state" and hit.account_id is not None
        }
        known = accounts | await self._employers(person)
        messages = [m for account_id in sorted(known) for m in await self._told(account_id, person)]
        if messages:
            done.accounts |= known
            await self._scored(await self._send(messages))

    async def _employers(self, person: Person) -> set[str]:
        keys: list[Key] = [(Kind.CONTACT, each) for each in person.contact_ids]
        entries = await self._directory.read(keys)
        return {each.account_id for each in entries.values() if each is not None}

    async def _told(self, account_id: str, person: Person) -> list[Message]:
        """Return the events that erase *person* in an account, at its newest event or later."""
        shard = shard_of(account_id, self._partitions)
        (data,) = await self._store.states(shard, [account_id])
        if data is None:
            return []
        state = decode_state(data)
        at = max(await self._now(), newest_time([state]) or 0.0, state.instant or 0.0)
        key = account_id.encode("utf-8", "surrogatepass")
        # An address goes into the topic only where the account knows somebody by it.
        known = {each for each in person.contact_ids if "@" not in each or each in state.contacts}
        ids = sorted({*known, *map(digest_of, person.emails)})
        return [
            Message(CONTACTS, key, msgspec.json.encode(erasure_of(account_id, each, at)), shard)
            for each in ids
        ]

    async def _scored(self, produced: Iterable[tuple[int, int]]) -> None:
        ends: dict[int, int] = defaultdict(int)
        for partition, offset in produced:
            ends[partition] = max(ends[partition], offset + 1)
        give_up_at = time.monotonic() + SCORED_SECONDS
        while True:
            fences = await self._store.fences(ends)
            if all(fences[p].offsets.get(CONTACTS, 0) >= end for p, end in ends.items()):
                return
            if time.monotonic() > give_up_at:
                raise NotSettled(
                    f"No worker has read the erasure after {SCORED_SECONDS:.0f} s: it stands in "
                    f"topic {CONTACTS} and is done when one runs. Then forget once more, for what "
                    "lies beside the scores."
                )
            await asyncio.sleep(POLL_SECONDS)

    async def _erase_beside(self, person: Person, hits: Iterable[Hit], done: Erasure) -> None:
        """Erase what no worker writes; what waits to be announced is gone in a moment."""
        keys: list[Key] = [(Kind.CONTACT, each) for each in person.contact_ids]
        for hit in hits:
            if hit.family == "directory:visitor":
                names = (each.decode("utf-8", "surrogatepass") for each in hit.parts)
                keys += [(Kind.VISITOR, each) for each in names]
            elif hit.family == "directory:event":
                digest = int(hit.key.rpartition(b":")[2], 16)
                await self._waiting.remove(await self._waiting.read([digest]))
        await self._directory.forget(keys)
        for hit in hits:
            if hit.family == "outbox":
                await asyncio.sleep(POLL_SECONDS)
            elif hit.family in FACT_LOGS:
                await rename_in_facts(self._store, hit.key, person.hashes)
            elif hit.family.startswith("directory:"):
                await self._take_out(hit)
            done.entries += 0 if hit.family in ("state", "outbox") else max(1, len(hit.parts))

    async def _take_out(self, hit: Hit) -> None:
        """Take out of a key what names the person, all of it where the key itself does."""
        client: Any = self._store.client
        if not hit.parts:
            await self._store.ask(client.unlink(hit.key))
        elif hit.kind == "hash":
            await self._store.ask(client.hdel(hit.key, *hit.parts))
        elif hit.kind == "zset":
            await self._store.ask(client.zrem(hit.key, *hit.parts))
        else:
            for part in hit.parts:
                await self._store.ask(client.lrem(hit.key, 0, part))


def erasure_of(account_id: str, contact_id: str, at: float) -> dict[str, Any]:
    """Return the event that erases a person in an account at *at* (Unix seconds)."""
    return {
        "id": secrets.token_hex(16),
        "source": SOURCE,
        "type": "contact",
        "action": "removed",
        "erase": True,
        "time": rfc3339(at),
        "account_id": account_id,
        "contact_id": contact_id,
    }
