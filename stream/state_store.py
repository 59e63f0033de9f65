"""The state store: every Redis key of Surgeline, and the two scripts that write them.

Keys of a shard carry the Redis Cluster hash tag ``{shard}``, so that one commit is atomic on
a cluster too. Nothing but the commit script writes scores, and it writes them together with
the fence: the next offset of each topic that the scores contain.
"""

import importlib.resources
from collections.abc import AsyncIterator, Awaitable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, Final, Protocol, TypeVar

import msgspec
import redis.asyncio
import redis.exceptions
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from scoring.history import DayScores
from scoring.kpis.facts import Names, name_bytes, names_of
from stream.errors import RefusedStart, SurgelineError, Unreachable, said
from stream.fact_logs import MOST_NAMES, MOST_SPEND, FactWrite
from stream.past import DayWrite, unpack_days

FORMAT: Final = 4
"""Version of what is stored under all keys, recorded in ``sl:meta``."""

EARLIER_FORMATS: Final = frozenset({1, 2, 3})
"""Versions that are read too; what is written is of ``FORMAT``."""

FACTS_FORMAT: Final = 4
"""The first version that remembers facts."""

META: Final = "sl:meta"
OURS: Final = "sl:*"
FACT_LOGS: Final = ("facts", "records")
"""Families of the logs of an account, see `stream.fact_logs`."""
ERASED: Final = "sl:erased"
"""Hash: digest of an erased person's id or address -> event time of the erasure. It outlives all
else, so that reading Kafka's log again brings nobody back."""
ANY_SHARD: Final = "sl:{*}:"
SEEN_SECONDS: Final = 14 * 7 * 86_400
"""Event ids outlive the 13 weeks for which topics keep records, so a replay meets them."""

OLDEST_REDIS: Final = (7, 0)
SOCKET_SECONDS: Final = 10.0
SCAN_COUNT: Final = 2_000
BOARDS: Final = ("engagement", "intent_surge", "relationship")

_PASSING: Final = (
    redis.exceptions.OutOfMemoryError,
    redis.exceptions.ReadOnlyError,
    redis.exceptions.TryAgainError,
    redis.exceptions.ClusterDownError,
    redis.exceptions.MasterDownError,
)
_PASSING_CODES: Final = ("MISCONF", "LOADING", "BUSY", "NOREPLICAS")
"""Error replies of a server that will serve again once somebody has seen to it; redis-py has
classes for some, and takes their code off the text."""

T = TypeVar("T")


def shard_prefix(shard: int) -> str:
    """Return the prefix of all keys of *shard*.

    >>> shard_prefix(3)
    'sl:{3}:'
    """
    return f"sl:{{{shard}}}:"


def readable_format(recorded: str | int) -> bool:
    """Tell whether this version reads what ``sl:meta`` says is stored.

    >>> readable_format("2"), readable_format("99")
    (True, False)
    """
    return str(recorded) in {str(each) for each in (FORMAT, *EARLIER_FORMATS)}


def state_key(shard: int, account_id: str) -> str:
    """Return the key of the stored state of an account."""
    return f"{shard_prefix(shard)}state:{account_id}"


def account_key(shard: int, account_id: str) -> str:
    """Return the key of the hash of an account that people and programs read."""
    return f"{shard_prefix(shard)}account:{account_id}"


def fact_key(shard: int, account_id: str, log: str) -> str:
    """Return the key of one of an account's FACT_LOGS."""
    return f"{shard_prefix(shard)}{log}:{account_id}"


def seen_suffix(type_: str, day: int) -> str:
    """Return the end of the key under which a day's event ids of one type are kept."""
    return f"{type_}:{day}"


class Answer(Enum):
    """What the commit script says."""

    APPLIED = "applied"
    ALREADY = "already"
    """Applied before under the same commit id: only the reply was lost."""
    REFUSED_OWNER = "owner"
    """Another worker claimed the shard."""
    REFUSED_SEQUENCE = "sequence"
    """Redis is ahead or went back in time."""
    REFUSED_OFFSETS = "offsets"
    """What is stored is not what the batch was folded from."""


@dataclass(frozen=True, slots=True)
class Fence:
    """Where a shard stands in Redis."""

    seq: int
    offsets: Mapping[str, int]
    """Topic -> next offset; topics never committed are absent."""
    time: float | None = None
    """The shard's clock at the last commit (event clock), Unix seconds."""


@dataclass(slots=True)
class AccountWrite:
    """What one commit writes of one account."""

    account_id: str
    fields: list[str]
    """Field, value, field, value, ... of the hash."""
    state: bytes
    scores: tuple[float | None, float | None, float | None]
    """Leaderboard values in the order of BOARDS; None takes the account off the board."""
    due: float | None = None
    bucket: str = ""
    """``tier|stage`` of target accounts."""
    surging: bool = False
    moves: list[str] = field(default_factory=list)
    fresh: list[tuple[str, bytes]] = field(default_factory=list)
    """Seen suffix and the 8-byte hashes to append."""
    dropped: list[str] = field(default_factory=list)
    """Seen suffixes that no event is looked up under any more."""
    days: list[DayWrite] = field(default_factory=list)
    """Scores of days that ended."""
    facts: FactWrite = field(default_factory=FactWrite)
    names: Names = field(default_factory=dict)
    """Texts behind the hashes in ``facts``."""


@dataclass(slots=True)
class Commit:
    """One atomic write of a shard."""

    shard: int
    owner: str
    expected_seq: int
    commit_id: str
    offsets: list[tuple[str, int | None, int]]
    """(topic, next offset folded from, next offset folded to)."""
    accounts: list[AccountWrite] = field(default_factory=list)
    time: float | None = None
    announcement: bytes | None = None
    names: Names = field(default_factory=dict)
    """Hash -> text, of those that the shard may not know yet."""
    spend: list[tuple[float, bytes]] = field(default_factory=list)
    """(event time, what is kept); a repeat is kept once."""


class StateStore(Protocol):
    """What a worker needs of Redis; the tests' in-memory fake keeps the same contract."""

    async def claim(self, shard: int, owner: str) -> Fence:
        """Make *owner* the only one whose commits *shard* takes; return its fence."""

    async def commit(self, commit: Commit) -> Answer:
        """Apply *commit* wholly or not at all."""

    async def states(self, shard: int, account_ids: Sequence[str]) -> list[bytes | None]:
        """Return the stored states, None for unknown accounts."""

    async def seen(self, shard: int, keys: Sequence[tuple[str, str]]) -> list[bytes]:
        """Return the hashes kept under (account id, seen suffix) pairs, empty when none."""

    async def due(self, shard: int, now: float, limit: int) -> list[str]:
        """Return up to *limit* accounts whose due instant is not after *now*, earliest first."""

    async def outbox(self, shard: int) -> dict[int, bytes]:
        """Return what was committed and is not yet announced, by sequence number."""

    async def announced(self, shard: int, seqs: Sequence[int]) -> int:
        """Remove announced entries from the outbox; return how many of them were still there."""

    async def look_again(self, shard: int, account_ids: Sequence[str]) -> None:
        """Make those of *account_ids* that are stored due, so that their owner announces them."""

    async def fences(self, shards: Iterable[int]) -> dict[int, Fence]:
        """Return the fence of each of *shards*."""

    async def meta(self) -> dict[str, str]:
        """Return ``sl:meta``, empty when nothing was ever stored."""


class RedisStore:
    """The state store on a real Redis 7 or newer.

    Every method raises Unreachable while Redis is away, full, read-only or loading. *access* is
    what lets us in, beside the URL; `stream.redis_access.open_store` takes it from the settings.
    """

    def __init__(self, url: str, access: Mapping[str, Any] | None = None) -> None:
        # Retrying is the caller's business: it knows what waiting costs.
        self._redis = redis.asyncio.Redis.from_url(
            url,
            socket_timeout=SOCKET_SECONDS,
            socket_connect_timeout=SOCKET_SECONDS,
            # But for one: connections that an outage broke show it at their next use only.
            retry=Retry(NoBackoff(), 1, supported_errors=(redis.exceptions.ConnectionError,)),
            health_check_interval=0,
            **(access or {}),
        )
        self._commit = self._redis.register_script(_script("commit.lua"))
        self._claim = self._redis.register_script(_script("claim.lua"))
        self._look_again = self._redis.register_script(_script("look_again.lua"))
        self._encode = msgspec.msgpack.Encoder().encode

    async def close(self) -> None:
        """Close all connections."""
        await self._redis.aclose()

    @property
    def client(self) -> redis.asyncio.Redis:
        """Return the client, for the modules that copy and examine what is stored."""
        return self._redis

    async def ask(self, call: Awaitable[T]) -> T:
        """Await a *call* of the client; raises what every method of the store does."""
        answer: T = await _answered(call)
        return answer

    async def check_server(self) -> None:
        """Raise RefusedStart unless the server is Redis 7 or newer (or Valkey)."""
        info = await _answered(self._redis.info("server"))
        version = str(info.get("redis_version", "0"))
        if tuple(int(part) for part in version.split(".")[:2]) < OLDEST_REDIS:
            raise RefusedStart(
                f"Redis {version} is too old: Surgeline needs Redis 7 or newer, or Valkey."
            )

    async def claim(self, shard: int, owner: str) -> Fence:
        """See StateStore.claim."""
        flat = await _answered(self._claim(keys=[f"{shard_prefix(shard)}fence"], args=[owner]))
        return _fence(dict(zip(flat[::2], flat[1::2], strict=True)))

    async def commit(self, commit: Commit) -> Answer:
        """See StateStore.commit."""
        prefix = shard_prefix(commit.shard)
        keys = [f"{prefix}{name}" for name in _SHARD_KEYS]
        blob, binaries = _packed(commit, prefix)
        args: list[Any] = [
            commit.owner,
            commit.expected_seq,
            commit.commit_id,
            self._encode(blob),
            *binaries,
        ]
        reply = await _answered(self._commit(keys=keys, args=args))
        words = [part.decode() for part in reply]
        return Answer(words[1] if words[0] == "refused" else words[0])

    async def states(self, shard: int, account_ids: Sequence[str]) -> list[bytes | None]:
        """See StateStore.states."""
        if not account_ids:
            return []
        keys = [state_key(shard, each) for each in account_ids]
        found: list[bytes | None] = await _answered(self._redis.mget(keys))
        return found

    async def seen(self, shard: int, keys: Sequence[tuple[str, str]]) -> list[bytes]:
        """See StateStore.seen."""
        if not keys:
            return []
        prefix = f"{shard_prefix(shard)}seen:"
        found = await _answered(self._redis.mget([f"{prefix}{a}:{suffix}" for a, suffix in keys]))
        return [each or b"" for each in found]

    async def history(self, shard: int, account_ids: Sequence[str]) -> list[list[DayScores]]:
        """Return the scores of days that ended, oldest first; none for unknown accounts."""
        if not account_ids:
            return []
        keys = [f"{shard_prefix(shard)}history:{each}" for each in account_ids]
        return [unpack_days(ring or b"") for ring in await _answered(self._redis.mget(keys))]

    async def facts(self, shard: int, account_ids: Sequence[str]) -> list[tuple[bytes, bytes]]:
        """Return (events, records) of each of *account_ids*: its logs of facts, empty if none."""
        if not account_ids:
            return []
        keys = [fact_key(shard, each, log) for each in account_ids for log in FACT_LOGS]
        found = [log or b"" for log in await _answered(self._redis.mget(keys))]
        return list(zip(found[::2], found[1::2], strict=True))

    async def names(self, shard: int, numbers: Iterable[int] | None = None) -> Names:
        """Return the texts behind the hashes in the shard's facts, all or those of *numbers*."""
        key = f"{shard_prefix(shard)}names"
        if numbers is None:
            return names_of(await _answered(self._redis.hgetall(key)))
        wanted = [each.to_bytes(8, "little") for each in numbers]
        found = await _answered(self._redis.hmget(key, wanted)) if wanted else []
        pairs = zip(wanted, found, strict=True)
        return names_of({number: text for number, text in pairs if text is not None})

    async def spend(self, shard: int) -> list[tuple[float, bytes]]:
        """Return the spend kept, oldest first, see `stream.fact_logs`."""
        key = f"{shard_prefix(shard)}spend"
        found = await _answered(self._redis.zrange(key, 0, -1, withscores=True))
        return [(float(time), member) for member, time in found]

    async def due(self, shard: int, now: float, limit: int) -> list[str]:
        """See StateStore.due."""
        key = f"{shard_prefix(shard)}due"
        found = await _answered(self._redis.zrangebyscore(key, "-inf", now, start=0, num=limit))
        return [each.decode() for each in found]

    async def outbox(self, shard: int) -> dict[int, bytes]:
        """See StateStore.outbox."""
        found = await _answered(self._redis.hgetall(f"{shard_prefix(shard)}outbox"))
        return {int(seq): entry for seq, entry in sorted(found.items(), key=lambda kv: int(kv[0]))}

    async def announced(self, shard: int, seqs: Sequence[int]) -> int:
        """See StateStore.announced."""
        if not seqs:
            return 0
        outbox = f"{shard_prefix(shard)}outbox"
        removed: int = await _answered(self._redis.hdel(outbox, *map(str, seqs)))
        return removed

    async def look_again(self, shard: int, account_ids: Sequence[str]) -> None:
        """See StateStore.look_again."""
        if account_ids:
            keys = [f"{shard_prefix(shard)}due", *(state_key(shard, i) for i in account_ids)]
            await _answered(self._look_again(keys=keys, args=list(account_ids)))

    async def meta(self) -> dict[str, str]:
        """Return ``sl:meta``, empty when nothing was ever stored."""
        found = await _answered(self._redis.hgetall(META))
        return {key.decode(): value.decode() for key, value in found.items()}

    async def write_meta(self, meta: Mapping[str, str | int]) -> dict[str, str]:
        """Record *meta* unless another start did; return what is recorded then."""
        pipe = self._redis.pipeline(transaction=True)
        for key, value in meta.items():
            pipe.hsetnx(META, key, str(value))
        await _answered(pipe.execute())
        return await self.meta()

    async def upgrade_meta(self, recorded: str, *, now: float) -> None:
        """Record that states of this version's format are stored: earlier versions must not start.

        Call it before the first of them is written. Versions before FACTS_FORMAT remembered no facts,
        so with *recorded* one of theirs KPIs are complete since *now* (Unix seconds) at most.
        """
        if int(recorded) < FACTS_FORMAT:
            await _answered(self._redis.hsetnx(META, "facts_since", repr(now)))
        await _answered(self._redis.hset(META, "format", str(FORMAT)))

    async def fences(self, shards: Iterable[int]) -> dict[int, Fence]:
        """Return the fence of each of *shards*."""
        numbers = list(shards)
        pipe = self._redis.pipeline(transaction=False)
        for shard in numbers:
            pipe.hgetall(f"{shard_prefix(shard)}fence")
        found = await _answered(pipe.execute())
        return {shard: _fence(fence) for shard, fence in zip(numbers, found, strict=True)}

    async def funnel(self, shards: Iterable[int]) -> dict[str, int]:
        """Return the funnel counters summed over *shards*.

        ``<tier>|<stage>`` accounts in it, ``<from>><to>`` moves, ``surging`` accounts.
        """
        pipe = self._redis.pipeline(transaction=False)
        for shard in shards:
            pipe.hgetall(f"{shard_prefix(shard)}funnel")
        total: dict[str, int] = {}
        for found in await _answered(pipe.execute()):
            for name, value in found.items():
                total[name.decode()] = total.get(name.decode(), 0) + int(value)
        return total

    async def leaders(self, board: str, shards: Iterable[int], limit: int) -> dict[int, list[str]]:
        """Return the *limit* best account ids of each shard's *board*."""
        numbers = list(shards)
        pipe = self._redis.pipeline(transaction=False)
        for shard in numbers:
            pipe.zrange(f"{shard_prefix(shard)}top:{board}", 0, limit - 1, desc=True)
        found = await _answered(pipe.execute())
        return {s: [each.decode() for each in ids] for s, ids in zip(numbers, found, strict=True)}

    async def all_states(self, shard: int | None = None) -> AsyncIterator[bytes]:
        """Yield every stored state, of *shard* alone where it is given, in no order, each once."""
        pattern = state_key(shard, "*") if shard is not None else f"{ANY_SHARD}state:*"
        known = set[bytes]()
        async for keys in self.keys(pattern):
            new = [key for key in keys if key not in known]
            known.update(new)
            for state in await _answered(self._redis.mget(new)) if new else ():
                if state is not None:
                    yield state

    async def holds_keys(self) -> bool:
        """Tell whether any key of Surgeline is stored."""
        async for keys in self.keys(OURS):
            if keys != [ERASED.encode()]:
                return True
        return False

    async def keys(self, pattern: str) -> AsyncIterator[list[bytes]]:
        """Yield the keys that match *pattern*, some at a time; a key may come twice."""
        cursor = 0
        while True:
            cursor, keys = await _answered(
                self._redis.scan(cursor, match=pattern, count=SCAN_COUNT)
            )
            if keys:
                yield keys
            if not cursor:
                return

    async def erase(self) -> int:
        """Delete every key of Surgeline but who was erased; return how many there were."""
        # The meta goes first: an erasure that breaks off must not leave scores without fences
        # that the next start would add to.
        erased: int = await _answered(self._redis.unlink(META))
        async for keys in self.keys(OURS):
            gone = [key for key in keys if key != ERASED.encode()]
            erased += await _answered(self._redis.unlink(*gone)) if gone else 0
        return erased

    async def erased_people(self) -> dict[str, float]:
        """Return digest -> event time of the erasure of everybody who was erased."""
        found = await _answered(self._redis.hgetall(ERASED))
        return {digest.decode(): float(time) for digest, time in found.items()}

    async def note_erased(self, digests: Iterable[str], time: float) -> None:
        """Remember that the people of *digests* were erased at *time* (Unix seconds)."""
        await _answered(self._redis.hset(ERASED, mapping={each: repr(time) for each in digests}))

    async def memory_of(self, account_id: str, shard: int) -> int:
        """Return the bytes that Redis holds for the keys of one account."""
        keys: list[Any] = [state_key(shard, account_id), account_key(shard, account_id)]
        keys += [f"{shard_prefix(shard)}{name}:{account_id}" for name in _OF_ACCOUNT]
        pattern = f"{shard_prefix(shard)}seen:{account_id}:*"
        async for found in self.keys(pattern):
            keys += found
        return sum([await _answered(self._redis.memory_usage(key)) or 0 for key in keys])


_BOARD_KEYS: Final = tuple(f"top:{board}" for board in BOARDS)
_SHARD_KEYS: Final = ("fence", "outbox", "funnel", *_BOARD_KEYS, "due", "names", "spend")
"""What a commit is given by name; keys of accounts it finds by the prefix."""
_OF_ACCOUNT: Final = ("history", *FACT_LOGS)


def _script(name: str) -> str:
    return (importlib.resources.files("stream") / name).read_text(encoding="utf-8")


def _packed(commit: Commit, prefix: str) -> tuple[list[Any], list[bytes]]:
    """Return the text of *commit* as one list, and its binary parts in the script's order."""
    accounts: list[Any] = []
    binaries: list[bytes] = []
    for each in commit.accounts:
        binaries.append(each.state)
        binaries.extend(data for _, data in each.fresh)
        binaries.extend(data for _, data in each.days)
        facts = each.facts
        binaries.extend(log for log in (facts.events, facts.records) if log)
        accounts.append(
            (
                each.account_id,
                each.fields,
                [False if value is None else value for value in each.scores],
                False if each.due is None else each.due,
                each.bucket,
                int(each.surging),
                each.moves,
                [suffix for suffix, _ in each.fresh],
                each.dropped,
                [at for at, _ in each.days],
                bool(facts.events),
                bool(facts.records),
                facts.oldest,
                facts.oldest - facts.spare_seconds,
                facts.most,
            )
        )
    for number, text in name_bytes(commit.names.items()):
        binaries += (number, text)
    binaries.extend(member for _, member in commit.spend)
    if commit.announcement is not None:
        binaries.append(commit.announcement)
    offsets = [(t, "" if old is None else str(old), str(new)) for t, old, new in commit.offsets]
    fields = [] if commit.time is None else ["time", repr(commit.time)]
    announces = commit.announcement is not None
    kept = (SEEN_SECONDS, MOST_NAMES, MOST_SPEND)
    spend = [time for time, _ in commit.spend]
    return [
        offsets, accounts, fields, prefix, kept, announces, len(commit.names), spend
    ], binaries  # fmt: skip


_FENCE_FIELDS = frozenset({"owner", "seq", "commit", "time"})


def _fence(found: Mapping[bytes, bytes]) -> Fence:
    fields = {key.decode(): value.decode() for key, value in found.items()}
    time = fields.get("time")
    return Fence(
        seq=int(fields.get("seq", "0")),
        offsets={t: int(offset) for t, offset in fields.items() if t not in _FENCE_FIELDS},
        time=None if time is None else float(time),
    )


async def _answered(call: Any) -> Any:
    """Await a Redis *call*, turning everything that waiting may cure into Unreachable."""
    try:
        return await call
    except redis.exceptions.AuthenticationError as error:
        # Restoring the password cures it; Redis' own words speak of its protocol.
        raise Unreachable("Redis does not let us in (wrong user or password).") from error
    except (redis.exceptions.ConnectionError, redis.exceptions.TimeoutError, OSError) as error:
        raise Unreachable(f"Redis does not answer ({said(error)}).") from error
    except redis.exceptions.ResponseError as error:
        if isinstance(error, _PASSING) or str(error).startswith(_PASSING_CODES):
            raise Unreachable(f"Redis refuses to write ({said(error)}).") from error
        raise SurgelineError(f"Redis says: {said(error)}.") from error
