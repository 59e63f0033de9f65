"""Redis that goes, forgets, refuses or is cut off: waited for, or read again from Kafka."""

import datetime as dt
import json
import os
import signal
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
import redis

from tests.place import Worker
from tests.servers import RedisServer, require_servers
from tests.system.faults.audit import Audit, board_problems, funnel_problems, scored_alone
from tests.system.faults.conftest import SEED, References, SceneOf, asked_events
from tests.system.faults.poison import visit
from tests.system.faults.proxy import Proxy
from tests.system.faults.redis_files import (
    KEPT_WHOLE,
    append_only_directory,
    copied,
    cut_in_last_commit,
    put_back,
    rewrite,
)
from tests.system.faults.scene import Fault, Scene, said
from tests.system.faults.stream import Stream, one_topic_stream, record_of
from tests.system.harness import eventually

pytestmark = [pytest.mark.faults]

CONFIG = ("appendfsync everysec", "enable-debug-command yes", *KEPT_WHOLE)
LOAD_SECONDS = 20.0
AWAY_SECONDS = 3.0
LONGER_THAN_ITS_PATIENCE = 12.0
"""A worker waits ten seconds for an answer of Redis."""
SHARES = (0.2, 0.4, 0.6)
SMALL_COMMITS = {"SURGELINE_FLUSH_RECORDS": "200"}
FLUSHES = 10
LAST = 40
"""Records within the last second before a crash."""


@pytest.fixture
def own_redis() -> Iterator[RedisServer]:
    require_servers(own=True)
    with RedisServer(append_only=True, config=CONFIG, own=True) as server:
        yield server


@pytest.fixture(scope="session")
def ordered() -> Stream:
    """Give a stream that is announced alike however often it is read again.

    What the lost time announced, with many topics, may differ inside the hysteresis bands from
    what is announced after it.
    """
    return one_topic_stream(asked_events(), seed=SEED)


def test_redis_that_is_restarted_loses_nothing(
    scene: Scene, own_redis: RedisServer, references: References
) -> None:
    fault = Fault("Redis stopped (SIGTERM) and started again")
    scene.load(seconds=LOAD_SECONDS)
    worker = scene.place.ready_worker(**SMALL_COMMITS)
    for share in SHARES:
        scene.wait_share(share)
        done = scene.committed()
        own_redis.stop()
        fault.injected += 1
        with scene.recovery(fault, until=scene.beyond(done)):
            own_redis.start()

    scene.conclude(fault, references.of(scene))
    assert worker.exit_code is None, worker.log()


def test_redis_that_lost_its_last_seconds_is_replayed_from_kafka(
    scene_of: SceneOf, ordered: Stream, own_redis: RedisServer, tmp_path: Path,
    references: References,
) -> None:  # fmt: skip
    fault = Fault("Redis killed (SIGKILL), its last seconds lost (appendfsync everysec)")
    scene = scene_of(ordered)
    worker = scene.place.ready_worker(**SMALL_COMMITS)
    scene.introduce()
    scene.load(seconds=LOAD_SECONDS)
    forgotten = 0
    for share in SHARES:
        scene.wait_share(share)
        directory = append_only_directory(scene.place.redis)
        kept = copied(directory, tmp_path)
        scene.wait_share(share + 0.05)
        done = scene.committed()
        own_redis.kill()
        put_back(kept, directory)
        fault.injected += 1
        with scene.recovery(fault, until=scene.beyond(done)):
            own_redis.start()
            forgotten += done - scene.committed()

    fault.notes.append(f"{forgotten} records scored again")
    scene.conclude(fault, references.of(scene))
    assert forgotten > 0
    assert said(worker, "Redis refused a commit"), worker.log()
    assert worker.exit_code is None, worker.log()


def test_redis_that_forgot_while_nothing_happens_is_replayed_too(
    scene_of: SceneOf, ordered: Stream, own_redis: RedisServer, tmp_path: Path
) -> None:
    fault = Fault("Redis killed, its last second lost, and no record comes after")
    last = dt.datetime.fromisoformat(json.loads(ordered.records[-1].value or b"{}")["time"])
    seconds = [last + dt.timedelta(seconds=1 + number / LAST) for number in range(LAST)]
    end = [visit(n, at, account_id=f"late-{n}") for n, at in enumerate(seconds)]
    told = [*ordered.records, *map(record_of, end)]
    scene = scene_of(replace(ordered, records=told))
    worker = scene.place.ready_worker(**SMALL_COMMITS)
    scene.introduce()
    scene.load(told[:-LAST]).finish()
    scene.settle()
    directory = append_only_directory(scene.place.redis)
    kept = copied(directory, tmp_path)
    scene.load(told[-LAST:]).finish()
    scene.settle()
    done = scene.committed()
    own_redis.kill()
    put_back(kept, directory)
    fault.injected += 1
    with scene.recovery(fault, until=scene.beyond(done - 1)):
        own_redis.start()

    scene.conclude(fault, scored_alone(scene.place, scene.stream, tmp_path))
    assert worker.exit_code is None, worker.log()


def test_failover_to_a_stale_replica_is_replayed_from_kafka(
    scene_of: SceneOf, ordered: Stream, own_redis: RedisServer, references: References
) -> None:
    fault = Fault("Redis fails over to a stale replica under a running worker")
    scene = scene_of(ordered)
    worker = scene.place.ready_worker(**SMALL_COMMITS)
    scene.introduce()
    load = scene.load(seconds=LOAD_SECONDS, hold_at=0.6)
    scene.wait_share(0.2)
    with RedisServer(own=True) as replica, redis.Redis.from_url(replica.url) as stale:
        follow(stale, own_redis.url)
        stale.replicaof("NO", "ONE")
        scene.wait_share(0.5)
        done = scene.committed()
        follow(scene.place.redis, replica.url)
        fault.injected += 1
        with scene.recovery(fault, until=scene.beyond(done)):
            scene.place.redis.replicaof("NO", "ONE")
            fault.notes.append(f"{done - scene.committed()} records scored again")
            load.hurry()

    scene.conclude(fault, references.of(scene))
    assert said(worker, "Redis refused a commit"), worker.log()
    assert worker.exit_code is None, worker.log()


def follow(client: "redis.Redis", leader_url: str) -> None:
    """Make the Redis of *client* what the one at *leader_url* is."""
    host, port = leader_url.removeprefix("redis://").split("/")[0].split(":")
    client.replicaof(host, port)

    def follows() -> bool:
        try:
            found = client.info("replication")
        except redis.exceptions.RedisError:  # it loads
            return False
        return bool(found["master_link_status"] == "up")

    assert eventually(follows, within_seconds=30)


def test_full_redis_is_waited_for(scene: Scene, references: References) -> None:
    fault = Fault("Redis at maxmemory (noeviction), then raised")
    load = scene.load(seconds=LOAD_SECONDS, hold_at=0.6)
    worker = scene.place.ready_worker(**SMALL_COMMITS)
    scene.wait_share(0.2)
    used = int(scene.place.redis.info("memory")["used_memory"])
    scene.place.redis.config_set("maxmemory", used * 9 // 10)
    fault.injected += 1
    assert eventually(partial(said, worker, "Redis refuses to write"), within_seconds=60)
    assert worker.get("/readyz") == (503, "waiting for Redis\n")
    time.sleep(AWAY_SECONDS)  # so long the fault lasts; nothing is waited for
    with scene.recovery(fault):
        scene.place.redis.config_set("maxmemory", 0)
        load.hurry()

    scene.conclude(fault, references.of(scene))
    assert len(said(worker, "Redis is back")) == len(said(worker, "Redis refuses to write"))


def test_redis_turned_read_only_is_waited_for(scene: Scene, references: References) -> None:
    fault = Fault("Redis turned into a read-only replica, then back")
    load = scene.load(seconds=LOAD_SECONDS, hold_at=0.6)
    worker = scene.place.ready_worker(**SMALL_COMMITS)
    scene.wait_share(0.2)
    scene.place.redis.replicaof("127.0.0.1", "1")  # nobody is there to follow
    fault.injected += 1
    assert eventually(partial(said, worker, "Redis refuses to write"), within_seconds=30)
    time.sleep(AWAY_SECONDS)  # so long the fault lasts; nothing is waited for
    with scene.recovery(fault):
        scene.place.redis.replicaof("NO", "ONE")
        load.hurry()

    scene.conclude(fault, references.of(scene))
    assert worker.exit_code is None, worker.log()


def test_redis_that_hangs_is_waited_for(scene: Scene, references: References) -> None:
    fault = Fault(f"Redis hangs for {AWAY_SECONDS:.0f} s and {LONGER_THAN_ITS_PATIENCE:.0f} s")
    load = scene.load(seconds=LOAD_SECONDS, hold_at=0.4)
    worker = scene.place.ready_worker(**SMALL_COMMITS)
    with redis.Redis.from_url(scene.place.redis_url, socket_timeout=60) as patient:
        for number, seconds in enumerate((AWAY_SECONDS, LONGER_THAN_ITS_PATIENCE)):
            scene.wait_share(0.1 + 0.4 * number)
            fault.injected += 1
            with scene.recovery(fault):
                patient.execute_command("DEBUG", "SLEEP", seconds)
                load.hold_at(0.7 + 0.3 * number)

    scene.conclude(fault, references.of(scene))
    assert worker.exit_code is None, worker.log()


def test_redis_that_forgets_its_scripts_is_told_them_again(
    scene: Scene, references: References
) -> None:
    fault = Fault("script cache flushed (SCRIPT FLUSH)")
    scene.load(seconds=LOAD_SECONDS / 2)
    worker = scene.place.ready_worker(**SMALL_COMMITS)
    for number in range(FLUSHES):
        scene.wait_share(0.8 * number / FLUSHES)
        with scene.recovery(fault):
            scene.place.redis.script_flush()
        fault.injected += 1

    scene.conclude(fault, references.of(scene))
    assert said(worker, "Redis") == []


def test_changed_password_is_waited_for_in_one_line(scene: Scene, references: References) -> None:
    fault = Fault("password changed under a running worker, then restored")
    load = scene.load(seconds=LOAD_SECONDS, hold_at=0.6)
    worker = scene.place.ready_worker(**SMALL_COMMITS)
    scene.wait_share(0.2)
    with scene.place.redis.client() as admin:  # type: ignore[no-untyped-call]
        admin.config_set("requirepass", "another")
        admin.execute_command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
        fault.injected += 1
        assert eventually(partial(said, worker, "Redis does not let us in"), within_seconds=30)
        lines = len(worker.log().splitlines())
        time.sleep(AWAY_SECONDS)  # so long the fault lasts; nothing is waited for
        said_meanwhile = worker.log().splitlines()[lines:]
        with scene.recovery(fault):
            admin.config_set("requirepass", "")
            load.hurry()

    scene.conclude(fault, references.of(scene))
    assert said_meanwhile == []
    assert "Traceback" not in worker.log()
    assert worker.exit_code is None, worker.log()


@pytest.mark.parametrize("runs", [True, False], ids=["running", "stopped"])
def test_emptied_redis_is_refused_and_rebuilt_when_told(
    runs: bool, scene_of: SceneOf, ordered: Stream, references: References  # noqa: FBT001
) -> None:  # fmt: skip
    under = "a running" if runs else "a stopped"
    fault = Fault(f"Redis emptied (FLUSHALL) under {under} worker: refused, then replayed")
    scene = scene_of(ordered)
    worker = scene.place.ready_worker(**SMALL_COMMITS)
    scene.introduce()
    load = scene.load(seconds=LOAD_SECONDS, hold_at=0.7)
    scene.wait_share(0.4)
    if not runs:
        assert worker.terminate() == 0
    scene.place.redis.flushall()
    fault.injected += 1
    if runs:
        assert worker.wait(60) == 1, worker.log()
        assert "SURGELINE_ON_MISSING_STATE=replay" in worker.log().splitlines()[-1]
    refused = scene.place.start_worker()
    assert refused.wait(60) == 1, refused.log()
    assert "SURGELINE_ON_MISSING_STATE=replay" in refused.log().splitlines()[-1]
    # Read from the beginning, topics interleave otherwise, and accounts move otherwise.
    scene.cluster.forget("score-changes")
    with scene.recovery(fault):
        worker = scene.place.start_worker(SURGELINE_ON_MISSING_STATE="replay")
        load.hurry()

    scene.conclude(fault, references.of(scene))
    assert worker.exit_code is None, worker.log()


def test_file_cut_in_its_last_commit_holds_it_wholly_or_not_at_all(
    scene_of: SceneOf, ordered: Stream, own_redis: RedisServer, references: References
) -> None:
    fault = Fault("append-only file cut in the middle of its last commit")
    scene = scene_of(ordered)
    worker = scene.place.ready_worker(**SMALL_COMMITS)
    scene.introduce()
    load = scene.load(seconds=LOAD_SECONDS, hold_at=0.8)
    problems: list[str] = []
    for share in SHARES:
        scene.wait_share(share)
        directory = append_only_directory(scene.place.redis)
        done = scene.committed()
        os.kill(worker.pid, signal.SIGSTOP)
        own_redis.kill()
        commit = cut_in_last_commit(directory)
        fault.injected += 1
        own_redis.start()
        stored = scene.place.redis.hget(f"sl:{{{commit.shard}}}:fence", "seq")
        if int(stored or 0) != commit.seq - 1:
            problems.append(f"the fence is at {stored!r}, not before {commit.seq}")
        hashes = scene.place.hashes()
        problems += board_problems(scene.place, hashes)
        problems += funnel_problems(scene.place.funnel(), hashes)
        rewrite(scene.place.redis)
        with scene.recovery(fault, until=scene.beyond(done)):
            os.kill(worker.pid, signal.SIGCONT)
    load.hurry()

    scene.conclude(fault, references.of(scene), more=lambda audit: audit.blame(problems))
    assert worker.exit_code is None, worker.log()


Break = Callable[[Scene, Proxy, Fault], None]


def lose_replies(scene: Scene, proxy: Proxy, fault: Fault) -> None:
    """Lose the replies of commits that were applied, also several times in a row."""
    for count in (1, 2, 3):
        so_far = proxy.lost_replies
        proxy.lose_replies(count)
        assert eventually(lambda: proxy.lost_replies == so_far + count, within_seconds=30)  # noqa: B023
        fault.injected += count
        with scene.recovery(fault):
            pass
    # Another shard may commit before the last of them is sent again.
    told = eventually(lambda: proxy.already >= fault.injected - 1, within_seconds=10)
    fault.notes.append(f"{proxy.already} times answered as already applied")
    assert told


def lose_requests(scene: Scene, proxy: Proxy, fault: Fault) -> None:
    """Cut connections in the middle of a commit."""
    for count in (1, 2, 3):
        so_far = proxy.lost_requests
        proxy.lose_requests(count)
        assert eventually(lambda: proxy.lost_requests == so_far + count, within_seconds=30)  # noqa: B023
        fault.injected += count
        with scene.recovery(fault):
            pass


def stall(scene: Scene, proxy: Proxy, fault: Fault) -> None:
    """Hold everything back for longer than a worker waits, then deliver it."""
    proxy.stall()
    fault.injected += 1
    time.sleep(LONGER_THAN_ITS_PATIENCE)  # so long the fault lasts; nothing is waited for
    with scene.recovery(fault):
        proxy.flow()


def refuse(scene: Scene, proxy: Proxy, fault: Fault) -> None:
    """Cut all connections and refuse new ones."""
    proxy.refuse()
    fault.injected += 1
    time.sleep(AWAY_SECONDS)  # so long the fault lasts; nothing is waited for
    with scene.recovery(fault):
        proxy.accept()


@pytest.mark.parametrize(
    ("name", "break_"),
    [
        ("commits to Redis applied, their replies lost", lose_replies),
        ("connection to Redis cut in the middle of a commit", lose_requests),
        (f"network to Redis stalls for {LONGER_THAN_ITS_PATIENCE:.0f} s", stall),
        (f"connections to Redis refused for {AWAY_SECONDS:.0f} s", refuse),
    ],
    ids=["replies", "requests", "stall", "refuse"],
)
def test_network_to_redis_that_fails_loses_and_doubles_nothing(
    name: str, break_: Break, scene: Scene, references: References
) -> None:
    fault = Fault(name)
    with Proxy(scene.place.redis_url) as proxy:
        through: dict[str, str] = SMALL_COMMITS | {"SURGELINE_REDIS_URL": proxy.url}
        load = scene.load(seconds=LOAD_SECONDS * 2)
        worker: Worker = scene.place.ready_worker(**through)
        scene.wait_share(0.1)
        break_(scene, proxy, fault)
        load.hurry()

        def end(_: Audit) -> None:
            assert worker.exit_code is None, worker.log()

        scene.conclude(fault, references.of(scene), more=end)
