"""Workers that are killed, frozen, joined and left: nothing is lost, nothing counts twice."""

import functools
import math
import os
import random
import signal
from collections.abc import Callable
from itertools import chain

import pytest

from tests.place import Place, Worker
from tests.servers import RedisServer
from tests.system.faults.audit import Audit, transitions
from tests.system.faults.conftest import SEED, References, SceneOf
from tests.system.faults.scene import PARTITIONS, Fault, Scene, said, shards_of
from tests.system.faults.stream import Stream
from tests.system.harness import eventually

pytestmark = [pytest.mark.faults]

KILLS = 20
KILLS_ALONE = 5
FREEZES = 3
SECONDS_A_CHANGE = 5.0
TRY_SECONDS = 10.0
SMALL_COMMITS = {"SURGELINE_FLUSH_RECORDS": "500"}
"""So that a kill finds much of the stream still to be scored."""
CHANGES = (+1, +1, *chain.from_iterable([(-1, -1, -1, +1, +1, +1)] * 3))
"""From two workers to four, to one, to four, ..."""


def frozen_when(worker: Worker, condition: Callable[[], object]) -> bool:
    """Freeze *worker* at a moment at which *condition* holds, else leave it running."""

    def caught() -> bool:
        os.kill(worker.pid, signal.SIGSTOP)
        if condition():
            return True
        os.kill(worker.pid, signal.SIGCONT)
        return False

    return eventually(caught, within_seconds=TRY_SECONDS, every_seconds=0.003)


def refusals(worker: Worker) -> int:
    return len(said(worker, "Redis refused a commit"))


def _more_refusals(worker: Worker, than: int) -> bool:
    return refusals(worker) > than


def kafka_is_behind(scene: Scene) -> bool:
    """Tell whether the group has committed less to Kafka than is committed to Redis."""
    behind = scene.cluster.committed(scene.place.group)
    return any(scene.place.fence(*at) > behind.get(at, 0) for at in scene.ends)


def test_worker_killed_at_random_moments_loses_and_doubles_nothing(
    scene: Scene, references: References
) -> None:
    fault = Fault("worker killed (SIGKILL) and started again")
    rng = random.Random(SEED)
    scene.load(seconds=KILLS * SECONDS_A_CHANGE)
    worker = scene.place.ready_worker(**SMALL_COMMITS)
    between_commits = before_announcing = 0
    for number, share in enumerate(sorted(rng.uniform(0.01, 0.85) for _ in range(KILLS))):
        scene.wait_committed(round(share * len(scene.stream.records)))
        if number % 2:
            frozen_when(worker, scene.place.outbox)
        worker.kill()
        fault.injected += 1
        before_announcing += scene.place.outbox() > 0
        between_commits += kafka_is_behind(scene)
        with scene.recovery(fault):
            worker = scene.place.start_worker(**SMALL_COMMITS)

    fault.notes.append(f"{between_commits} between the commits to Redis and to Kafka")
    fault.notes.append(f"{before_announcing} with announcements still to be sent")
    scene.conclude(fault, references.of(scene))
    assert between_commits > 0
    assert before_announcing > 0


def test_killed_worker_moves_accounts_exactly_as_an_undisturbed_one(
    scene_of: SceneOf, own_redis: RedisServer, visits: Stream, references: References
) -> None:
    undisturbed = scene_of(visits)
    worker = undisturbed.place.ready_worker()
    undisturbed.introduce()
    undisturbed.load().finish()
    undisturbed.settle()
    expected, moves = transitions(undisturbed.cluster), undisturbed.place.funnel()
    assert worker.terminate() == 0
    undisturbed.place.redis.flushall()

    fault = Fault("worker killed, one topic, against an undisturbed run")
    scene = scene_of(visits)
    worker = scene.place.ready_worker(**SMALL_COMMITS)
    scene.introduce()
    introduced = scene.committed()
    scene.load(seconds=KILLS_ALONE * SECONDS_A_CHANGE)
    for number in range(KILLS_ALONE):
        share = (number + 0.5) / (KILLS_ALONE + 1)
        scene.wait_committed(introduced + round(share * len(visits.records)))
        frozen_when(worker, scene.place.outbox)
        worker.kill()
        fault.injected += 1
        with scene.recovery(fault):
            worker = scene.place.start_worker(**SMALL_COMMITS)

    def same(audit: Audit) -> None:
        found = transitions(scene.cluster)
        audit.compare(
            "transitions", expected=len(expected), found=len(expected.keys() & found.keys())
        )
        audit.compare("other transitions", expected=0, found=len(found.keys() - expected.keys()))
        audit.blame([] if scene.place.funnel() == moves else ["the funnel counts differ"])

    fault.notes.append(f"{len(expected)} transition ids compared")
    scene.conclude(fault, references.of(scene), more=same)
    assert own_redis.alive


def test_frozen_worker_that_was_replaced_commits_nothing_when_it_thaws(
    scene: Scene, references: References
) -> None:
    fault = Fault("worker frozen (SIGSTOP) past its session, replaced, thawed")
    load = scene.load(hold_at=0.0)
    frozen = scene.place.ready_worker(**SMALL_COMMITS)
    refused = 0
    for number in range(FREEZES):
        share = 0.3 * number
        load.hold_at(share + 0.1)
        scene.wait_committed(round((share + 0.03) * len(scene.stream.records)))
        os.kill(frozen.pid, signal.SIGSTOP)
        fault.injected += 1
        with scene.recovery(fault):
            load.hold_at(share + 0.2)
            successor = scene.place.start_worker(**SMALL_COMMITS)
        assert eventually(functools.partial(_owns_all, successor), within_seconds=30)
        so_far = refusals(frozen)
        load.hold_at(share + 0.3)
        os.kill(frozen.pid, signal.SIGCONT)
        noticed = functools.partial(_more_refusals, frozen, so_far)
        assert eventually(noticed, within_seconds=30), frozen.log()
        refused += refusals(frozen) - so_far
        frozen.terminate(within_seconds=15)  # right after a rebalance it may give its leave up
        frozen = successor

    fault.notes.append(f"{refused} times a late commit was refused")
    scene.conclude(fault, references.of(scene))


def test_workers_that_join_and_leave_under_load_change_no_score(
    scene: Scene, references: References
) -> None:
    fault = Fault("two, four and one worker: joined or left (SIGTERM)")
    load = scene.load(seconds=len(CHANGES) * SECONDS_A_CHANGE, hold_at=0.0)
    running = [scene.place.ready_worker(**SMALL_COMMITS) for _ in range(2)]
    for number, change in enumerate(CHANGES, start=1):
        with scene.recovery(fault):
            load.hold_at(number / (len(CHANGES) + 1))
            if change > 0:
                running.append(scene.place.start_worker(**SMALL_COMMITS))
            else:
                assert running.pop(0).terminate(within_seconds=15) == 0, scene.place.logs()
        fault.injected += 1
        shared = eventually(lambda: _share(running), within_seconds=60)
        assert shared, [shards_of(each) for each in running]

    scene.conclude(fault, references.of(scene))
    assert _ended_well(scene.place, running)


def _owns_all(worker: Worker) -> bool:
    return shards_of(worker) == PARTITIONS


def _share(workers: list[Worker]) -> bool:
    """Tell whether all shards are owned, and by no worker more than its share, rounded up."""
    owned = [shards_of(each) for each in workers]
    return sum(owned) == PARTITIONS and max(owned) <= math.ceil(PARTITIONS / len(workers))


def _ended_well(place: Place, running: list[Worker]) -> bool:
    return all(each.exit_code == 0 for each in place.workers if each not in running)
