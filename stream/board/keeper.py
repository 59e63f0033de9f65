"""Keeps the index fresh: loaded once, changed by what workers announce, read anew in turns."""

import asyncio
import dataclasses
import logging
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import suppress
from typing import Final

from scoring.account import AccountState, decode_state, merged_into
from scoring.report import parse_time
from scoring.rules import Rules
from stream.board.index import AccountIndex
from stream.board.log_tail import LogTail
from stream.board.rows import Change, Day, Decay, changed_row, row_of
from stream.errors import SurgelineError, Unreachable, first_of
from stream.model_file import read_model
from stream.reader import StoredScores, moment, open_scores
from stream.routing import shard_finder
from stream.settings import Settings
from stream.state_store import ANY_SHARD

log = logging.getLogger(__name__)

READ_ANEW_SECONDS: Final = 300.0
"""In which all accounts are read again: time alone changes surges and relationships."""
SLICE: Final = 10
"""Accounts evaluated before requests are let in: about 3 ms."""
SLICE_SHARE: Final = 4.0
"""Resting this many times longer than working, so that a fifth of a core is used at most."""
FETCHED: Final = 200
CLOCK_SECONDS: Final = 1.0
RETRY_SECONDS: Final = 1.0
POSITION_SECONDS: Final = 5.0
"""The first load waits so long for Kafka, so that it need not be repeated."""
REST_SECONDS: Final = 0.05


class Keeper:
    """Owns the connection to Redis, and what is known of time."""

    def __init__(
        self,
        settings: Settings,
        index: AccountIndex,
        tail: LogTail,
        *,
        tell_erased: Callable[[Mapping[str, float]], None],
    ) -> None:
        self._settings = settings
        self._tell_erased = tell_erased
        self._index = index
        self._tail = tail
        self.rules = Rules.of(read_model(settings.model))
        self.decay = Decay.of(self.rules)
        self.loaded = False
        """All accounts were read once."""
        self.fault: str | None = "Redis was not asked yet."
        self.read_at = 0.0
        """When all accounts were last read to their end, monotonic."""
        self._stored: StoredScores | None = None
        self._dirty: dict[str, None] = {}
        """Accounts that changed since their row was made from their state."""
        self._event_now: float | None = None

    @property
    def dirty(self) -> int:
        """Return how many accounts wait to be read."""
        return len(self._dirty)

    @property
    def clock(self) -> str:
        """Return the clock in force, ``wall`` or ``event``."""
        return self._settings.clock if self._stored is None else self._stored.clock

    @property
    def now(self) -> float:
        """Return the time of the clock in force, Unix seconds."""
        if self.clock == "event" and self._event_now is not None:
            return self._event_now
        return time.time()

    @property
    def stored(self) -> StoredScores:
        """Return the stored scores, as of now. Raises Unreachable while there are none."""
        if self._stored is None:
            raise Unreachable(self.fault or "The scores are not open.")
        return dataclasses.replace(self._stored, wall=time.time())

    def changed(self, change: Change) -> None:
        """Apply a message of `score-changes`; the account's state is read soon after."""
        self._dirty.setdefault(change.account_id)
        row = self._index.get(change.account_id)
        try:
            at = parse_time(change.as_of)
        except ValueError:
            return
        if self.clock == "event":
            self._event_now = max(at, self._event_now or at)
        if row is not None and at >= row.at:
            self._index.put(changed_row(row, change, at, self.decay))

    def look_first(self, account_ids: Sequence[str]) -> None:
        """Read those of *account_ids* that changed before all others: somebody looks at them."""
        seen = {each: None for each in account_ids if each in self._dirty}
        if seen and len(seen) < len(self._dirty):
            self._dirty = seen | self._dirty

    async def run(self) -> None:
        """Keep the index for ever; Redis may be away, and scores may be started over."""
        while True:
            try:
                async with open_scores(self._settings) as stored:
                    self._stored = stored
                    await self._keep(stored)
            except* SurgelineError as group:
                self._failed(first_of(group))
            await asyncio.sleep(RETRY_SECONDS)

    def _failed(self, error: BaseException) -> None:
        if self.fault != str(error):
            log.warning("%s", error)
        self.fault = str(error)

    async def _keep(self, stored: StoredScores) -> None:
        self._event_now = await moment(stored, None, None)  # before anything is evaluated
        async with asyncio.TaskGroup() as tasks:
            clock = tasks.create_task(self._follow_clock(stored))
            refreshing = tasks.create_task(self._refresh(stored))
            await self._read_in_turns(stored)
            clock.cancel()
            refreshing.cancel()

    async def _follow_clock(self, stored: StoredScores) -> None:
        while True:
            try:
                self._event_now = await moment(stored, None, None)
                self._tell_erased(await stored.store.erased_people())
                self.fault = None
            except Unreachable as error:
                self._failed(error)
            await asyncio.sleep(CLOCK_SECONDS)

    async def _read_in_turns(self, stored: StoredScores) -> None:
        """Read all accounts again and again; return when the scores were started over."""
        await self._positioned()
        first = await self._meta(stored)
        while True:
            self._tail.repositioned.clear()
            try:
                if await self._meta(stored) != first:
                    return
                await self._read_all(stored, rest=self.loaded)
                self.loaded, self.read_at = True, time.monotonic()
            except Unreachable:
                await asyncio.sleep(RETRY_SECONDS)
                continue
            await self._rest()

    async def _meta(self, stored: StoredScores) -> tuple[str | None, ...]:
        meta = await stored.store.meta()
        return tuple(meta.get(each) for each in ("partitions", "clock", "digest", "created_at"))

    async def _positioned(self) -> None:
        try:
            async with asyncio.timeout(POSITION_SECONDS):
                await self._tail.positioned.wait()
        except TimeoutError:
            log.warning("Reading accounts before Kafka is followed; they are read again then.")

    async def _rest(self) -> None:
        """Wait for the next turn, which comes at once when changes may have been missed."""
        with suppress(TimeoutError):
            async with asyncio.timeout(READ_ANEW_SECONDS / 2):
                await self._tail.repositioned.wait()

    async def _read_all(self, stored: StoredScores, *, rest: bool) -> None:
        """Make every row anew; with *rest* spread over half of the time between two turns."""
        found: set[str] = set()
        pause = READ_ANEW_SECONDS / 2 / max(1, len(self._index)) if rest else 0.0
        began = time.monotonic()
        async for account_ids in _stored_ids(stored):
            found.update(account_ids)
            for start in range(0, len(account_ids), FETCHED):
                some = account_ids[start : start + FETCHED]
                await self._read(stored, some)
                await asyncio.sleep(pause * len(some))
        self._index.keep_only(found)
        if not self.loaded:
            log.info("Read %d accounts in %.1f s.", len(found), time.monotonic() - began)

    async def _refresh(self, stored: StoredScores) -> None:
        while True:
            if not (self._dirty and self.loaded):
                await asyncio.sleep(REST_SECONDS)
                continue
            began = time.monotonic()
            some = [each for each, _ in zip(self._dirty, range(SLICE), strict=False)]
            for account_id in some:
                del self._dirty[account_id]
            try:
                await self._read(stored, some)
            except Unreachable:
                self._dirty |= dict.fromkeys(some)
                await asyncio.sleep(RETRY_SECONDS)
            await asyncio.sleep(max(REST_SECONDS, (time.monotonic() - began) * SLICE_SHARE))

    async def _read(self, stored: StoredScores, account_ids: Sequence[str]) -> None:
        """Make the rows of *account_ids* from their states."""
        by_shard: dict[int, list[str]] = {}
        shard_of = shard_finder(stored.partitions)
        for account_id in account_ids:
            by_shard.setdefault(shard_of(account_id), []).append(account_id)
        for shard, own in by_shard.items():
            states = await stored.store.states(shard, own)
            histories = await stored.store.history(shard, own)
            pairs = zip(states, histories, strict=True)
            await self._evaluate([(decode_state(s), h) for s, h in pairs if s is not None])

    async def _evaluate(self, accounts: Sequence[tuple[AccountState, Sequence[Day]]]) -> None:
        for number, (state, history) in enumerate(accounts):
            if merged_into(state) is None:
                self._index.put(row_of(state, self.now, self.rules, history))
            else:
                self._index.drop(state.account_id)
            if number % SLICE == SLICE - 1:
                await asyncio.sleep(0)


async def _stored_ids(stored: StoredScores) -> AsyncIterator[list[str]]:
    """Yield the ids of all stored accounts, some at a time; an id may come twice."""
    async for keys in stored.store.keys(f"{ANY_SHARD}state:*"):
        yield [key.split(b":state:", 1)[1].decode("utf-8", "replace") for key in keys]
