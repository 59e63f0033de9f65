"""Ownership: which shards this worker has claimed, from where it reads them, and giving them up.

The fence in Redis is the truth about progress; see `stream.state_store`.
"""

import asyncio
import logging
import secrets
import time
from collections import defaultdict
from collections.abc import Awaitable, Callable, Iterator, Mapping
from typing import Any, Final, Protocol, TypeVar

from faust.types import TP

from stream.committer import Committer, Outside
from stream.decoding import NEVER
from stream.errors import DataGone, FencedOff, RefusedStart
from stream.micro_batch import MicroBatch
from stream.scorer import Scorer, due_until, event_clock, lagging
from stream.settings import Settings
from stream.shard import Shard
from stream.state_store import Answer

log = logging.getLogger(__name__)

T = TypeVar("T")

REFUSALS_ALLOWED: Final = 3
FLUSHES_AHEAD: Final = 3
BUSY_SECONDS: Final = 0.01
CATCH_UP_FLUSHES: Final = 10
CATCH_UP_SECONDS: Final = 3.0
"""How long a unit of old records may grow, and how many flushes' worth of records it may hold."""
OLD_SECONDS: Final = 1.0
CATCH_UP_SHARE: Final = 0.5
"""Records are old once they lay in Kafka for so long; a unit grows for this share of that time."""
DUE_PAUSE_SECONDS: Final = 5.0
"""Time between two looks at the due instants of a shard that reads old records."""
MESSAGE_BYTES: Final = 4 * 2**20
"""Dead letters and re-keyed records that one unit holds in memory."""
REVOKE_SECONDS: Final = 3.0
"""How long a revoke waits for commits; after it the records are left to the next owner."""


class Log(Protocol):
    """What ownership asks of Kafka."""

    async def ranges(self, tps: set[TP]) -> Mapping[TP, tuple[int, int]]:
        """Return the oldest and the next offset of each partition."""

    async def has_record(self, tp: TP, offset: int) -> bool:
        """Tell whether a record at or after *offset* can be fetched."""

    def end(self, tp: TP) -> int | None:
        """Return the next offset as last heard of, None when never heard of."""

    def rejoin(self) -> None:
        """Leave and rejoin the group's generation: revoke, assign, claim and seek again."""


class Ownership:
    """The `Progress` of the transport: claims, flushes and releases shards.

    One shard per partition number, over all input topics.
    """

    def __init__(
        self,
        settings: Settings,
        topics: tuple[str, ...],
        *,
        scorer: Scorer,
        outside: Outside,
        kafka_log: Log,
    ) -> None:
        self._settings = settings
        self._topics = topics
        self._scorer = scorer
        self._outside = outside
        self._store = outside.store
        self._metrics = outside.metrics
        self._log = kafka_log
        self._committers: dict[int, Committer] = {}
        self._starts: dict[TP, int | None] = {}
        self._timers: dict[int, asyncio.TimerHandle] = {}
        self._refusals = 0
        self._round = 0
        self._refused_round = -1
        self._name = secrets.token_hex(6)
        self._claims = 0
        self._finishing = asyncio.Event()
        self.fatal: asyncio.Future[BaseException] = asyncio.get_running_loop().create_future()

    @property
    def shards(self) -> Iterator[Shard]:
        """Yield the shards that this worker owns."""
        return (committer.shard for committer in list(self._committers.values()))

    @property
    def claimed(self) -> bool:
        """Tell whether the group has assigned partitions (or none) to this worker yet."""
        return self._round > 0

    async def finish(self) -> None:
        """Fold no further; commit and announce what was folded, before leaving the group."""
        self._finishing.set()
        await self.flush({TP("", number) for number in self._committers})

    def lag(self) -> Iterator[tuple[str, int, int]]:
        """Yield (topic, partition, records behind) by the committed fence."""
        for shard in self.shards:
            for topic in self._topics:
                end = self._log.end(self._tp(topic, shard.number))
                if end is not None:
                    scored = shard.committed.get(topic, shard.begins.get(topic, 0))
                    behind = max(0, end - scored)
                    yield self._settings.topic_prefix + topic, shard.number, behind

    async def claim(self, assigned: set[TP]) -> None:
        """Take over the shards of *assigned*; see `Progress.claim`."""
        by_shard: dict[int, set[str]] = defaultdict(set)
        for tp in assigned:
            by_shard[tp.partition].add(tp.topic.removeprefix(self._settings.topic_prefix))
        for number, topics in by_shard.items():
            missing = set(self._topics) - topics
            if missing:
                raise RefusedStart(
                    f"Partition {number} of {', '.join(sorted(missing))} went to another worker: "
                    "all workers of a group must read the same topics; stop all, then start all."
                )
        self.release(assigned)
        await self.require_scores()
        self._round += 1
        if self._finishing.is_set():
            return  # claiming now would only take the shards from their next owner
        shards = await asyncio.gather(*(self._claim_shard(number) for number in sorted(by_shard)))
        starts = await self._checked_starts(shards)
        self._starts = starts
        self._metrics.shards.set(len(self._committers))

    async def _claim_shard(self, number: int) -> Shard:
        self._claims += 1
        owner = f"{self._name}-{self._claims}"
        fence = await self._answered(lambda: self._store.claim(number, owner))
        outbox = await self._answered(lambda: self._store.outbox(number))
        shard = Shard(number, owner, fence)
        committer = Committer(shard, self._outside, settled=self._on_answer)
        self._committers[number] = committer
        committer.start(outbox)
        return shard

    async def _checked_starts(self, shards: list[Shard]) -> dict[TP, int | None]:
        """Return where each partition is read from, comparing fences with the log on the way.

        Notes in each shard where its logs begin.
        """
        fenced = {
            self._tp(topic, shard.number): shard.committed[topic]
            for shard in shards
            for topic in self._topics
            if topic in shard.committed
        }
        starts: dict[TP, int | None] = {
            self._tp(topic, shard.number): None for shard in shards for topic in self._topics
        }
        ranges = await self._log.ranges(set(starts)) if starts else {}
        for shard in shards:
            shard.begins = {t: ranges[self._tp(t, shard.number)][0] for t in self._topics}
        for tp, fence in fenced.items():
            oldest, end = ranges[tp]
            if fence < oldest:
                self._gone(tp, fence, oldest)
            elif fence > end and not await self._log.has_record(tp, fence - 1):
                raise RefusedStart(
                    f"Redis has scored {tp.topic}/{tp.partition} up to offset {fence}, but its log "
                    f"ends at {end}: the topic was recreated, or this is another cluster. Start "
                    "over with `surgeline reset --replay`."
                )
            starts[tp] = max(fence, oldest)
        return starts

    def _gone(self, tp: TP, fence: int, oldest: int) -> None:
        text = (
            f"Records {fence} to {oldest - 1} of {tp.topic}/{tp.partition} are gone: retention "
            "passed the fence before they were scored."
        )
        if self._settings.on_data_gone == "stop":
            raise DataGone(f"{text} Set SURGELINE_ON_DATA_GONE=continue to go on without them.")
        log.error("%s Going on without them, as SURGELINE_ON_DATA_GONE says.", text)
        self._metrics.lost_records.labels(tp.topic).inc(oldest - fence)

    def starts(self) -> Mapping[TP, int | None]:
        """See `Progress.starts`."""
        return self._starts

    async def out_of_range(self, offsets: Mapping[TP, int]) -> BaseException:
        """See `Progress.out_of_range`."""
        ranges = await self._log.ranges(set(offsets))
        tp, at = next(iter(offsets.items()))
        oldest, end = ranges[tp]
        return DataGone(
            f"Offset {at} of {tp.topic}/{tp.partition} cannot be read: its log holds "
            f"{oldest} to {end - 1}. SURGELINE_ON_DATA_GONE=continue goes on from the oldest."
        )

    async def flush(self, revoked: set[TP]) -> None:
        """See `Progress.flush`: what cannot be committed in time is left to the next owner."""
        committers = [c for n in {tp.partition for tp in revoked} if (c := self._committers.get(n))]
        for committer in committers:
            self.seal(committer.shard)
        done = await asyncio.gather(*(c.drained(seconds=REVOKE_SECONDS) for c in committers))
        for committer, drained in zip(committers, done, strict=True):
            # A lost shard commits nothing more: its records would be waited for without end.
            if committer.shard.lost or not drained:
                committer.stop()

    def release(self, revoked: set[TP]) -> None:
        """See `Progress.release`."""
        for number in {tp.partition for tp in revoked}:
            committer = self._committers.pop(number, None)
            if committer is not None:
                committer.stop()
            timer = self._timers.pop(number, None)
            if timer is not None:
                timer.cancel()
        self._starts = {tp: at for tp, at in self._starts.items() if tp not in revoked}
        self._metrics.shards.set(len(self._committers))

    async def score(self, event: Any) -> None:
        """Score the micro-batch of *event*, a Faust event, and see to its commit."""
        if self._finishing.is_set():
            return  # the next owner begins at the fence
        batch: MicroBatch = event.value
        committer = self._committers.get(batch.partition)
        if committer is None or committer.shard.lost:
            event.ack()
            return
        shard = committer.shard
        await self._scorer.score(shard, batch, event, self.seal)
        if shard.lost:
            committer.stop()
            return
        if self._finishing.is_set() or self._is_full(shard):
            self.seal(shard)
        elif shard.number not in self._timers:
            self._start_timer(shard, self._settings.flush_seconds)
        shard.evict(self._settings.cache_bytes // max(1, len(self._committers)))
        await self._wait_for_room(committer)

    def seal(self, shard: Shard) -> None:
        """Hand what was folded of *shard* to its committer."""
        timer = self._timers.pop(shard.number, None)
        if timer is not None:
            timer.cancel()
        if shard.lost:
            return
        if self._settings.clock == "event":
            shard.time = event_clock(shard, self._topics, self._ends(shard))
        unit = shard.seal(self._scorer.write, self.now(shard))
        if unit is not None:
            shard.units.put_nowait(unit)

    def now(self, shard: Shard) -> float:
        """Return the evaluation time of the clock in force for *shard*, Unix seconds."""
        if self._settings.clock == "event":
            return NEVER if shard.time is None else shard.time
        return time.time()

    def _ends(self, shard: Shard) -> dict[str, int | None]:
        return {t: self._log.end(self._tp(t, shard.number)) for t in self._topics}

    def _seal_by_timer(self, shard: Shard) -> None:
        self._timers.pop(shard.number, None)
        waits = shard.sealed_seq > shard.committed_seq
        if not shard.lost and (waits or self._catches_up(shard)):
            # Folding on into this unit writes each account once for more of its events.
            self._start_timer(shard, BUSY_SECONDS)
        else:
            self.seal(shard)

    def _is_full(self, shard: Shard) -> bool:
        opened, enough = shard.open, self._settings.flush_records
        if opened.message_bytes >= MESSAGE_BYTES or opened.records >= CATCH_UP_FLUSHES * enough:
            return True
        return opened.records >= enough and not self._catches_up(shard)

    def _catches_up(self, shard: Shard) -> bool:
        """Tell whether *shard* reads old records and its unit may still grow.

        Whoever waits for scores of records that have lain in Kafka waits half as long again at most,
        and what is left in Kafka is read the sooner.
        """
        opened = shard.open
        if not opened.stamps:
            return False
        age = time.monotonic() - opened.since
        behind = time.time() - opened.stamps[0] / 1_000 - age  # when the unit was opened
        most = min(CATCH_UP_SECONDS, behind * CATCH_UP_SHARE)
        return behind > OLD_SECONDS and age < most and not self._read_to_end(shard)

    def _read_to_end(self, shard: Shard) -> bool:
        """Tell whether nothing is left to fold of *shard*, as far as is known."""
        # Not over all ends: of a shard with much left the first topic says so already.
        return all(
            shard.has_read(topic, self._log.end(self._tp(topic, shard.number)))
            for topic in self._topics
        )

    def _start_timer(self, shard: Shard, seconds: float) -> None:
        self._timers[shard.number] = asyncio.get_running_loop().call_later(
            seconds, self._seal_by_timer, shard
        )

    async def _wait_for_room(self, committer: Committer) -> None:
        """Fold at most a few flushes ahead of what is committed."""
        while committer.shard.units.qsize() >= FLUSHES_AHEAD and not committer.shard.lost:
            await committer.progressed()

    async def evaluate_due(self) -> None:
        """Evaluate what is due by now in every shard."""
        for shard in self.shards:
            now, ends = self.now(shard), self._ends(shard)
            if self._settings.clock == "wall":
                now = due_until(shard, self._topics, ends, now)
            if shard.lost or now == NEVER or self._looked_lately(shard, ends):
                continue
            if await self._scorer.evaluate_due(shard, now, self.seal):
                self.seal(shard)

    def _looked_lately(self, shard: Shard, ends: Mapping[str, int | None]) -> bool:
        """Tell whether due instants of *shard* may wait, and note when they may not.

        Weeks pass in a minute of reading old records: looking at every midnight of every account
        as it passes would be most of the work, and one look finds all that passed since.
        """
        now = time.monotonic()
        if now < shard.look_again_at and lagging(shard, self._topics, ends):
            return True
        shard.look_again_at = now + DUE_PAUSE_SECONDS
        return False

    async def require_scores(self) -> None:
        """Raise RefusedStart when Redis was emptied.

        A claim would silently begin anew, and leave behind what no start takes.
        """
        meta = await self._answered(self._store.meta)
        self._scorer.transfers.generation = meta.get("created_at", "")
        if not meta:
            raise RefusedStart(
                "Redis was emptied while this worker was scoring. To rebuild the scores from "
                "Kafka's log, run `surgeline reset --replay` or set "
                "SURGELINE_ON_MISSING_STATE=replay."
            )

    async def check_fences(self) -> None:
        """Give up the shards whose fence went back, to read again what Redis has forgotten.

        Their next commits would be refused; but there need not be a next one for long.
        """
        known = {s.number: (s, s.committed_seq) for s in self.shards if not s.lost}
        fences = await self._answered(lambda: self._store.fences(known))
        for number, (shard, seq) in known.items():
            if fences[number].seq < seq and not shard.lost:
                log.warning("Redis has forgotten commits of shard %d; they are redone.", number)
                shard.lost = True
                self._on_answer(shard, Answer.REFUSED_SEQUENCE)

    def failure(self) -> BaseException | None:
        """Return the error that must end the process, None while all is well."""
        if self.fatal.done():
            return self.fatal.result()
        return next((f for c in self._committers.values() if (f := c.failure())), None)

    def _on_answer(self, shard: Shard, answer: Answer) -> None:
        """At a refusal, go on without the shard, or claim it again if it is still ours.

        Both happen by rejoining the group: whoever it assigns the shard to claims it, and
        reads again from the fence. Refusals of one assignment count once: a worker that was
        stopped for long finds all its shards taken.
        """
        if answer in (Answer.APPLIED, Answer.ALREADY):
            self._refusals = 0
            return
        if self._refused_round == self._round:
            return
        self._refused_round = self._round
        self._refusals += 1
        log.warning("Redis refused a commit of shard %d (%s).", shard.number, answer.value)
        if self._refusals < REFUSALS_ALLOWED:
            self._log.rejoin()
            return
        self.fail(
            FencedOff(
                f"Redis refused {self._refusals} assignments in a row, the last at shard "
                f"{shard.number} ({answer.value}): another process writes this shard."
            )
        )

    def fail(self, error: BaseException) -> None:
        """End the process with *error*, unless it is ending already."""
        if not self.fatal.done():
            self.fatal.set_result(error)

    def _tp(self, topic: str, partition: int) -> TP:
        return TP(self._settings.topic_prefix + topic, partition)

    async def _answered(self, call: Callable[[], Awaitable[T]]) -> T:
        return await self._outside.backoff.answered(call)
