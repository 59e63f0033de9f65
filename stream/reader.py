"""Reading stored scores: as of which moment, from which shards, and when not to answer."""

import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Final, NamedTuple
from urllib.parse import urlsplit

from scoring.account import AccountState, decode_state, merged_into
from scoring.funnel import STAGES
from scoring.live import Live
from scoring.report import account_report, newest_time, rfc3339
from scoring.rules import Rules
from scoring.transitions import walk
from stream.errors import NotFound, RefusedReading
from stream.model_file import read_model
from stream.redis_access import let_in, open_store
from stream.routing import shard_of
from stream.settings import Settings
from stream.state_store import FORMAT, RedisStore, readable_format

BOARD_MARGIN: Final = 4
"""How many times the accounts asked for are looked at first: boards age between commits."""


@dataclass(frozen=True, slots=True)
class StoredScores:
    """The scores in one Redis, and what it takes to read them."""

    store: RedisStore
    rules: Rules
    partitions: int
    clock: str
    """``wall`` or ``event``, as recorded at the first start."""
    wall: float
    """The wall clock when reading began, Unix seconds."""

    @property
    def shards(self) -> range:
        """Return all shards."""
        return range(self.partitions)


class Newest(NamedTuple):
    """The newest event among accounts."""

    time: float
    account_id: str


@dataclass(frozen=True, slots=True)
class Read:
    """One account as of the moment of its reading."""

    report: dict[str, Any]
    state: bytes
    """As stored."""


@dataclass(frozen=True, slots=True)
class Reading:
    """Accounts as of one moment."""

    as_of: float
    accounts: list[Read]
    ahead: int = 0
    """Accounts whose stage and surges were evaluated at a due instant after ``as_of``."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which accounts a list shows; None takes any."""

    tier: int | None = None
    stage: str | None = None
    """``none`` for accounts that are no target."""
    owner_id: str | None = None
    surging: bool = False

    def takes(self, report: Mapping[str, Any]) -> bool:
        """Tell whether the account of *report* is wanted."""
        return (
            self.tier in (None, report["tier"])
            and self.stage in (None, report["stage"] or "none")
            and self.owner_id in (None, report["owner_id"])
            and (not self.surging or bool(report["surging"]))
        )


@dataclass(frozen=True, slots=True)
class Funnel:
    """How many accounts are in each stage, and how many moved from where to where."""

    as_of: float
    tiers: dict[str, dict[str, int]]
    """Tier (``none`` without one) -> stage -> accounts; every stage is there."""
    moves: dict[str, int]
    """``from>to``, ``none`` being the outside of the funnel -> moves so far."""
    surging: int

    @property
    def stages(self) -> dict[str, int]:
        """Return stage -> accounts over all tiers, from the first to the deepest."""
        return {stage: sum(row[stage] for row in self.tiers.values()) for stage in STAGES}


@asynccontextmanager
async def open_scores(settings: Settings) -> AsyncIterator[StoredScores]:
    """Open the stored scores for reading.

    Raises NotFound when Redis holds none, RefusedReading when they were made by another format
    or scoring model, RefusedStart when Redis does not let us in, Unreachable while it is away.
    """
    rules = Rules.of(read_model(settings.model))
    store = open_store(settings)
    try:
        meta = await let_in(store.meta)
        _check_meta(meta, settings, digest=rules.model.digest)
        yield StoredScores(
            store, rules, int(meta["partitions"]), meta.get("clock", "wall"), time.time()
        )
    finally:
        await store.close()


def redis_place(url: str) -> str:
    """Return where the Redis of *url* is, without its password.

    >>> redis_place("redis://:secret@db.example:6379/0")
    'db.example:6379/0'
    """
    parts = urlsplit(url)
    return f"{parts.netloc.rpartition('@')[2]}{parts.path}".rstrip("/")


def _check_meta(meta: Mapping[str, str], settings: Settings, *, digest: str) -> None:
    if "partitions" not in meta:
        raise NotFound(
            f"Redis at {redis_place(settings.redis_url)} holds no Surgeline scores yet: "
            "start a worker, or `surgeline demo`."
        )
    if not readable_format(meta.get("format", FORMAT)):
        raise RefusedReading(
            f"The stored scores have format {meta['format']} and this version reads format "
            f"{FORMAT}: use the version that wrote them, or `surgeline reset --replay`."
        )
    if meta.get("digest", digest) != digest:
        which = "the default model" if settings.model is None else str(settings.model)
        raise RefusedReading(
            f"The stored scores were made with another scoring model (digest {meta['digest']}) "
            f"than {which} (digest {digest}): give with --model the file that the worker uses."
        )


def newest_of(states: Iterable[AccountState]) -> Newest | None:
    """Return the newest event of any of *states*, None without any."""
    found = ((newest_time([state]), state.account_id) for state in states)
    return max((Newest(at, who) for at, who in found if at is not None), default=None)


async def moment(stored: StoredScores, newest: Newest | None, as_of: float | None) -> float:
    """Return the time (Unix seconds) that a reading of accounts up to *newest* is as of.

    That is *as_of* where it is given. Else, with the wall clock, the real time; with the event
    clock, the furthest shard's time at its last commit; and never before *newest*.
    Raises RefusedReading when *as_of* lies before *newest*: what was stored has no past.
    """
    if as_of is not None:
        if newest is not None and newest.time > as_of:
            raise RefusedReading(
                f"Account {newest.account_id} has an event at {rfc3339(newest.time)}, after the "
                f"{rfc3339(as_of)} asked for: stored scores are read as of their newest event or "
                "later. For the past, run `surgeline score --as-of` over recorded events."
            )
        return as_of
    times = [] if newest is None else [newest.time]
    if stored.clock == "event":
        fences = await stored.store.fences(stored.shards)
        times += [fence.time for fence in fences.values() if fence.time is not None]
        return max(times, default=stored.wall)
    return max([stored.wall, *times])


async def read_account(
    stored: StoredScores, account_id: str, as_of: float | None
) -> tuple[AccountState, float]:
    """Return the stored state of one account, and the time that reading it is as of.

    Raises NotFound for an unknown account and one that was merged into another, and what `moment`
    raises.
    """
    shard = shard_of(account_id, stored.partitions)
    (data,) = await stored.store.states(shard, [account_id])
    if data is None:
        raise NotFound(f"No account {account_id!r} is stored.")
    state = decode_state(data)
    if (other := merged_into(state)) is not None:
        raise NotFound(f"Account {account_id!r} was merged into {other!r}: ask for that one.")
    return state, await moment(stored, newest_of([state]), as_of)


async def read_all(
    stored: StoredScores, *, by: str, wanted: Wanted, as_of: float | None
) -> Reading:
    """Return every stored account that is *wanted*, by falling score *by*, then by id."""
    return await _read(stored, await _all_states(stored), by=by, wanted=wanted, as_of=as_of)


async def read_top(
    stored: StoredScores, *, by: str, limit: int, wanted: Wanted, as_of: float | None
) -> Reading:
    """Return the *limit* best accounts that are *wanted*, by falling score *by*, then by id.

    The shards' leaderboards name the candidates, more of them until the best do not change any
    more or the boards end; the candidates are then evaluated as of one moment. Accounts that a
    board does not hold, because they have no score of that kind, are not listed.
    """
    looked_at = limit * BOARD_MARGIN
    before: list[str] | None = None
    while True:
        leaders = await stored.store.leaders(by, stored.shards, looked_at)
        states = [
            data
            for shard, account_ids in leaders.items()
            for data in await stored.store.states(shard, account_ids)
            if data is not None
        ]
        found = await _read(stored, states, by=by, wanted=wanted, as_of=as_of)
        best = found.accounts[:limit]
        names = [each.report["account_id"] for each in best]
        ended = all(len(each) < looked_at for each in leaders.values())
        if ended or (len(best) == limit and names == before):
            return Reading(found.as_of, best, found.ahead)
        before, looked_at = names, looked_at * BOARD_MARGIN


async def read_funnel(stored: StoredScores, as_of: float | None) -> Funnel:
    """Return the funnel: as the workers counted it, or with *as_of* evaluated at that time.

    The latter looks at every account, and counts the moves that fall due until then.
    """
    counts = Counter(await stored.store.funnel(stored.shards))
    if as_of is None:
        return _funnel(counts, await moment(stored, None, None))
    states = await _all_states(stored)
    now = await moment(stored, newest_of(map(decode_state, states)), as_of)
    moved = Counter({name: n for name, n in counts.items() if _is_move(name)})
    for state in map(decode_state, states):
        live = Live()
        walk(state, live, now, stored.rules)
        moved.update(each.subject for each in live.announced if each.rule == "stage_changed")
        if state.stage is not None:
            tier = None if state.record is None else state.record.tier
            moved[f"{tier or 'none'}|{state.stage}"] += 1
        moved["surging"] += bool(state.surging)
    return _funnel(moved, now)


def _funnel(counts: Mapping[str, int], as_of: float) -> Funnel:
    tiers: dict[str, dict[str, int]] = {}
    for name, number in sorted(counts.items()):
        tier, bar, stage = name.partition("|")
        if bar:
            tiers.setdefault(tier, dict.fromkeys(STAGES, 0))[stage] = number
    moves = {name: number for name, number in sorted(counts.items()) if _is_move(name)}
    return Funnel(as_of, tiers, moves, counts.get("surging", 0))


def _is_move(name: str) -> bool:
    return ">" in name


async def _all_states(stored: StoredScores) -> list[bytes]:
    return [data async for data in stored.store.all_states()]


async def _read(
    stored: StoredScores, states: list[bytes], *, by: str, wanted: Wanted, as_of: float | None
) -> Reading:
    now = await moment(stored, newest_of(map(decode_state, states)), as_of)
    found, ahead = [], 0
    for data in states:
        state = decode_state(data)
        if merged_into(state) is not None:
            continue
        report = account_report(state, now, stored.rules)
        if wanted.takes(report):
            ahead += state.instant is not None and state.instant > now
            found.append(Read(report, data))
    return Reading(now, sorted(found, key=_falling(by)), ahead)


def _falling(score: str) -> Callable[[Read], tuple[float, str]]:
    return lambda each: (-each.report[score], each.report["account_id"])
