"""Lanes: one to each endpoint, so that what one does is no matter of the others.

Within a lane the alerts of an account follow each other, and several accounts go at a time. An
endpoint that fails is given pauses, which grow, and then one message to try.
"""

import asyncio
import random
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import ExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass
from typing import Final

from stream.notify.matching import Destination
from stream.notify.partitions import Key, Partition
from stream.notify.policy import MINUTE_SECONDS, pause_seconds
from stream.notify.rendering import Outgoing
from stream.notify.sending import Failure, Sender

WAITING_AT_MOST: Final = 1_000
"""Jobs of one lane in memory; Kafka keeps the rest."""
ROOM: Final = WAITING_AT_MOST // 2
FAILURES_OF_ENDPOINT: Final = 3
"""So many in a row of any kind are the endpoint's fault, and no longer the message's."""
LANES_KEPT: Final = 1_000

Settle = Callable[[Failure | None], Awaitable[None]]


@dataclass(eq=False)
class Job:
    """Something to be delivered, and how often that failed."""

    partitions: tuple[Partition, ...]
    taken_at: float
    """By the loop's clock, as the other times here."""
    tries: int = 0
    failed_at: float | None = None
    """When it failed first."""
    settled: bool = False
    """Whether what became of it is recorded."""

    @property
    def abandoned(self) -> bool:
        """Tell whether somebody else will do it."""
        return any(each.closed for each in self.partitions)

    @contextmanager
    def busy(self) -> Iterator[None]:
        """Let this try, and the record of it, come to its end."""
        with ExitStack() as stack:
            for each in self.partitions:
                stack.enter_context(each.busy())
            yield


class Lane:
    """What waits for one endpoint, and how that endpoint is."""

    def __init__(
        self, destination: Destination, sender: Sender, *, share: Callable[[], float]
    ) -> None:
        self.destination = destination
        self.waiting = 0
        self.last = Failure("never tried")
        self._sender = sender
        self._retry = destination.route.retry
        self._share = share
        self._slots = asyncio.Semaphore(destination.route.concurrency)
        self._probe = asyncio.Lock()
        self._room = asyncio.Event()
        self._accounts: dict[tuple[int, str], deque[tuple[int, Job]]] = {}
        self._failures = 0
        self._failed_at = 0.0
        self._down_since = 0.0
        self._paused_until = 0.0

    @property
    def full(self) -> bool:
        """Tell whether it takes no more."""
        return self.waiting >= WAITING_AT_MOST

    @property
    def idle(self) -> bool:
        """Tell whether nothing is lost by forgetting it."""
        return not self.waiting and not self._failures

    async def room(self) -> int:
        """Return how many jobs it takes, once those are many enough."""
        while self.waiting > ROOM:
            self._room.clear()
            await self._room.wait()
        return WAITING_AT_MOST - self.waiting

    def put(
        self, job: Job, account_id: str, offset: int, deliver: Callable[[Job], Awaitable[bool]]
    ) -> None:
        """Queue *job* behind the others of its account; *deliver* tells whether it is settled."""
        partition = job.partitions[0]
        partition.begin(offset)
        self.waiting += 1
        key = partition.number, account_id
        queue = self._accounts.get(key)
        if queue is not None:
            queue.append((offset, job))
            return
        queue = self._accounts[key] = deque([(offset, job)])
        # A task that is cancelled before its first step never comes to a `finally`.
        task = partition.run(self._work(key, partition, deliver))
        task.add_done_callback(lambda _: self._drop(key, queue))

    async def _work(
        self, key: tuple[int, str], partition: Partition, deliver: Callable[[Job], Awaitable[bool]]
    ) -> None:
        queue = self._accounts[key]
        while queue:
            offset, job = queue[0]
            if not await deliver(job):
                return
            queue.popleft()
            self._leave(1)
            partition.finish(offset)
        del self._accounts[key]

    def _drop(self, key: tuple[int, str], queue: deque[tuple[int, Job]]) -> None:
        if self._accounts.get(key) is queue:
            del self._accounts[key]
            self._leave(len(queue))

    def _leave(self, count: int) -> None:
        self.waiting -= count
        if self.waiting <= ROOM:
            self._room.set()

    async def attempt(self, job: Job, message: Outgoing, *, settle: Settle) -> float | None:
        """Try *job* once, in its turn; return the seconds until the next try, None for no more.

        Calls *settle* with why it failed for good, or None when it is delivered; that, too, comes
        to its end when partitions are given away.
        """
        async with self._turn(job):
            if job.abandoned:
                return None
            with job.busy():
                if self._hopeless(job):
                    await settle(self.last)
                    return None
                failure = await self._tried(job, message)
                if failure is None or not failure.again or self._given_up(job):
                    await settle(failure)
                    return None
        if self._pausing > 0:
            return 0.0  # the endpoint's pause is long enough
        return pause_seconds(job.tries, self._retry, share=self._share())

    @asynccontextmanager
    async def _turn(self, job: Job) -> AsyncIterator[None]:
        async with self._slots:
            if not self._failures:
                yield
                return
            async with self._probe:
                # No event: what tries under way still hear may lengthen the pause.
                while (pause := self._pausing) > 0 and not self._hopeless(job):  # noqa: ASYNC110
                    await asyncio.sleep(pause)
                yield

    async def _tried(self, job: Job, message: Outgoing) -> Failure | None:
        began = _now()
        failure = await self._sender.send(message)
        if failure is None:
            self._failures = 0
            self._paused_until = 0.0
            return None
        job.tries += 1
        job.failed_at = _now() if job.failed_at is None else job.failed_at
        self._note(failure, began)
        return failure

    def _note(self, failure: Failure, began: float) -> None:
        self.last = failure
        if self._failures and began < self._failed_at:
            return  # one of several that were under way together
        if not self._failures:
            self._down_since = _now()
        self._failures += 1
        self._failed_at = _now()
        if failure.away or self._failures >= FAILURES_OF_ENDPOINT:
            pause = pause_seconds(self._failures, self._retry, share=self._share())
            asked = min(failure.after_seconds or 0.0, self._give_up_seconds)
            self._paused_until = _now() + max(pause, asked)

    @property
    def _pausing(self) -> float:
        return self._paused_until - _now()

    @property
    def _give_up_seconds(self) -> float:
        return self._retry.give_up_minutes * MINUTE_SECONDS

    def _given_up(self, job: Job) -> bool:
        """Tell whether the try of *job* that just failed was its last."""
        own = _now() if job.failed_at is None else job.failed_at
        return _now() - min(own, max(job.taken_at, self._down_since)) >= self._give_up_seconds

    def _hopeless(self, job: Job) -> bool:
        """Tell whether the endpoint has failed all the time that *job* was to be tried.

        Else what waits for a dead endpoint would be given up one by one, a pause between.
        """
        if not self._failures or self._failed_at < job.taken_at:
            return False
        return self._failed_at - max(job.taken_at, self._down_since) >= self._give_up_seconds


class Lanes:
    """The lanes of this process, made when they are needed."""

    def __init__(self, sender_of: Callable[[Destination], Sender]) -> None:
        self._sender_of = sender_of
        self._lanes: dict[Key, Lane] = {}

    def of(self, destination: Destination) -> Lane:
        """Return the lane to *destination*."""
        found = self._lanes.get(destination.key)
        if found is None:
            if len(self._lanes) >= LANES_KEPT:
                self._lanes = {key: lane for key, lane in self._lanes.items() if not lane.idle}
            sender = self._sender_of(destination)
            found = Lane(destination, sender, share=random.random)
            self._lanes[destination.key] = found
        return found

    def waiting(self) -> dict[str, int]:
        """Return route -> how many wait for it in memory."""
        total: dict[str, int] = {}
        for (route, _), lane in self._lanes.items():
            total[route] = total.get(route, 0) + lane.waiting
        return total


def _now() -> float:
    return asyncio.get_running_loop().time()
