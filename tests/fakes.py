"""Fakes: the state store in memory, under the same contract as the one in Redis.

What it does is what `tests/contract` demands of both; faults are asked for by the test.
"""

import asyncio
import copy
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from scoring.history import DayScores
from scoring.kpis.facts import Names
from stream.errors import Unreachable
from stream.fact_logs import MOST_NAMES, MOST_SPEND, NEVER, SPEND_CUT, cut
from stream.past import unpack_days
from stream.state_store import BOARDS, FORMAT, AccountWrite, Answer, Commit, Fence


@dataclass(slots=True)
class StoredShard:
    """Everything stored of one shard."""

    owner: str | None = None
    seq: int = 0
    commit_id: str | None = None
    time: float | None = None
    offsets: dict[str, int] = field(default_factory=dict)
    states: dict[str, bytes] = field(default_factory=dict)
    accounts: dict[str, dict[str, str]] = field(default_factory=dict)
    boards: dict[str, dict[str, float]] = field(default_factory=lambda: {b: {} for b in BOARDS})
    due: dict[str, float] = field(default_factory=dict)
    funnel: Counter[str] = field(default_factory=Counter)
    seen: dict[tuple[str, str], bytes] = field(default_factory=dict)
    """(account id, seen suffix) -> hashes."""
    outbox: dict[int, bytes] = field(default_factory=dict)
    days: dict[str, dict[int, bytes]] = field(default_factory=dict)
    """Account id -> place in the ring -> the scores of a day."""
    facts: dict[str, tuple[bytes, bytes]] = field(default_factory=dict)
    """Account id -> events, records."""
    names: Names = field(default_factory=dict)
    spend: dict[bytes, float] = field(default_factory=dict)


class InMemoryStore:
    """A `StateStore` in memory, and the reads that people and tests need of a store.

    `fail_next` and `lose_next_reply` make it behave like a Redis that is away; `commits` and
    `claims` tell what was asked of it, failed attempts left out.
    """

    def __init__(self) -> None:
        self.shards: defaultdict[int, StoredShard] = defaultdict(StoredShard)
        self.claims: list[tuple[int, str]] = []
        self.commits: list[tuple[Commit, Answer]] = []
        self.stored_meta: dict[str, str] = {"format": str(FORMAT)}
        self._failures = 0
        self._replies_to_lose = 0

    def fail_next(self, calls: int = 1) -> None:
        """Let the next *calls* raise Unreachable and do nothing."""
        self._failures += calls

    def lose_next_reply(self, commits: int = 1) -> None:
        """Let the next *commits* be carried out and then raise Unreachable."""
        self._replies_to_lose += commits

    def snapshot(self, shard: int) -> StoredShard:
        """Return a copy of everything stored of *shard*."""
        return copy.deepcopy(self.shards[shard])

    def restore(self, shard: int, snapshot: StoredShard) -> None:
        """Put *shard* back to *snapshot*: a Redis that went back in time."""
        self.shards[shard] = copy.deepcopy(snapshot)

    async def claim(self, shard: int, owner: str) -> Fence:
        """See `StateStore.claim`."""
        await self._reached()
        stored = self.shards[shard]
        stored.owner = owner
        self.claims.append((shard, owner))
        return _fence(stored)

    async def commit(self, commit: Commit) -> Answer:
        """See `StateStore.commit`."""
        await self._reached()
        stored = self.shards[commit.shard]
        answer = _answer(stored, commit)
        if answer is Answer.APPLIED:
            _apply(stored, commit)
        self.commits.append((commit, answer))
        await asyncio.sleep(0)  # carried out, and the reply is on its way
        if self._replies_to_lose:
            self._replies_to_lose -= 1
            raise Unreachable("The store does not answer (the reply was lost).")
        return answer

    async def states(self, shard: int, account_ids: Sequence[str]) -> list[bytes | None]:
        """See `StateStore.states`."""
        await self._reached()
        return [self.shards[shard].states.get(each) for each in account_ids]

    async def seen(self, shard: int, keys: Sequence[tuple[str, str]]) -> list[bytes]:
        """See `StateStore.seen`."""
        await self._reached()
        return [self.shards[shard].seen.get(key, b"") for key in keys]

    async def history(self, shard: int, account_ids: Sequence[str]) -> list[list[DayScores]]:
        """Return the scores of days that ended, oldest first."""
        await self._reached()
        rings = [self.shards[shard].days.get(each, {}) for each in account_ids]
        return [unpack_days(b"".join(ring.values())) for ring in rings]

    async def facts(self, shard: int, account_ids: Sequence[str]) -> list[tuple[bytes, bytes]]:
        """Return (events, records) of each of *account_ids*."""
        await self._reached()
        return [self.shards[shard].facts.get(each, (b"", b"")) for each in account_ids]

    async def names(self, shard: int) -> Names:
        """Return the texts behind the hashes in the shard's facts."""
        await self._reached()
        return dict(self.shards[shard].names)

    async def spend(self, shard: int) -> list[tuple[float, bytes]]:
        """Return the spend kept, oldest first."""
        await self._reached()
        return _by_time(self.shards[shard].spend)

    async def due(self, shard: int, now: float, limit: int) -> list[str]:
        """See `StateStore.due`."""
        await self._reached()
        queue = sorted((at, each.encode()) for each, at in self.shards[shard].due.items())
        return [each.decode() for at, each in queue if at <= now][:limit]

    async def outbox(self, shard: int) -> dict[int, bytes]:
        """See `StateStore.outbox`."""
        await self._reached()
        return dict(sorted(self.shards[shard].outbox.items()))

    async def announced(self, shard: int, seqs: Sequence[int]) -> int:
        """See `StateStore.announced`."""
        await self._reached()
        waiting = self.shards[shard].outbox
        return sum(waiting.pop(seq, None) is not None for seq in seqs)

    async def look_again(self, shard: int, account_ids: Sequence[str]) -> None:
        """See `StateStore.look_again`."""
        await self._reached()
        stored = self.shards[shard]
        stored.due.update({each: 0.0 for each in account_ids if each in stored.states})

    async def account(self, shard: int, account_id: str) -> dict[str, str]:
        """Return the hash of an account, empty for unknown ones."""
        await self._reached()
        return dict(self.shards[shard].accounts.get(account_id, {}))

    async def meta(self) -> dict[str, str]:
        """Return what is recorded of the whole store."""
        await self._reached()
        return dict(self.stored_meta)

    async def fences(self, shards: Iterable[int]) -> dict[int, Fence]:
        """Return the fence of each of *shards*."""
        await self._reached()
        return {shard: _fence(self.shards[shard]) for shard in shards}

    async def funnel(self, shards: Iterable[int]) -> dict[str, int]:
        """Return the funnel counters summed over *shards*; those at zero may be among them."""
        await self._reached()
        total: Counter[str] = Counter()
        for shard in shards:
            for name, value in self.shards[shard].funnel.items():
                total[name] += value
        return dict(total)

    async def leaders(self, board: str, shards: Iterable[int], limit: int) -> dict[int, list[str]]:
        """Return the *limit* best account ids of each shard's *board*."""
        await self._reached()
        return {shard: _best(self.shards[shard].boards[board])[:limit] for shard in shards}

    async def _reached(self) -> None:
        await asyncio.sleep(0)  # others run meanwhile, as with a network
        if self._failures:
            self._failures -= 1
            raise Unreachable("The store does not answer (a fault of the test).")


def _fence(stored: StoredShard) -> Fence:
    return Fence(stored.seq, dict(stored.offsets), stored.time)


def _best(board: Mapping[str, float]) -> list[str]:
    return sorted(board, key=lambda each: (board[each], each.encode()), reverse=True)


def _answer(stored: StoredShard, commit: Commit) -> Answer:
    if stored.owner != commit.owner:
        return Answer.REFUSED_OWNER
    if stored.seq == commit.expected_seq + 1 and stored.commit_id == commit.commit_id:
        return Answer.ALREADY
    if stored.seq != commit.expected_seq:
        return Answer.REFUSED_SEQUENCE
    if any(stored.offsets.get(topic) != old for topic, old, _ in commit.offsets):
        return Answer.REFUSED_OFFSETS
    return Answer.APPLIED


def _apply(stored: StoredShard, commit: Commit) -> None:
    for each in commit.accounts:
        _write_account(stored, each)
    stored.seq = commit.expected_seq + 1
    stored.commit_id = commit.commit_id
    stored.offsets.update({topic: new for topic, _, new in commit.offsets})
    if commit.time is not None:
        stored.time = commit.time
    for number, text in commit.names.items():
        if len(stored.names) < MOST_NAMES:
            stored.names.setdefault(number, text)
    _write_spend(stored, commit.spend)
    if commit.announcement is not None:
        stored.outbox[stored.seq] = bytes(commit.announcement)


def _write_account(stored: StoredShard, write: AccountWrite) -> None:
    account_id = write.account_id
    fields = stored.accounts.setdefault(account_id, {})
    _count(stored.funnel, fields, write)
    fields.update(zip(write.fields[::2], write.fields[1::2], strict=True))
    stored.states[account_id] = bytes(write.state)
    for board, score in zip(BOARDS, write.scores, strict=True):
        _put(stored.boards[board], account_id, score)
    _put(stored.due, account_id, write.due)
    for suffix, hashes in write.fresh:
        key = account_id, suffix
        stored.seen[key] = stored.seen.get(key, b"") + hashes
    stored.days.setdefault(account_id, {}).update(write.days)
    _write_facts(stored, write)
    for suffix in write.dropped:
        stored.seen.pop((account_id, suffix), None)


def _write_facts(stored: StoredShard, write: AccountWrite) -> None:
    facts = write.facts
    events, records = stored.facts.get(write.account_id, (b"", b""))
    if facts.events:
        bounds = {"oldest": facts.oldest, "spare_seconds": facts.spare_seconds}
        events = cut(events + facts.events, **bounds, most=facts.most)
    if facts.records:
        records = cut(records + facts.records, oldest=NEVER, spare_seconds=0.0, most=facts.most)
    stored.facts[write.account_id] = events, records


def _write_spend(stored: StoredShard, spend: Sequence[tuple[float, bytes]]) -> None:
    stored.spend.update({member: time for time, member in spend})
    surplus = len(stored.spend) - MOST_SPEND
    if surplus > MOST_SPEND / 8:
        dropped = _by_time(stored.spend)[:surplus]
        for _, member in dropped:
            del stored.spend[member]
        stored.spend[SPEND_CUT] = dropped[-1][0]


def _by_time(spend: Mapping[bytes, float]) -> list[tuple[float, bytes]]:
    return sorted((time, member) for member, time in spend.items())


def _count(funnel: Counter[str], before: Mapping[str, str], write: AccountWrite) -> None:
    """Move *write*'s account from the bucket that its hash names *before* the write."""
    left = before.get("bucket", "")
    if left != write.bucket:
        if left:
            funnel[left] -= 1
        if write.bucket:
            funnel[write.bucket] += 1
    surging = int(before.get("surging", "0"))
    if surging != write.surging:
        funnel["surging"] += write.surging - surging
    funnel.update(write.moves)


def _put(board: dict[str, float], account_id: str, value: float | None) -> None:
    if value is None:
        board.pop(account_id, None)
    else:
        board[account_id] = value
