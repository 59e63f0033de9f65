"""Values of Redis keys as records of a backup, read and written without changing a bit of them."""

from collections.abc import AsyncIterator, Iterable
from typing import Any, Final

from stream.backup_file import HashRecord, ListRecord, Record, SortedSetRecord, StringRecord
from stream.errors import SurgelineError
from stream.state_store import RedisStore

KEYS_AT_ONCE: Final = 100
MEMBERS_AT_ONCE: Final = 1_000
GONE: Final = b"none"
"""Type of a key that is not there (any more)."""


async def read_records(store: RedisStore, keys: list[bytes]) -> AsyncIterator[Record]:
    """Yield what *keys* hold, each key's records one after the other, in bounded pieces.

    Keys that are gone are left out. Raises SurgelineError for a type that Surgeline never writes.
    """
    for start in range(0, len(keys), KEYS_AT_ONCE):
        lives = await _lives(store, keys[start : start + KEYS_AT_ONCE])
        pipe = store.client.pipeline(transaction=False)
        for key, kind, _ in lives:
            _ask_first(pipe, key, kind)
        for (key, kind, ttl_ms), answer in zip(lives, await store.ask(pipe.execute()), strict=True):
            if kind == b"string":
                if answer is not None:
                    yield StringRecord(key, ttl_ms, answer)
                continue
            if kind == b"list":  # of a few elements: the commit script keeps them short
                yield ListRecord(key, ttl_ms, answer)
                continue
            cursor, part = answer
            yield _part(key, kind, ttl_ms, part)
            while cursor:
                cursor, part = await store.ask(_further(store, key, kind, cursor))
                yield _part(key, kind, ttl_ms, part)


async def write_records(store: RedisStore, records: Iterable[Record]) -> None:
    """Add *records* to the keys that they name, in one trip to Redis."""
    pipe = store.client.pipeline(transaction=False)
    for record in records:
        if isinstance(record, StringRecord):
            pipe.set(record.key, record.value)
        elif isinstance(record, HashRecord):
            if record.fields:
                pipe.execute_command("HSET", record.key, *record.fields)
        elif isinstance(record, ListRecord):
            if record.elements:
                pipe.execute_command("RPUSH", record.key, *record.elements)
        elif record.members:
            # repr() of a double reads back as that double, also of -0.0.
            flat = [part for member, score in record.members for part in (repr(score), member)]
            pipe.execute_command("ZADD", record.key, *flat)
        if record.ttl_ms is not None:
            pipe.pexpire(record.key, record.ttl_ms)
    await store.ask(pipe.execute())


def size_of(record: Record) -> int:
    """Return about how many bytes *record* takes on its way to Redis."""
    if isinstance(record, StringRecord):
        return len(record.key) + len(record.value)
    if isinstance(record, HashRecord | ListRecord):
        parts = record.fields if isinstance(record, HashRecord) else record.elements
        return len(record.key) + sum(map(len, parts))
    return len(record.key) + sum(len(member) + 24 for member, _ in record.members)


async def _lives(store: RedisStore, keys: list[bytes]) -> list[tuple[bytes, bytes, int | None]]:
    """Return (key, type, milliseconds left or None) of those of *keys* that are there."""
    pipe = store.client.pipeline(transaction=False)
    for key in keys:
        pipe.type(key)
        pipe.pttl(key)
    found = await store.ask(pipe.execute())
    return [
        (key, kind, ttl_ms if ttl_ms >= 0 else None)
        for key, kind, ttl_ms in zip(keys, found[::2], found[1::2], strict=True)
        if kind != GONE
    ]


def _ask_first(pipe: Any, key: bytes, kind: bytes) -> None:
    if kind == b"string":
        pipe.get(key)
    elif kind == b"list":
        pipe.lrange(key, 0, -1)
    elif kind == b"hash":
        pipe.hscan(key, 0, count=MEMBERS_AT_ONCE)
    elif kind == b"zset":
        pipe.zscan(key, 0, count=MEMBERS_AT_ONCE)
    else:
        raise SurgelineError(
            f"Key {key!r} is a {kind.decode()}, which no Surgeline writes: something else uses "
            "this Redis under the same names."
        )


async def _further(store: RedisStore, key: bytes, kind: bytes, cursor: int) -> Any:
    if kind == b"hash":
        return await store.client.hscan(key, cursor, count=MEMBERS_AT_ONCE)
    return await store.client.zscan(key, cursor, count=MEMBERS_AT_ONCE)


def _part(key: bytes, kind: bytes, ttl_ms: int | None, part: Any) -> Record:
    if kind == b"hash":
        return HashRecord(key, ttl_ms, [each for pair in part.items() for each in pair])
    return SortedSetRecord(key, ttl_ms, [(member, float(score)) for member, score in part])
