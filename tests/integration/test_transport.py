"""The transport alone on a real broker: where it starts, what it hands on, what it commits."""

import asyncio
import secrets
import time
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Callable, Collection, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Any, cast

import aiokafka
import aiokafka.admin
import pytest
from aiokafka.errors import NoOffsetForPartitionError
from aiokafka.structs import TopicPartition
from faust.transport.drivers import aiokafka as driver
from faust.types import TP

from stream.app import _faust_app
from stream.micro_batch import MAX_BYTES, MAX_RECORDS, MicroBatch
from stream.settings import load_settings
from stream.transport import MicroBatches, MicroBatchTransport, Undecoded
from tests.kafka_client import create_topic
from tests.records import consumed
from tests.servers import KafkaServer
from tests.system.harness import PATIENCE

# One broker and two cores: side by side these tests would only slow each other down.

_aiokafka: Any = aiokafka  # Any: its types are incomplete
_admin: Any = aiokafka.admin

WITHIN_SECONDS = 30.0 * PATIENCE
POLL_SECONDS = 0.02
COMMIT_SECONDS = 0.05


class Ledger:
    """What workers share: the fence of each partition, and the records committed below it."""

    def __init__(self, fences: Mapping[TP, int] | None = None) -> None:
        self.fences: dict[TP, int] = dict(fences or {})
        self.owners: dict[TP, object] = {}
        self.records: dict[TP, list[tuple[int, bytes]]] = defaultdict(list)

    def commit(self, owner: object, tp: TP, records: Sequence[Any], fence: int) -> None:
        """Add *records* and move the fence, unless somebody else has claimed *tp*."""
        if self.owners[tp] is owner:
            self.records[tp] += [(record.offset, record.value) for record in records]
            self.fences[tp] = fence


class Faulty(Exception):
    """What a progress raises when it is told to."""


class OffsetGone(Exception):
    """What a progress says of offsets that cannot be fetched."""


class Claim:
    """A partition of a worker: where it stands, and what waits for a commit."""

    def __init__(self, start: int | None) -> None:
        self.start = start
        self.next = start or 0
        self.first: int | None = None
        """Offset of the first record that came."""
        self.folded: list[Any] = []
        self.events: list[Any] = []

    def fold(self, event: Any) -> None:
        records = event.value.records
        if self.first is None:
            self.first = records[0].offset
        self.folded += [record for record in records if record.offset >= self.next]
        self.next = max(self.next, event.value.offset + 1)
        self.events.append(event)


class RecordingProgress:
    """A `Progress` over a ledger that folds at once and commits behind, as a worker does.

    Attributes:
        commits: whether anything is committed; a worker cut off from Redis commits nothing.
        seconds_per_batch: how long folding a micro-batch takes.
        unsought: partitions that it claims and gives no start for.
        fails: the methods that raise Faulty.
    """

    def __init__(self, ledger: Ledger) -> None:
        self.commits = True
        self.seconds_per_batch = 0.0
        self.unsought: Collection[TP] = ()
        self.fails: Collection[str] = ()
        self.batches: list[MicroBatch] = []
        self.claims: list[set[TP]] = []
        self.claimed: dict[TP, Claim] = {}
        self._ledger = ledger

    async def claim(self, assigned: set[TP]) -> None:
        self._maybe_fail("claim")
        self.claims.append(assigned)
        for tp in assigned:
            self._ledger.owners[tp] = self
            self.claimed[tp] = Claim(self._ledger.fences.get(tp))

    def starts(self) -> Mapping[TP, int | None]:
        return {tp: each.start for tp, each in self.claimed.items() if tp not in self.unsought}

    async def flush(self, revoked: set[TP]) -> None:
        self._maybe_fail("flush")
        self.commit(revoked)
        if not self.commits:
            self._acknowledge(revoked)

    def release(self, revoked: set[TP]) -> None:
        self._acknowledge(revoked)
        for tp in revoked:
            self.claimed.pop(tp, None)

    async def out_of_range(self, offsets: Mapping[TP, int]) -> BaseException:
        return OffsetGone(dict(offsets))

    async def fold(self, event: Any) -> None:
        batch: MicroBatch = event.value
        claim = self.claimed.get(TP(batch.topic, batch.partition))
        if claim is None:
            event.ack()
            return
        self.batches.append(batch)
        claim.fold(event)
        await asyncio.sleep(self.seconds_per_batch)

    def commit(self, tps: Collection[TP]) -> None:
        """Commit what was folded of *tps*, then acknowledge it."""
        if not self.commits:
            return
        for tp in tps:
            if (claim := self.claimed.get(tp)) and claim.events:
                self._ledger.commit(self, tp, claim.folded, claim.next)
                claim.folded = []
        self._acknowledge(tps)

    def _acknowledge(self, tps: Collection[TP]) -> None:
        for tp in tps:
            if claim := self.claimed.get(tp):
                for event in claim.events:
                    event.ack()
                claim.events = []

    def _maybe_fail(self, method: str) -> None:
        if method in self.fails:
            raise Faulty(method)


@dataclass(frozen=True)
class Topic:
    """A topic on a broker."""

    broker: str
    name: str
    partitions: int
    session_seconds: float

    @property
    def group(self) -> str:
        return f"group-of-{self.name}"

    @property
    def tps(self) -> list[TP]:
        return [TP(self.name, number) for number in range(self.partitions)]

    async def produce(self, values: Mapping[int, Sequence[bytes]]) -> None:
        """Produce *values* by partition, each partition in order."""
        async with _aiokafka.AIOKafkaProducer(
            bootstrap_servers=self.broker, max_batch_size=900_000
        ) as producer:
            sent = [
                await producer.send(self.name, value, partition=number)
                for number, each in values.items()
                for value in each
            ]
            await asyncio.gather(*sent)

    async def committed(self) -> list[int | None]:
        """Return the offsets that Kafka holds for the group, by partition."""
        async with self._consumer() as consumer:
            return [await consumer.committed(TopicPartition(*tp)) for tp in self.tps]

    async def commit(self, offset: int) -> None:
        """Commit *offset* for every partition to Kafka, as the group."""
        async with self._consumer() as consumer:
            consumer.assign([TopicPartition(*tp) for tp in self.tps])
            await consumer.commit({TopicPartition(*tp): offset for tp in self.tps})

    def _consumer(self) -> Any:
        return _aiokafka.AIOKafkaConsumer(
            bootstrap_servers=self.broker, group_id=self.group, enable_auto_commit=False
        )


@dataclass(frozen=True)
class Broker:
    """A broker and the shortest session that it lets a group have."""

    address: str
    session_seconds: float

    async def new_topic(self, *, partitions: int) -> Topic:
        name = f"transport-{secrets.token_hex(4)}"
        await create_topic(self.address, name, partitions=partitions)
        return Topic(self.address, name, partitions, self.session_seconds)


@asynccontextmanager
async def worker(topic: Topic, progress: RecordingProgress) -> AsyncIterator[Any]:
    """Run a worker of the topic's group: the app of a real one, with another agent."""
    app = _faust_app(
        load_settings(
            kafka_url=topic.broker, group=topic.group, session_seconds=topic.session_seconds
        )
    )
    app.transport = MicroBatchTransport(app.conf.broker_consumer, app, progress=progress)

    async def fold(stream: Any) -> None:
        async for event in stream.noack().events():
            await progress.fold(event)

    app.agent(app.topic(topic.name, schema=Undecoded()), name="fold")(fold)
    await app.start()
    committing = asyncio.create_task(commit_often(progress))
    try:
        yield app
    finally:
        progress.commits = True
        await app.stop()
        committing.cancel()
        with suppress(asyncio.CancelledError):
            await committing


async def commit_often(progress: RecordingProgress) -> None:
    while True:
        await asyncio.sleep(COMMIT_SECONDS)
        progress.commit(list(progress.claimed))


async def eventually(condition: Callable[[], object], what: str) -> None:
    give_up_at = time.monotonic() + WITHIN_SECONDS
    while not condition():
        assert time.monotonic() < give_up_at, f"not in time: {what}"
        await asyncio.sleep(POLL_SECONDS)


def rejoin(app: Any) -> None:
    """Make the worker leave and rejoin its group's generation."""
    thread = app.consumer._thread
    coordinator = thread._ensure_consumer()._coordinator
    thread.thread_loop.call_soon_threadsafe(coordinator.request_rejoin)


def numbered(first: int, end: int) -> list[bytes]:
    return [b"%d" % number for number in range(first, end)]


def numbered_records(first: int, end: int) -> list[tuple[int, bytes]]:
    return list(zip(range(first, end), numbered(first, end), strict=True))


@pytest.fixture(
    params=[
        pytest.param("embedded", marks=pytest.mark.embedded),
        pytest.param("kafka", marks=pytest.mark.kafka),
    ],
    scope="module",
)
def broker(request: pytest.FixtureRequest) -> Broker:
    if request.param == "embedded":
        return Broker(request.getfixturevalue("embedded_servers").kafka, session_seconds=3)
    return Broker(request.getfixturevalue("kafka_server").address, session_seconds=6)


@pytest.fixture(scope="module")
def kafka_broker(kafka_server: KafkaServer) -> Broker:
    return Broker(kafka_server.address, session_seconds=6)


@dataclass(frozen=True)
class Run:
    """One worker that read four partitions from different starts to their ends."""

    topic: Topic
    ledger: Ledger
    progress: RecordingProgress
    committed: list[int | None]
    """Kafka's offsets of the group after the last record."""
    gaps: int
    """Intervals of offsets that Faust took for lost on the way."""


BIG = [bytes([number]) * 300_000 for number in range(12)]


@pytest.fixture(scope="module")
def run(broker: Broker) -> Run:
    return asyncio.run(read_four_partitions(broker))


async def read_four_partitions(broker: Broker) -> Run:
    """Read one partition from its beginning, one from its middle, one from its end, one of big records.

    Kafka holds other offsets for the group: nobody may believe them.
    """
    topic = await broker.new_topic(partitions=4)
    small = numbered(0, 2_500)
    await topic.produce({0: small, 1: small, 2: small, 3: BIG})
    await topic.commit(7)
    _, middle, end, _ = topic.tps
    ledger = Ledger({middle: 1_500, end: 2_500})
    progress = RecordingProgress(ledger)
    async with worker(topic, progress) as app:
        ends = dict(zip(topic.tps, (2_500, 2_500, 2_500, 12), strict=True))
        await eventually(lambda: ledger.fences == ends, "all partitions at their ends")
        await topic.produce({2: [b"late"]})
        await eventually(lambda: ledger.fences[end] == 2_501, "one more record")
        committed = await committed_at_last(topic, [2_500, 2_500, 2_501, 12])
        gaps = sum(len(tree) for tree in app.consumer._gap.values())
    return Run(topic, ledger, progress, committed, gaps)


async def committed_at_last(topic: Topic, wanted: list[int | None]) -> list[int | None]:
    """Return Kafka's offsets of the group once they are as *wanted*, or when time is over."""
    give_up_at = time.monotonic() + WITHIN_SECONDS / 3
    found = await topic.committed()
    while found != wanted and time.monotonic() < give_up_at:
        await asyncio.sleep(0.1)
        found = await topic.committed()
    return found


def test_partition_without_a_fence_is_read_from_its_beginning(run: Run) -> None:
    assert run.ledger.records[run.topic.tps[0]] == numbered_records(0, 2_500)


def test_partition_with_a_fence_is_read_from_there(run: Run) -> None:
    assert run.ledger.records[run.topic.tps[1]] == numbered_records(1_500, 2_500)


def test_partition_fenced_at_its_end_waits_for_the_next_record(run: Run) -> None:
    assert run.ledger.records[run.topic.tps[2]] == [(2_500, b"late")]


def test_nothing_before_the_fence_is_handed_on(run: Run) -> None:
    first = {tp.partition: claim.first for tp, claim in run.progress.claimed.items()}

    assert first == {0: 0, 1: 1_500, 2: 2_500, 3: 0}


def test_kafkas_offsets_are_committed_to_the_end_of_the_log(run: Run) -> None:
    assert run.committed == [2_500, 2_500, 2_501, 12]


def test_offsets_inside_a_micro_batch_are_no_gaps(run: Run) -> None:
    assert run.gaps == 0


def test_all_partitions_are_claimed_together_and_once(run: Run) -> None:
    assert run.progress.claims == [set(run.topic.tps)]


def test_records_of_a_micro_batch_are_consecutive_and_of_one_partition(run: Run) -> None:
    for batch in run.progress.batches:
        offsets = [each.offset for each in batch.records]
        assert offsets == list(range(offsets[0], batch.offset + 1))
        assert {(each.topic, each.partition) for each in batch.records} == {
            (batch.topic, batch.partition)
        }


def test_fetched_micro_batches_keep_to_their_bounds(run: Run) -> None:
    sizes = [len(batch.records) for batch in run.progress.batches]
    lengths = [
        sum(len(record.value or b"") for record in batch.records) for batch in run.progress.batches
    ]

    assert 1 < max(sizes) <= MAX_RECORDS
    assert max(lengths) <= MAX_BYTES


async def produce_on(topic: Topic, produced: Counter[int], stop: asyncio.Event) -> None:
    """Produce numbered records to all partitions until *stop*."""
    async with _aiokafka.AIOKafkaProducer(bootstrap_servers=topic.broker) as producer:
        while not stop.is_set():
            for number in range(topic.partitions):
                for value in numbered(produced[number], produced[number] + 5):
                    await producer.send(topic.name, value, partition=number)
                produced[number] += 5
            await producer.flush()
            await asyncio.sleep(0.01)


def test_workers_that_come_and_go_lose_nothing_and_repeat_nothing(
    broker: Broker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(MicroBatches, "max_records", 20)  # so that many are under way

    async def share() -> tuple[Topic, Ledger, Counter[int], list[set[TP]]]:
        topic = await broker.new_topic(partitions=4)
        ledger, produced, stop = Ledger(), Counter[int](), asyncio.Event()
        stays, comes = RecordingProgress(ledger), RecordingProgress(ledger)
        stays.seconds_per_batch = comes.seconds_per_batch = 0.002
        producing = asyncio.create_task(produce_on(topic, produced, stop))
        async with worker(topic, stays):
            await eventually(lambda: len(ledger.fences) == 4, "one worker at work")
            async with worker(topic, comes):
                await eventually(lambda: len(comes.batches) > 20, "two workers at work")
                shared = [set(stays.claimed), set(comes.claimed)]
            await eventually(lambda: len(stays.claimed) == 4, "one worker at work again")
            stop.set()
            await producing
            ends = {tp: produced[tp.partition] for tp in topic.tps}
            await eventually(lambda: ledger.fences == ends, "all records committed")
        return topic, ledger, produced, shared

    topic, ledger, produced, shared = asyncio.run(share())

    assert {tp: ledger.records[tp] for tp in topic.tps} == {
        tp: numbered_records(0, produced[tp.partition]) for tp in topic.tps
    }
    assert [len(each) for each in shared] == [2, 2]
    assert set.union(*shared) == set(topic.tps)


def test_what_was_folded_and_not_committed_comes_again_after_a_rebalance(
    broker: Broker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(MicroBatches, "max_records", 10)

    async def rebalance() -> tuple[Topic, Ledger]:
        topic = await broker.new_topic(partitions=2)
        await topic.produce({0: numbered(0, 2_000), 1: numbered(0, 2_000)})
        ledger = Ledger()
        progress = RecordingProgress(ledger)
        progress.seconds_per_batch = 0.002
        async with worker(topic, progress) as app:
            await eventually(lambda: len(progress.batches) > 20, "some committed")
            progress.commits = False
            folded = len(progress.batches)
            await eventually(lambda: len(progress.batches) > folded + 20, "more folded")
            rejoin(app)
            await eventually(lambda: len(progress.claims) == 2, "claimed again")
            progress.commits = True
            ends = dict.fromkeys(topic.tps, 2_000)
            await eventually(lambda: ledger.fences == ends, "all records committed")
        return topic, ledger

    topic, ledger = asyncio.run(rebalance())

    assert [ledger.records[tp] for tp in topic.tps] == [numbered_records(0, 2_000)] * 2


def test_partition_not_sought_yet_is_waited_for(
    broker: Broker, monkeypatch: pytest.MonkeyPatch
) -> None:
    fetch, refused = driver.Consumer._getmany, []

    async def noting_refusals(*args: Any, **options: Any) -> Any:
        try:
            return await fetch(*args, **options)
        except NoOffsetForPartitionError as error:
            refused.append(error)
            raise

    monkeypatch.setattr(driver.Consumer, "_getmany", noting_refusals)

    async def read() -> tuple[Topic, Ledger]:
        topic = await broker.new_topic(partitions=2)
        await topic.produce({0: numbered(0, 10), 1: numbered(0, 10)})
        ledger = Ledger()
        progress = RecordingProgress(ledger)
        progress.unsought = {topic.tps[1]}
        async with worker(topic, progress) as app:
            await eventually(lambda: refused, "a fetch without an offset")
            progress.unsought = ()
            await app.consumer.perform_seek()
            await eventually(lambda: len(ledger.fences) == 2, "both read")
        return topic, ledger

    topic, ledger = asyncio.run(read())

    assert [ledger.records[tp] for tp in topic.tps] == [numbered_records(0, 10)] * 2


async def crash_reason(app: Any) -> BaseException:
    await eventually(lambda: app.crashed, "the app to crash")
    reason: BaseException = app.crash_reason
    return reason


def test_failing_claim_ends_the_app(broker: Broker) -> None:
    async def fail() -> tuple[BaseException, list[MicroBatch]]:
        topic = await broker.new_topic(partitions=1)
        await topic.produce({0: numbered(0, 10)})
        progress = RecordingProgress(Ledger())
        progress.fails = {"claim"}
        async with worker(topic, progress) as app:
            return await crash_reason(app), progress.batches

    reason, batches = asyncio.run(fail())

    assert isinstance(reason, Faulty)
    assert batches == []


def test_failing_flush_ends_the_app(broker: Broker) -> None:
    async def fail() -> BaseException:
        topic = await broker.new_topic(partitions=1)
        progress = RecordingProgress(Ledger())
        async with worker(topic, progress) as app:
            await eventually(lambda: progress.claims, "claimed")
            progress.fails = {"flush"}
            rejoin(app)
            return await crash_reason(app)

    assert isinstance(asyncio.run(fail()), Faulty)


async def delete_records(topic: Topic, *, before: int) -> None:
    """Delete the oldest records of every partition, as retention would."""
    admin = _admin.AIOKafkaAdminClient(bootstrap_servers=topic.broker)
    await admin.start()
    try:
        await admin.delete_records(
            {TopicPartition(*tp): _admin.RecordsToDelete(before_offset=before) for tp in topic.tps}
        )
    finally:
        await admin.close()


@pytest.mark.kafka
@pytest.mark.parametrize("fence", [3, 11], ids=["before the log", "after the log"])
def test_fence_outside_the_log_ends_the_app_with_the_error_of_the_progress(
    kafka_broker: Broker, fence: int
) -> None:
    async def fail() -> tuple[BaseException, Topic]:
        topic = await kafka_broker.new_topic(partitions=1)
        await topic.produce({0: numbered(0, 10)})
        await delete_records(topic, before=5)
        progress = RecordingProgress(Ledger({topic.tps[0]: fence}))
        async with worker(topic, progress) as app:
            return await crash_reason(app), topic

    reason, topic = asyncio.run(fail())

    assert isinstance(reason, OffsetGone)
    assert reason.args == ({topic.tps[0]: fence},)


def record(partition: int, offset: int, length: int | None) -> Any:
    value = None if length is None else b"x" * length
    return consumed("chats", value, at=(partition, offset), timestamp=offset)


def scheduler() -> MicroBatches:
    made: Any = MicroBatches  # Any: Faust types its constructor as abstract
    return cast(MicroBatches, made())


def cut(*lengths: int | None) -> list[list[int]]:
    """Return how records of *lengths* are cut, as lists of their offsets."""
    records = [record(0, offset, length) for offset, length in enumerate(lengths)]
    batches = scheduler().iterate({TP("chats", 0): records})
    return [[each.offset for each in batch.records] for _, batch in batches]


def test_micro_batch_ends_after_a_thousand_records() -> None:
    assert [len(batch) for batch in cut(*[1] * 2_001)] == [1_000, 1_000, 1]


def test_micro_batch_ends_before_it_exceeds_its_bytes() -> None:
    half = MAX_BYTES // 2

    assert cut(half, half, 1, half, half) == [[0, 1], [2, 3], [4]]


def test_record_larger_than_a_micro_batch_travels_alone() -> None:
    assert cut(1, MAX_BYTES + 1, MAX_BYTES, 1) == [[0], [1], [2], [3]]


def test_records_without_a_value_have_no_length() -> None:
    assert cut(None, MAX_BYTES, None, None) == [[0, 1, 2, 3]]


def test_micro_batches_take_turns_over_partitions() -> None:
    fetched = {
        TP("chats", number): [record(number, offset, 1) for offset in range(count)]
        for number, count in enumerate([2_500, 500, 0, 1_500])
    }

    turns = [(tp.partition, batch.offset) for tp, batch in scheduler().iterate(fetched)]

    assert turns == [(0, 999), (1, 499), (3, 999), (0, 1_999), (3, 1_499), (0, 2_499)]


def test_micro_batch_looks_like_its_last_record() -> None:
    batch = MicroBatch([record(3, 10, 1), record(3, 12, 1)])

    assert (batch.topic, batch.partition, batch.offset, batch.timestamp) == ("chats", 3, 12, 12)
    assert batch.value is batch
