"""What is on its way to its commit, by the fences: delays, lag, and gaps between commits."""

import asyncio
import itertools
import time
from collections import defaultdict, deque
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import NamedTuple

from stream.state_store import Fence, RedisStore
from tests.bench.processes import NotMeasured

POLL_SECONDS = 0.01


class Sent(NamedTuple):
    """Records of one partition that went to Kafka together."""

    end: int
    """Offset after the last."""
    records: int
    at: float
    """When they were handed to the producer."""


class Arrived(NamedTuple):
    """Records seen committed."""

    at: float
    delay: float
    records: int


class Gap(NamedTuple):
    """Time without a commit of a shard."""

    shard: int
    since: float
    until: float


@dataclass
class Following:
    """Records on their way, and those that arrived. Times are of the monotonic clock, in seconds."""

    waiting: dict[tuple[str, int], deque[Sent]] = field(default_factory=lambda: defaultdict(deque))
    arrived: list[Arrived] = field(default_factory=list)
    lags: list[tuple[float, int]] = field(default_factory=list)
    """(when, records that Kafka had and no commit contained)."""
    commits: dict[int, list[float]] = field(default_factory=lambda: defaultdict(list))
    """Shard -> when a commit of it was seen."""
    ends: dict[tuple[str, int], int] = field(default_factory=dict)
    _seqs: dict[int, int] = field(default_factory=dict)

    def sent(self, to: tuple[str, int], *, end: int, count: int, at: float) -> None:
        """Note *count* records to a topic and partition, the last one before offset *end*."""
        self.waiting[to].append(Sent(end, count, at))
        self.ends[to] = max(end, self.ends.get(to, 0))

    def passed(self, fences: Mapping[int, Fence], now: float) -> None:
        """Note what *fences*, read by *now*, contain."""
        for shard, fence in fences.items():
            if self._seqs.get(shard, fence.seq) != fence.seq:
                self.commits[shard].append(now)
            self._seqs[shard] = fence.seq
        for (topic, shard), waiting in self.waiting.items():
            next_offset = fences[shard].offsets.get(topic, 0)
            while waiting and waiting[0].end <= next_offset:
                sent = waiting.popleft()
                self.arrived.append(Arrived(now, now - sent.at, sent.records))
        behind = (
            end - min(end, fences[shard].offsets.get(topic, 0))
            for (topic, shard), end in self.ends.items()
        )
        self.lags.append((now, sum(behind)))

    @property
    def lag(self) -> int:
        """Return how many records no commit contained at the last look."""
        return self.lags[-1][1] if self.lags else 0

    @property
    def unseen(self) -> int:
        """Return how many records are not known to be committed."""
        return sum(sent.records for waiting in self.waiting.values() for sent in waiting)

    def peak_lag(self, since: float) -> int:
        """Return the greatest lag since a time."""
        return max((lag for at, lag in self.lags if at >= since), default=0)

    def gaps(self, since: float, until: float, *, longer_than: float) -> list[Gap]:
        """Return the times between two commits of one shard that lie within this span."""
        found = []
        for shard in self._seqs:
            inside = (at for at in self.commits[shard] if since < at < until)
            pairs = itertools.pairwise([since, *inside, until])
            found += [Gap(shard, a, b) for a, b in pairs if b - a > longer_than]
        return found

    def longest_gap(self, since: float, until: float) -> float:
        """Return the longest time between two commits of one shard."""
        gaps = self.gaps(since, until, longer_than=0.0)
        return max((each.until - each.since for each in gaps), default=0.0)

    def last_delayed(self, seconds: float) -> float | None:
        """Return when records arrived last that had taken *seconds* or more, None for never."""
        return max((each.at for each in self.arrived if each.delay >= seconds), default=None)

    def oldest_age(self, now: float) -> float:
        """Return for how many seconds the oldest record has been on its way."""
        return max((now - each[0].at for each in self.waiting.values() if each), default=0.0)

    async def all_committed(self, within_seconds: float) -> None:
        """Wait until everything sent is committed. Raise NotMeasured when that takes too long."""
        give_up_at = time.monotonic() + within_seconds
        while self.unseen:
            if time.monotonic() > give_up_at:
                raise NotMeasured(f"{self.unseen} events are not scored {within_seconds:.0f} s on.")
            await asyncio.sleep(POLL_SECONDS)


@asynccontextmanager
async def followed(
    store: RedisStore, partitions: int, check: Callable[[], None] | None = None
) -> AsyncIterator[Following]:
    """Read the fences again and again until the end of the block; *check* raises to end it."""
    following, over = Following(), asyncio.Event()

    async def follow() -> None:
        while not over.is_set():  # cancelled, a call to Redis may say that it was not
            following.passed(await store.fences(range(partitions)), time.monotonic())
            if check is not None:
                check()
            await asyncio.sleep(POLL_SECONDS)

    task = asyncio.create_task(follow())
    try:
        yield following
    finally:
        over.set()
        await task
