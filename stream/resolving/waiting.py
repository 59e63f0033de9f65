"""Events that wait in Redis for their account: their keys, and what is done with them.

    sl:directory:event:<digest>          the event
    sl:directory:waits:<kind>:<name>     sorted set by event time: digests of those that what is
                                         told of this key may find an account for
    sl:directory:waiting                 sorted set by event time: all that wait
    sl:directory:decided:<digest>        the account that an event is being given

A digest is that of (source, id), so an event waits once, however often it comes. Every command
touches one key. What breaks off half-way leaves digests without an event at most, which whoever
meets them takes out.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any, Final

import msgspec

from scoring.directory import Key, Kind
from stream.directory import PREFIX
from stream.state_store import RedisStore

ALL: Final = f"{PREFIX}waiting"
AT_ONCE: Final = 1_000

_encode = msgspec.msgpack.Encoder().encode


class WaitingEvent(msgspec.Struct, array_like=True, frozen=True):
    """One event without an account."""

    topic: str
    """Where it came from and goes to, without the prefix."""
    value: bytes
    time: float
    """Event time, Unix seconds."""
    keys: list[tuple[str, str]]
    """(kind, name) of everything that it waits under."""

    @property
    def ways(self) -> list[Key]:
        """Return what it waits under."""
        return [(Kind(kind), name) for kind, name in self.keys]


_decode = msgspec.msgpack.Decoder(WaitingEvent).decode


def _event_key(digest: int) -> str:
    return f"{PREFIX}event:{digest:016x}"


def _decided_key(digest: int) -> str:
    return f"{PREFIX}decided:{digest:016x}"


def _waits_key(kind: str, name: str) -> str:
    return f"{PREFIX}waits:{kind}:{name}"


def _member(digest: int) -> bytes:
    return digest.to_bytes(8, "big")


class Waiting:
    """The waiting events of one Surgeline; raises Unreachable as the *store* does."""

    def __init__(self, store: RedisStore) -> None:
        self._store = store

    async def add(self, events: Mapping[int, WaitingEvent]) -> None:
        """Let *events* (by digest) wait; those that do already wait under their new keys, too."""
        pipe = self._pipe()
        for digest, event in events.items():
            member = _member(digest)
            pipe.set(_event_key(digest), _encode(event))
            pipe.zadd(ALL, {member: event.time})
            for kind, name in event.keys:
                pipe.zadd(_waits_key(kind, name), {member: event.time})
        await self._store.ask(pipe.execute())

    async def under(self, keys: Iterable[Key]) -> dict[int, set[Key]]:
        """Return digest -> those of *keys* that it waits under."""
        wanted = list(keys)
        pipe = self._pipe()
        for kind, name in wanted:
            pipe.zrange(_waits_key(kind.value, name), 0, -1)
        found: dict[int, set[Key]] = {}
        for key, members in zip(wanted, await self._store.ask(pipe.execute()), strict=True):
            for member in members:
                found.setdefault(int.from_bytes(member, "big"), set()).add(key)
        return found

    async def read(self, digests: Sequence[int]) -> dict[int, WaitingEvent]:
        """Return those of *digests* that still wait."""
        pipe = self._pipe()
        for digest in digests:
            pipe.get(_event_key(digest))
        found = await self._store.ask(pipe.execute())
        return {d: _decode(raw) for d, raw in zip(digests, found, strict=True) if raw is not None}

    async def decide(self, decisions: Mapping[int, bytes]) -> dict[int, bytes]:
        """Return what is decided of each event: what is given here, or what somebody did before."""
        pipe = self._pipe()
        for digest, decision in decisions.items():
            pipe.set(_decided_key(digest), decision, nx=True, get=True)
        earlier = await self._store.ask(pipe.execute())
        pairs = zip(decisions.items(), earlier, strict=True)
        return {digest: ours if theirs is None else theirs for (digest, ours), theirs in pairs}

    async def remove(self, events: Mapping[int, WaitingEvent]) -> None:
        """Let *events* wait no longer."""
        pipe = self._pipe()
        for digest, event in events.items():
            for kind, name in event.keys:
                pipe.zrem(_waits_key(kind, name), _member(digest))
            pipe.zrem(ALL, _member(digest))
            pipe.unlink(_event_key(digest))
            pipe.unlink(_decided_key(digest))
        await self._store.ask(pipe.execute())

    async def clear(self, gone: Mapping[int, Collection[Key]]) -> None:
        """Take digests out from under keys where no event is."""
        pipe = self._pipe()
        for digest, keys in gone.items():
            pipe.zrem(ALL, _member(digest))
            for kind, name in keys:
                pipe.zrem(_waits_key(kind.value, name), _member(digest))
        await self._store.ask(pipe.execute())

    async def count(self) -> int:
        """Return how many events wait."""
        found: int = await self._store.ask(self._store.client.zcard(ALL))
        return found

    async def older(self, than: float) -> list[int]:
        """Return digests of events from before *than* (Unix seconds), some at a time."""
        call = self._store.client.zrangebyscore(ALL, "-inf", f"({than!r}", start=0, num=AT_ONCE)
        return _digests(await self._store.ask(call))

    async def oldest(self, number: int) -> list[int]:
        """Return digests of the *number* oldest events, some at a time."""
        last = min(number, AT_ONCE) - 1
        return _digests(await self._store.ask(self._store.client.zrange(ALL, 0, last)))

    def _pipe(self) -> Any:
        return self._store.client.pipeline(transaction=False)


def _digests(members: Any) -> list[int]:
    return [int.from_bytes(each, "big") for each in members]
