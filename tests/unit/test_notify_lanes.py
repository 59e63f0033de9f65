"""Lanes: order within an account, and endpoints that fail."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable

from stream.notify.lanes import WAITING_AT_MOST, Job, Lane
from stream.notify.matching import Destination
from stream.notify.partitions import Partition
from stream.notify.rendering import Outgoing
from stream.notify.routes import Retry, Route
from stream.notify.sending import Failure
from tests.system.harness import PATIENCE

QUICK = Retry(first_seconds=0.01, longest_seconds=0.02, give_up_minutes=1.0)

Judge = Callable[[str, int], Failure | None]
"""Says what becomes of a message (its key) at the endpoint's so many-th try."""


def fault(error: BaseException) -> None:
    raise error


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(PATIENCE * 10):
        while not condition():  # noqa: ASYNC110  # nothing tells
            await asyncio.sleep(0.001)


class Endpoint:
    """Answers as *judge* says, and knows what it was sent."""

    def __init__(self, judge: Judge = lambda _, __: None) -> None:
        self.seen: list[str] = []
        self.taken: list[str] = []
        self.at_once = 0
        self._now = 0
        self._judge = judge

    async def send(self, message: Outgoing) -> Failure | None:
        self.seen.append(message.key)
        self._now += 1
        self.at_once = max(self.at_once, self._now)
        await asyncio.sleep(0)
        self._now -= 1
        failure = self._judge(message.key, len(self.seen))
        if failure is None:
            self.taken.append(message.key)
        return failure


class Trial:
    """One lane to *endpoint*, and what came of each message."""

    def __init__(self, endpoint: Endpoint, *, retry: Retry = QUICK, concurrency: int = 8) -> None:
        route = Route(name="ann", url="json://ann", retry=retry, concurrency=concurrency)
        self.lane = Lane(Destination(route, "json://ann"), endpoint, share=lambda: 1.0)
        self.partition = Partition(0, on_fault=fault)
        self.settled: dict[str, Failure | None] = {}
        self._offset = 0
        self._jobs: dict[int, Callable[[Job], Awaitable[bool]]] = {}

    def put(self, account: str, key: str) -> None:
        job = Job((self.partition,), asyncio.get_running_loop().time())
        message = Outgoing("", "", b"", key)

        async def settle(failure: Failure | None) -> None:
            self.settled[key] = failure
            job.settled = True

        async def deliver(each: Job) -> bool:
            while not each.settled and not each.abandoned:
                pause = await self.lane.attempt(each, message, settle=settle)
                if pause:
                    await asyncio.sleep(pause)
            return each.settled

        # Each job brings a deliver of its own; the first of an account serves the others too.
        self._jobs[id(job)] = deliver
        self.lane.put(job, account, self._offset, lambda each: self._jobs[id(each)](each))
        self._offset += 1
        self.partition.position = self._offset

    async def finished(self, keys: Iterable[str]) -> None:
        wanted = set(keys)
        await until(lambda: wanted <= self.settled.keys() and not self.lane.waiting)


def test_alerts_of_an_account_follow_each_other_though_the_first_is_tried_again() -> None:
    async def run() -> list[str]:
        endpoint = Endpoint(lambda key, n: Failure("500") if key == "a1" and n < 5 else None)
        trial = Trial(endpoint)
        for key in ("a1", "a2", "a3"):
            trial.put("a", key)
        await trial.finished(["a1", "a2", "a3"])
        return endpoint.taken

    assert asyncio.run(run()) == ["a1", "a2", "a3"]


def test_an_alert_that_is_refused_again_and_again_does_not_delay_other_accounts() -> None:
    async def run() -> tuple[list[str], bool]:
        slow = Retry(first_seconds=30.0, give_up_minutes=60.0)
        endpoint = Endpoint(lambda key, _: Failure("500") if key == "bad" else None)
        trial = Trial(endpoint, retry=slow)
        trial.put("a", "bad")
        for n in range(50):
            trial.put(f"account-{n}", f"good-{n}")
        others = {f"good-{n}" for n in range(50)}
        await until(lambda: others <= trial.settled.keys())
        await cancel(trial)
        return endpoint.taken, "bad" in trial.settled

    taken, settled = asyncio.run(run())

    assert sorted(taken) == sorted(f"good-{n}" for n in range(50))
    assert not settled


async def cancel(trial: Trial) -> None:
    trial.partition.close()
    await until(lambda: not trial.lane.waiting)


def test_several_accounts_go_at_a_time_and_no_more_than_the_route_allows() -> None:
    async def run() -> int:
        endpoint = Endpoint()
        trial = Trial(endpoint, concurrency=3)
        keys = [f"k{n}" for n in range(30)]
        for key in keys:
            trial.put(key, key)
        await trial.finished(keys)
        return endpoint.at_once

    assert asyncio.run(run()) == 3


def test_an_endpoint_that_is_away_is_asked_by_one_message_at_a_time() -> None:
    async def run() -> tuple[int, int]:
        endpoint = Endpoint(lambda _, n: Failure("refused", away=True) if n <= 20 else None)
        trial = Trial(endpoint, concurrency=8)
        keys = [f"k{n}" for n in range(100)]
        for key in keys:
            trial.put(key, key)
        await trial.finished(keys)
        return len(endpoint.taken), len(endpoint.seen)

    taken, tries = asyncio.run(run())

    assert taken == 100
    assert tries == 120


def test_a_dead_endpoint_is_given_up_by_all_that_waited_long_enough() -> None:
    async def run() -> tuple[int, int]:
        retry = Retry(first_seconds=0.05, longest_seconds=0.05, give_up_minutes=0.2 / 60)
        endpoint = Endpoint(lambda _, __: Failure("refused", away=True))
        trial = Trial(endpoint, retry=retry)
        keys = [f"k{n}" for n in range(200)]
        for key in keys:
            trial.put(key, key)
        await trial.finished(keys)
        failures = [each for each in trial.settled.values() if each is not None]
        return len(failures), len(endpoint.seen)

    given_up, tries = asyncio.run(run())

    assert given_up == 200
    assert tries < 50


def test_what_will_never_be_taken_is_given_up_at_once() -> None:
    async def run() -> tuple[list[str], Failure | None]:
        endpoint = Endpoint(lambda _, __: Failure("answered 404", again=False))
        trial = Trial(endpoint)
        trial.put("a", "k")
        await trial.finished(["k"])
        return endpoint.seen, trial.settled["k"]

    seen, failure = asyncio.run(run())

    assert seen == ["k"]
    assert failure is not None
    assert failure.why == "answered 404"


def test_an_endpoint_that_asks_for_a_pause_gets_it() -> None:
    async def run() -> float:
        asked = Failure("answered 429", away=True, after_seconds=0.3)
        endpoint = Endpoint(lambda _, n: asked if n == 1 else None)
        trial = Trial(endpoint)
        loop = asyncio.get_running_loop()
        began = loop.time()
        trial.put("a", "k")
        await trial.finished(["k"])
        return loop.time() - began

    assert 0.3 <= asyncio.run(run()) < 3.0


def test_offsets_are_passed_only_when_everything_before_them_is_done() -> None:
    async def run() -> tuple[int, int]:
        endpoint = Endpoint(lambda key, _: Failure("500") if key == "b" else None)
        trial = Trial(endpoint, retry=Retry(first_seconds=30.0))
        for key in ("a", "b", "c"):
            trial.put(key, key)
        await until(lambda: {"a", "c"} <= trial.settled.keys())
        low = trial.partition.low
        await cancel(trial)
        return low, trial.partition.low

    assert asyncio.run(run()) == (1, 1)


def test_a_full_lane_says_so_and_has_room_again_when_half_of_it_is_done() -> None:
    async def run() -> tuple[bool, int, bool]:
        trial = Trial(Endpoint())
        keys = [f"k{n}" for n in range(WAITING_AT_MOST)]
        for key in keys:
            trial.put(key, key)
        full = trial.lane.full
        async with asyncio.timeout(PATIENCE * 10):
            room = await trial.lane.room()
        return full, room, trial.lane.full

    full, room, still = asyncio.run(run())

    assert full
    assert room >= WAITING_AT_MOST // 2
    assert not still


def test_a_partition_that_is_given_away_before_its_tasks_began_leaves_nothing_behind() -> None:
    async def run() -> tuple[int, int]:
        endpoint = Endpoint()
        trial = Trial(endpoint)
        trial.put("a", "k")
        await cancel(trial)
        return trial.lane.waiting, len(endpoint.seen)

    assert asyncio.run(run()) == (0, 0)
