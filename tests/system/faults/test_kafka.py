"""Kafka that goes and comes back, refuses records, or has removed them: named, never silent."""

import functools
import time
from collections.abc import Callable, Sequence
from dataclasses import replace

import pytest

from tests.place import Worker
from tests.servers import KafkaServer
from tests.system.faults.audit import scored_alone
from tests.system.faults.conftest import References
from tests.system.faults.load import Load
from tests.system.faults.scene import Fault, Scene, said
from tests.system.faults.stream import Stream
from tests.system.harness import eventually

pytestmark = [pytest.mark.faults]

LOAD_SECONDS = 45.0
KILLS = 3
REFUSING_SECONDS = 4.0
NOTHING_FITS = {"max.message.bytes": "1"}
GONE_TOPIC = "page-visits"
GONE_PARTITION = 0
GONE_RECORDS = 40


def at_share(scene: Scene, share: float) -> None:
    """Wait until this share of the stream is committed."""
    scene.wait_committed(round(share * len(scene.stream.records)))


def newer_scored(scene: Scene, load: Load) -> Callable[[], bool]:
    """Return the question whether a record is scored that nobody has acknowledged until now.

    What a worker had fetched before Kafka went is committed while Kafka is away.
    """
    so_far = load.acknowledged
    return lambda: scene.committed() > so_far


def test_kafka_that_is_restarted_loses_nothing(
    scene: Scene, own_kafka: KafkaServer, references: References
) -> None:
    fault = Fault("Kafka stopped (SIGTERM) and started again")
    load = scene.load(seconds=LOAD_SECONDS)
    worker = scene.place.ready_worker()
    at_share(scene, 0.2)
    own_kafka.stop()
    fault.injected += 1
    with scene.recovery(fault, until=newer_scored(scene, load)):
        own_kafka.start()

    scene.conclude(fault, references.of(scene))
    assert worker.exit_code is None, worker.log()


def test_kafka_that_is_killed_keeps_what_it_acknowledged(
    scene: Scene, own_kafka: KafkaServer, references: References
) -> None:
    fault = Fault("Kafka killed (SIGKILL) and started again")
    load = scene.load(seconds=LOAD_SECONDS)
    worker = scene.place.ready_worker()
    for number in range(KILLS):
        at_share(scene, 0.1 + 0.2 * number)
        own_kafka.kill()
        fault.injected += 1
        with scene.recovery(fault, until=newer_scored(scene, load)):
            own_kafka.start()

    scene.conclude(fault, references.of(scene))
    assert worker.exit_code is None, worker.log()


@pytest.mark.parametrize("topic", ["score-changes", "dead-letters"])
def test_topic_that_takes_no_records_is_waited_for(
    topic: str, scene: Scene, references: References
) -> None:
    fault = Fault(f"Kafka refuses records of {topic}, then takes them again")
    scene.load(seconds=LOAD_SECONDS / 2)
    worker = scene.place.ready_worker()
    at_share(scene, 0.2)
    usual = scene.cluster.settings(topic)
    scene.cluster.change_settings(topic, usual | NOTHING_FITS)
    fault.injected += 1
    assert eventually(lambda: said(worker, "Kafka does not take records"), within_seconds=30)
    assert worker.get("/readyz")[0] == 503
    stopped = functools.partial(sum_of_ends, scene, topic)
    taken = stopped()
    time.sleep(REFUSING_SECONDS)  # so long the refusal lasts; nothing is waited for
    assert stopped() == taken
    with scene.recovery(fault, until=lambda: stopped() > taken):
        scene.cluster.change_settings(topic, usual)

    scene.conclude(fault, references.of(scene))
    assert worker.exit_code is None, worker.log()
    assert len(said(worker, "Kafka does not take records")) == 1


def sum_of_ends(scene: Scene, topic: str) -> int:
    return sum(scene.cluster.ends([topic]).values())


def test_records_that_retention_removed_unscored_are_named_and_counted(scene: Scene) -> None:
    fault = Fault("retention passed the fence")
    load = scene.load(seconds=LOAD_SECONDS / 3, hold_at=0.6)
    stopped = scene.place.ready_worker()
    at_share(scene, 0.4)
    assert stopped.terminate() == 0
    load.finish()
    fence = scene.place.fence(GONE_TOPIC, GONE_PARTITION)
    left_from = fence + GONE_RECORDS
    scene.cluster.remove_records(GONE_TOPIC, GONE_PARTITION, before=left_from)
    fault.injected += 1

    refused = scene.place.start_worker()
    assert refused.wait(60) == 1
    named = f"Records {fence} to {left_from - 1} of {scene.place.prefix}{GONE_TOPIC}/0 are gone"
    assert named in refused.log().splitlines()[-1]
    assert "SURGELINE_ON_DATA_GONE=continue" in refused.log().splitlines()[-1]
    with scene.recovery(fault):
        worker = scene.place.start_worker(SURGELINE_ON_DATA_GONE="continue")

    scene.settle()
    scene.stream = without(scene.stream, load, range(fence, left_from))
    fault.notes.append(f"{counted(worker, scene)} records gone: refused, then counted")
    alone = scene.place.directory / "left"
    alone.mkdir()
    scene.conclude(fault, scored_alone(scene.place, scene.stream, alone))
    assert counted(worker, scene) == GONE_RECORDS


def counted(worker: Worker, scene: Scene) -> int:
    topic = scene.place.prefix + GONE_TOPIC
    return round(worker.metric("surgeline_gone_records_total", topic=topic))


def without(stream: Stream, load: Load, offsets: Sequence[int]) -> Stream:
    """Return *stream* without the records at *offsets* of the partition that lost them."""
    gone = {
        number
        for number, (partition, offset) in load.stored.items()
        if partition == GONE_PARTITION and offset in offsets
    }
    left = [
        each
        for number, each in enumerate(stream.records)
        if each.topic != GONE_TOPIC or number not in gone
    ]
    return replace(stream, records=left)
