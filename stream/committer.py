"""The committer of one shard: units to Redis in order, announcements to Kafka after them."""

import asyncio
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from stream.backoff import Backoff
from stream.finding import AccountFinder
from stream.metrics import WorkerMetrics
from stream.outputs import Outputs, announced_accounts
from stream.shard import Shard, Unit
from stream.state_store import Answer, StateStore
from stream.tracing import Span, no_span

ANNOUNCED_AT_ONCE: Final = 64
SURE_SECONDS: Final = 0.5
"""For how long an accepted commit says that nobody else announces; below any session."""

Settled = Callable[[Shard, Answer], None]


@dataclass(frozen=True, slots=True)
class Outside:
    """What a worker talks to, and how it waits."""

    store: StateStore
    outputs: Outputs
    metrics: WorkerMetrics
    backoff: Backoff
    """For Redis; outputs wait for Kafka by themselves."""
    span: Span = no_span
    finder: AccountFinder | None = None
    """Who looks up whose the events are that name no account; None: they are nobody's."""


class Committer:
    """Commits the units of *shard* until it is lost, and announces what was committed.

    *settled* is told every answer of the fence; at a refusal the shard is lost already.
    """

    def __init__(self, shard: Shard, outside: Outside, *, settled: Settled) -> None:
        self.shard = shard
        self._store = outside.store
        self._outputs = outside.outputs
        self._metrics = outside.metrics
        self._backoff = outside.backoff
        self._span = outside.span
        self._settled = settled
        self._changed = asyncio.Event()
        self._announcing = False
        self._owned_at = time.monotonic()
        self._tasks: list[asyncio.Task[None]] = []

    def start(self, outbox: Mapping[int, bytes]) -> None:
        """Start, first announcing what an earlier owner left in the *outbox*."""
        for entry in outbox.items():
            self.shard.outbox.put_nowait(entry)
        self._tasks = [
            asyncio.create_task(self._commit_all()),
            asyncio.create_task(self._announce_all()),
        ]

    def failure(self) -> BaseException | None:
        """Return what ended a task that should have gone on, None while all is well."""
        for task in self._tasks:
            if task.done() and not task.cancelled() and task.exception() is not None:
                return task.exception()
        return None

    async def drained(self, *, seconds: float) -> bool:
        """Wait until all is committed and announced; tell whether that came in time."""
        try:
            async with asyncio.timeout(seconds):
                while not self.shard.lost and not (self.shard.idle and self._all_announced):
                    self._changed.clear()
                    if self.failure():
                        return False
                    await self._changed.wait()
        except TimeoutError:
            return False
        return True

    async def progressed(self) -> None:
        """Wait until a unit is committed, or given up."""
        self._changed.clear()
        await self._changed.wait()

    def stop(self) -> None:
        """Give the shard up: commit nothing more and acknowledge what waits.

        What is on its way to Kafka cannot be called back, and is seen to the end.
        """
        self.shard.lost = True
        committing, announcing = self._tasks
        committing.cancel()
        if not self._announcing:
            announcing.cancel()
        for event in self.shard.open.events:
            event.ack()
        self.shard.open.events.clear()
        while not self.shard.units.empty():
            self._acknowledge(self.shard.units.get_nowait())
        self._changed.set()

    @property
    def _all_announced(self) -> bool:
        return self.shard.outbox.empty() and not self._announcing

    async def _commit_all(self) -> None:
        while not self.shard.lost:
            unit = await self.shard.units.get()
            try:
                with self._span("commit", shard=self.shard.number, records=unit.records):
                    await self._commit(unit)
            finally:
                self._acknowledge(unit)
                self._changed.set()

    async def _commit(self, unit: Unit) -> None:
        if unit.messages:
            await self._outputs.send(unit.messages)
        answer = await self._answer(unit)
        if answer in (Answer.APPLIED, Answer.ALREADY):
            self._note(unit)
        else:
            self._metrics.refusals.labels(answer.value).inc()
            self.shard.lost = True
        self._settled(self.shard, answer)

    async def _answer(self, unit: Unit) -> Answer:
        async def commit() -> Answer:
            asked_at = time.monotonic()
            with self._metrics.commit_seconds.time():
                answer = await self._store.commit(unit.commit)
            self._owned_at = asked_at  # not now: the answer may have lain here for long
            return answer

        return await self._backoff.answered(commit)

    def _note(self, unit: Unit) -> None:
        shard = self.shard
        shard.committed_seq = unit.seq
        shard.committed.update({topic: offset for topic, _, offset in unit.commit.offsets})
        if unit.commit.announcement is not None:
            shard.outbox.put_nowait((unit.seq, unit.commit.announcement))
        self._metrics.delays.observe(unit.stamps, time.time())
        self._metrics.count_events(unit.outcomes)
        for rule, count in unit.rules.items():
            self._metrics.transitions.labels(rule).inc(count)
        for (rule, severity), count in unit.alerts.items():
            self._metrics.alerts.labels(rule, severity).inc(count)
        for reason, count in unit.noise.items():
            self._metrics.noise.labels(reason).inc(count)

    def _acknowledge(self, unit: Unit) -> None:
        # Also of a lost shard: Kafka's offsets are for monitors, the fence alone is believed.
        for event in unit.events:
            event.ack()

    async def _announce_all(self) -> None:
        while not self.shard.lost:
            entries = [await self.shard.outbox.get()]
            self._announcing = True
            while not self.shard.outbox.empty() and len(entries) < ANNOUNCED_AT_ONCE:
                entries.append(self.shard.outbox.get_nowait())
            with self._span("announce", shard=self.shard.number, commits=len(entries)):
                await self._announce(entries)
            self._announcing = False
            self._changed.set()

    async def _announce(self, entries: list[tuple[int, bytes]]) -> None:
        number = self.shard.number
        if time.monotonic() - self._owned_at > SURE_SECONDS:
            # A process that was frozen may have been replaced, and its outbox announced: once
            # more would put old scores after newer ones.
            waiting = await self._backoff.answered(lambda: self._store.outbox(number))
            entries = [entry for entry in entries if entry[0] in waiting]
        seqs = [seq for seq, _ in entries]
        await self._outputs.announce(number, [entry for _, entry in entries])
        removed = await self._backoff.answered(lambda: self._store.announced(number, seqs))
        if removed < len(seqs):
            await self._announced_too_late(entries)

    async def _announced_too_late(self, entries: list[tuple[int, bytes]]) -> None:
        """Have the accounts of *entries* announced once more, by whoever owns the shard now.

        Somebody else announced them while these were on their way to Kafka, and may have
        announced newer scores since: the newest must be the last.
        """
        number = self.shard.number
        accounts = sorted({name for _, entry in entries for name in announced_accounts(entry)})
        await self._backoff.answered(lambda: self._store.look_again(number, accounts))
