"""One shard in a worker's memory: account states, what changed, and what waits for its commit."""

import asyncio
import secrets
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import Any, Final

from scoring.account import AccountState, decode_state
from scoring.dedupe import SeenIds
from scoring.fold import Account, Outcome
from scoring.kpis.facts import Names
from scoring.noise import Noise
from stream.outputs import Announcement, Message, encode_announcements
from stream.state_store import Commit, Fence
from stream.writing import Writer

OBJECT_BYTES_PER_STORED: Final = 8
"""Estimated bytes of Python objects per byte of a stored state."""
BYTES_PER_SEEN_ID: Final = 80
NAMES_REMEMBERED: Final = 100_000
BYTES_PER_ACCOUNT: Final = 1_500
"""Estimated bytes of an account's objects besides its state."""


class CachedAccount(Account):
    """An account in the cache, with what eviction needs to know."""

    __slots__ = ("sealed_in", "size", "was_stored")

    def __init__(self, state: AccountState, *, stored_bytes: int = 0) -> None:
        super().__init__(state, SeenIds())
        self.sealed_in = 0
        """Sequence number of the newest unit that writes it; evictable once committed."""
        self.size = estimated_size(stored_bytes, 0)
        self.was_stored = stored_bytes > 0
        """Whether it was read from Redis, which may hold seen ids of it too."""


def estimated_size(stored_bytes: int, seen_ids: int) -> int:
    """Return the estimated memory of a cached account in bytes."""
    return BYTES_PER_ACCOUNT + stored_bytes * OBJECT_BYTES_PER_STORED + seen_ids * BYTES_PER_SEEN_ID


@dataclass(slots=True)
class Unit:
    """Work that is committed at once: what was folded of a shard since the unit before."""

    commit: Commit
    seq: int
    """Sequence number that the shard has once it is committed."""
    records: int
    events: list[Any]
    """Faust events to acknowledge."""
    messages: list[Message]
    """Dead letters and re-keyed records, produced before the commit."""
    stamps: list[int]
    """Arrival of each scored record in Kafka, Unix milliseconds."""
    outcomes: Counter[tuple[str, str]]
    rules: Counter[str]
    """Transitions announced, by rule."""
    alerts: Counter[tuple[str, str]]
    """Alerts announced, by rule and severity."""
    noise: Counter[str]
    """Events labelled as noise, by reason."""


@dataclass(slots=True)
class OpenUnit:
    """What the shard collects until it is sealed into a Unit."""

    since: float = field(default_factory=time.monotonic)
    dirty: dict[str, CachedAccount] = field(default_factory=dict)
    records: int = 0
    events: list[Any] = field(default_factory=list)
    messages: list[Message] = field(default_factory=list)
    message_bytes: int = 0
    stamps: list[int] = field(default_factory=list)
    outcomes: Counter[tuple[str, str]] = field(default_factory=Counter)
    noise: Counter[str] = field(default_factory=Counter)
    names: Names = field(default_factory=dict)
    """Texts behind the hashes in ``spend``, and in facts that are packed already."""
    spend: list[tuple[float, bytes]] = field(default_factory=list)

    def count(self, type_: str, tally: dict[str, int]) -> None:
        """Book the outcomes of records of *type_*, taking them out of *tally*."""
        for outcome, records in tally.items():
            if isinstance(outcome, Noise):  # scored, as nothing
                self.noise[outcome] += records
                self.outcomes[type_, Outcome.SCORED] += records
            else:
                self.outcomes[type_, outcome] += records
            self.records += records
        tally.clear()


class Shard:
    """A claimed shard.

    ``offsets`` is how far records were folded, ahead of the fence by what waits in units.
    ``lost`` says that somebody else owns it, or that this worker gave it up: nothing of it
    is committed any more.
    """

    def __init__(self, number: int, owner: str, fence: Fence) -> None:
        self.number = number
        self.owner = owner
        self.lost = False
        self.accounts: dict[str, CachedAccount] = {}
        self.cached_bytes = 0
        self.offsets: dict[str, int] = dict(fence.offsets)
        self.committed: dict[str, int] = dict(fence.offsets)
        self.committed_seq = fence.seq
        self.sealed_seq = fence.seq
        self.begins: dict[str, int] = {}
        """Topic -> oldest offset of its log at the claim; retention moves it on."""
        self.newest: dict[str, float] = {}
        """Newest event time per topic since the claim."""
        self.time = fence.time
        """The shard's clock (event clock); never goes back."""
        self.look_again_at = 0.0
        """When due instants are looked at again while old records are read; monotonic clock."""
        self.open = OpenUnit()
        self.units: asyncio.Queue[Unit] = asyncio.Queue()
        self.outbox: asyncio.Queue[tuple[int, bytes]] = asyncio.Queue()
        self._sealed_offsets: dict[str, int] = dict(fence.offsets)
        self._named: set[int] = set()
        """Hashes whose texts were sealed into an earlier unit."""

    @property
    def idle(self) -> bool:
        """Tell whether everything folded is committed."""
        return (
            self.committed_seq == self.sealed_seq
            and not self.open.events
            and self.offsets == self._sealed_offsets
            and not self.open.dirty
        )

    def next_offset(self, topic: str) -> int:
        """Return the first offset of *topic* that was not folded yet."""
        return self.offsets.get(topic, self.begins.get(topic, 0))

    def has_read(self, topic: str, end: int | None) -> bool:
        """Tell whether *topic* was folded up to *end*, its next offset; not when that is unknown."""
        return end is not None and self.next_offset(topic) >= end

    def admit(self, account_id: str, stored: bytes | None) -> CachedAccount:
        """Return the cached account, made from *stored* unless it is cached already."""
        account = self.accounts.get(account_id)
        if account is None:
            state = AccountState(account_id) if stored is None else decode_state(stored)
            account = CachedAccount(state, stored_bytes=len(stored or b""))
            self.accounts[account_id] = account
            self.cached_bytes += account.size
        return account

    def seal(self, write: Writer, now: float) -> Unit | None:
        """Return what was folded since the last unit, None when nothing was.

        *now* is the time as of which scores are written, Unix seconds.
        """
        opened, self.open = self.open, OpenUnit()
        offsets = [
            (topic, self._sealed_offsets.get(topic), offset)
            for topic, offset in self.offsets.items()
            if offset != self._sealed_offsets.get(topic)
        ]
        if not (offsets or opened.dirty or opened.events):
            return None
        self.sealed_seq += 1
        commit = Commit(
            shard=self.number,
            owner=self.owner,
            expected_seq=self.sealed_seq - 1,
            commit_id=secrets.token_hex(8),
            offsets=offsets,
            time=self.time,
        )
        accounts = opened.dirty.values()
        rules = Counter(each.rule for account in accounts for each in account.live.announced)
        alerts = Counter(
            (each.rule, each.severity) for account in accounts for each in account.live.alerts
        )
        self._write_accounts(commit, opened, write, now)
        commit.spend = opened.spend
        self._name(commit, opened.names)
        self._sealed_offsets = dict(self.offsets)
        return Unit(
            commit=commit,
            seq=self.sealed_seq,
            records=opened.records,
            events=opened.events,
            messages=opened.messages,
            stamps=opened.stamps,
            outcomes=opened.outcomes,
            rules=rules,
            alerts=alerts,
            noise=opened.noise,
        )

    def _write_accounts(self, commit: Commit, opened: OpenUnit, write: Writer, now: float) -> None:
        announcements: list[Announcement] = []
        for account_id, account in opened.dirty.items():
            stored, announced = write(account, max(now, account.state.instant or now))
            commit.accounts.append(stored)
            self._name(commit, stored.names)
            announcements += announced
            self._touch(account_id, account, len(stored.state))
        if announcements:
            commit.announcement = encode_announcements(announcements)

    def _name(self, commit: Commit, names: Names) -> None:
        """Have those of *names* stored that were not before."""
        if len(self._named) > NAMES_REMEMBERED:
            self._named.clear()
        for number, text in names.items():
            if number not in self._named:
                self._named.add(number)
                commit.names[number] = text

    def _touch(self, account_id: str, account: CachedAccount, stored_bytes: int) -> None:
        """Move the account to the young end of the cache and measure it anew."""
        del self.accounts[account_id]
        self.accounts[account_id] = account
        account.sealed_in = self.sealed_seq
        seen = sum(len(hashes) for hashes in account.seen.days.values())
        size = estimated_size(stored_bytes, seen)
        self.cached_bytes += size - account.size
        account.size = size

    def evict(self, bound: int) -> None:
        """Forget the longest untouched accounts until *bound* bytes are held.

        Accounts that wait for a commit stay: Redis does not have them yet.
        """
        if self.cached_bytes <= bound:
            return
        for account_id, account in list(self.accounts.items()):
            if account.sealed_in <= self.committed_seq and account_id not in self.open.dirty:
                del self.accounts[account_id]
                self.cached_bytes -= account.size
                if self.cached_bytes <= bound:
                    return
