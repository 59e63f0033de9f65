"""The directory in Redis: its keys, read and changed in batches.

    sl:directory:{d<part>}:<kind>:<bucket>     hash of account, contact, visitor (id -> entry), email,
                                               domain and name (what is looked for -> ids); buckets
                                               keep them compact
    sl:directory:{d<part>}:people:<account>    sorted set of its contacts by the time of their record
    sl:directory:progress                      hash: topic/partition -> next offset not in it

One call of a script goes to one part, so that the directory works on a Redis Cluster, spread over
it. Several writers may be at work: an entry changes only from what its change was worked out from,
and what it is found by is written before it and taken out only where the entry says otherwise.
Who breaks off between the two begins again at ``progress`` and ends up with the same.
"""

import hashlib
import importlib.resources
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any, Final

import msgspec
import redis.exceptions
from xxhash import xxh3_64_intdigest

from scoring.directory import (
    ENTRIES,
    Entry,
    Key,
    Kind,
    Listed,
    Told,
    after,
    listed,
)
from stream.errors import SurgelineError, cause
from stream.state_store import RedisStore

PREFIX: Final = "sl:directory:"
PROGRESS: Final = f"{PREFIX}progress"
BUCKETS: Final = {
    Kind.ACCOUNT: 4_096,
    Kind.DOMAIN: 4_096,
    Kind.NAME: 4_096,
    Kind.CONTACT: 16_384,
    Kind.EMAIL: 16_384,
    Kind.VISITOR: 16_384,
}
"""Hashes of each kind. Of a million contacts one holds about 60, which Redis keeps compact."""
PARTS: Final = 16
"""Parts of the directory; keys of one lie together on a Redis Cluster."""
AT_ONCE: Final = 4_000
"""Keys that are read at once: some hundreds in each call, milliseconds of Redis' time."""

_encode = msgspec.json.Encoder().encode
_decoders: Final = {kind: msgspec.json.Decoder(type_).decode for kind, type_ in ENTRIES.items()}
_decode_ids = msgspec.json.Decoder(list[str]).decode
_pack = msgspec.msgpack.Encoder().encode
_unpack = msgspec.msgpack.Decoder(list[Any]).decode

Step = list[Any]
"""What the script is to do; see there."""


def _part(digest: int) -> str:
    return f"{PREFIX}{{d{digest % PARTS:x}}}"


def _digest(name: str) -> int:
    return xxh3_64_intdigest(name.encode("utf-8", "surrogatepass"))


def people_key(account_id: str) -> str:
    """Return the key of the known contacts of an account."""
    return f"{_part(_digest(account_id))}:people:{account_id}"


def hash_key(key: Key) -> str:
    """Return the key of the hash that holds *key*, for every kind but SIZE."""
    kind, name = key
    bucket = _digest(name) % BUCKETS[kind]
    return f"{_part(bucket)}:{kind.value}:{bucket:x}"


def part_of(redis_key: str) -> str:
    """Return the part of a key of the directory, which is what its calls are grouped by.

    >>> part_of("sl:directory:{d3}:people:acme")
    'sl:directory:{d3}'
    """
    return redis_key[: redis_key.index("}") + 1]


class Directory:
    """Accounts, contacts, visitors and what they are found by.

    Raises Unreachable as the *store* does.
    """

    def __init__(self, store: RedisStore) -> None:
        self._store = store
        self._script = (importlib.resources.files("stream") / "directory.lua").read_text("utf-8")
        self._sha = hashlib.sha1(self._script.encode()).hexdigest()  # noqa: S324  # Redis' own name

    async def read(self, keys: Collection[Key]) -> dict[Key, Any]:
        """Return what is held under *keys*: an entry or None, a list of ids, or a number."""
        found: dict[Key, Any] = {}
        wanted = list(keys)
        for start in range(0, len(wanted), AT_ONCE):
            part = wanted[start : start + AT_ONCE]
            steps = [
                ["size", people_key(key[1])]
                if key[0] is Kind.SIZE
                else ["get", hash_key(key), key[1]]
                for key in part
            ]
            answers = await self._do(steps)
            found |= {k: _value(k, answer) for k, answer in zip(part, answers, strict=True)}
        return found

    async def contacts_of(self, account_id: str) -> list[str]:
        """Return the ids of the known contacts of an account, the oldest record first."""
        call = self._store.client.zrange(people_key(account_id), 0, -1)
        found: Any = await self._store.ask(call)
        return [each.decode() for each in found]

    async def tell(self, told: Sequence[Told]) -> None:
        """Take over what was *told*, in this order; older than what is known changes nothing."""
        left: dict[Key, list[Entry]] = {}
        for key, entry in told:
            left.setdefault(key, []).append(entry)
        await self._change(left)

    async def forget(self, keys: Collection[Key]) -> None:
        """Remove the entries under *keys* and whatever they are found by."""
        await self._change(dict.fromkeys(keys))

    async def _change(self, left: Mapping[Key, Sequence[Entry] | None]) -> None:
        """Tell each key its entries one after the other, None to take it out, until all is done."""
        touched: dict[Key, frozenset[Listed]] = {key: frozenset() for key in left}
        while left:
            left = await self._changed_once(left, touched)

    async def _changed_once(
        self,
        new: Mapping[Key, Sequence[Entry] | None],
        touched: dict[Key, frozenset[Listed]],
    ) -> dict[Key, Sequence[Entry] | None]:
        """Try to change what is held; return what is left of *new*: somebody else was at it."""
        held = await self._held(new)
        changing: dict[Key, Entry | None] = {}
        adding: list[tuple[Listed, float]] = []
        removing: list[Listed] = []
        for key, entries in new.items():
            old = _entry(key, held[key])
            stays = None if entries is None else after(old, entries)
            if stays is old and entries is not None and not touched[key]:
                continue
            # What was touched in vain is put right, and swapped for itself: nobody was at it then.
            changing[key] = stays
            wanted, was = listed(key, stays), listed(key, old)
            adding += [(each, stays.recorded_at) for each in wanted] if stays is not None else []
            removing += (was | touched[key]) - wanted
            touched[key] |= wanted | was
        await self._index(adding, removing)
        swapped = await self._swap(changing, held)
        return {key: new[key] for key, done in swapped.items() if not done}

    async def _held(self, keys: Iterable[Key]) -> dict[Key, str]:
        """Return what is written under *keys*, "" where nothing is."""
        names = list(keys)
        answers = await self._do([["get", hash_key(key), key[1]] for key in names])
        return {key: answer or "" for key, answer in zip(names, answers, strict=True)}

    async def _index(
        self, adding: Iterable[tuple[Listed, float]], removing: Iterable[Listed]
    ) -> None:
        steps: list[Step] = []
        for (key, member), recorded_at in adding:
            if key[0] is Kind.SIZE:
                steps.append(["put", people_key(key[1]), member, recorded_at])
            else:
                steps.append(["list", hash_key(key), key[1], member, True])
        for key, member in removing:
            if key[0] is Kind.SIZE:
                steps.append(["take", people_key(key[1]), member])
            else:
                steps.append(["list", hash_key(key), key[1], member, False])
        await self._do(steps)

    async def _swap(
        self, changing: Mapping[Key, Entry | None], held: Mapping[Key, str]
    ) -> dict[Key, bool]:
        """Put the entries that are *changing*; return whether each was still as it was *held*."""
        written = {k: "" if e is None else _encode(e).decode() for k, e in changing.items()}
        steps = [["swap", hash_key(key), key[1], held[key], text] for key, text in written.items()]
        return dict(zip(written, await self._do(steps), strict=True))

    async def _do(self, steps: Sequence[Step]) -> list[Any]:
        """Return the answers to *steps*, of which those of one part are done in their order."""
        parts: dict[str, list[int]] = {}
        for number, step in enumerate(steps):
            parts.setdefault(part_of(step[1]), []).append(number)
        calls = {part: _pack([steps[n] for n in numbers]) for part, numbers in parts.items()}
        try:
            replies = await self._call(calls)
        except SurgelineError as error:
            if cause(error, redis.exceptions.NoScriptError) is None:
                raise
            await self._store.ask(self._store.client.script_load(self._script))
            replies = await self._call(calls)
        answers: list[Any] = [None] * len(steps)
        for numbers, reply in zip(parts.values(), replies, strict=True):
            for number, answer in zip(numbers, _unpack(reply), strict=True):
                answers[number] = answer
        return answers

    async def _call(self, calls: Mapping[str, bytes]) -> list[bytes]:
        if not calls:
            return []
        pipe = self._store.client.pipeline(transaction=False)
        for part, steps in calls.items():
            pipe.evalsha(self._sha, 1, part, steps)
        replies: list[bytes] = await self._store.ask(pipe.execute())
        return replies

    async def progress(self) -> dict[str, int]:
        """Return ``topic/partition`` -> the next offset that is not in the directory."""
        found: Any = await self._store.ask(self._store.client.hgetall(PROGRESS))
        return {at.decode(): int(offset) for at, offset in found.items()}

    async def advance(self, offsets: Mapping[str, int]) -> None:
        """Note how far the topics are taken over; call it after what it says is true."""
        if offsets:
            mapping: Any = dict(offsets)
            await self._store.ask(self._store.client.hset(PROGRESS, mapping=mapping))


def _entry(key: Key, held: str) -> Entry | None:
    return _decoders[key[0]](held) if held else None


def _value(key: Key, answer: Any) -> Any:
    kind = key[0]
    if kind is Kind.SIZE:
        return answer
    if kind in ENTRIES:
        return _entry(key, answer or "")
    return _decode_ids(answer) if answer else []
