"""Resources that run out: the disk under Redis, and a worker's file descriptors."""

import contextlib
import resource
import subprocess
import sys
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from tests.servers import RedisServer, require_servers
from tests.system.faults.conftest import References
from tests.system.faults.redis_files import KEPT_WHOLE
from tests.system.faults.scene import Fault, Scene, said
from tests.system.harness import eventually

pytestmark = [
    pytest.mark.faults,
    pytest.mark.skipif(sys.platform != "linux", reason="mounts and limits of Linux"),
]

LOAD_SECONDS = 20.0
LASTING_SECONDS = 3.0
SMALL_DISK = "1m"
LARGE_DISK = "2g"
FEW_DESCRIPTORS = 8
"""Below the numbers that a running worker has open, so that it can open no more."""
SMALL_COMMITS = {"SURGELINE_FLUSH_RECORDS": "200"}


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """Give a directory on a disk of its own, which is soon full."""
    directory = tmp_path / "disk"
    directory.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={SMALL_DISK}", "tmpfs", str(directory)],
        capture_output=True,
        text=True,
        check=False,
    )
    if mounted.returncode != 0:
        pytest.skip(f"a disk cannot be mounted here: {mounted.stderr.strip()}")
    yield directory
    subprocess.run(["umount", str(directory)], check=True)


@pytest.fixture
def disk_limited(request: pytest.FixtureRequest) -> list[str]:
    """Return the further configuration of the test's Redis."""
    if "small_disk" not in request.fixturenames:
        return []
    return [f"dir {request.getfixturevalue('small_disk')}", *KEPT_WHOLE]


@pytest.fixture
def own_redis(disk_limited: list[str]) -> Iterator[RedisServer]:
    require_servers(own=True)
    with RedisServer(append_only=True, config=disk_limited, own=True) as server:
        yield server


def test_full_disk_under_redis_is_waited_for(
    small_disk: Path, scene: Scene, own_redis: RedisServer, references: References
) -> None:
    fault = Fault("disk of Redis' append-only file full, then enlarged")
    load = scene.load(seconds=LOAD_SECONDS)
    worker = scene.place.ready_worker(**SMALL_COMMITS)
    assert eventually(partial(said, worker, "Redis refuses to write"), within_seconds=90)
    fault.injected += 1
    assert worker.get("/readyz") == (503, "waiting for Redis\n")
    time.sleep(LASTING_SECONDS)  # so long the fault lasts; nothing is waited for
    with scene.recovery(fault):
        subprocess.run(["mount", "-o", f"remount,size={LARGE_DISK}", str(small_disk)], check=True)
        load.hurry()

    scene.conclude(fault, references.of(scene))
    assert own_redis.alive
    assert len(said(worker, "Redis is back")) == len(said(worker, "Redis refuses to write"))
    assert worker.exit_code is None, worker.log()


def test_worker_without_descriptors_waits_until_it_has_some(
    scene: Scene, references: References
) -> None:
    fault = Fault("worker out of file descriptors while Redis cuts its connections")
    load = scene.load(seconds=LOAD_SECONDS, hold_at=0.6)
    worker = scene.place.ready_worker(**SMALL_COMMITS)
    scene.wait_share(0.2)
    with few_descriptors(worker.pid):
        scene.place.redis.client_kill_filter(_type="normal", skipme=True)
        fault.injected += 1
        assert eventually(partial(said, worker, "Redis does not answer"), within_seconds=30)
        lines = len(worker.log().splitlines())
        time.sleep(LASTING_SECONDS)  # so long the fault lasts; nothing is waited for
        said_meanwhile = worker.log().splitlines()[lines:]
        before = scene.committed()
    with scene.recovery(fault, until=scene.beyond(before)):
        load.hurry()

    scene.conclude(fault, references.of(scene))
    assert [each for each in said_meanwhile if "Traceback" in each] == []
    assert worker.exit_code is None, worker.log()


@contextlib.contextmanager
def few_descriptors(pid: int) -> Iterator[None]:
    """Let the process *pid* open no further file in the block."""
    soft, hard = resource.prlimit(pid, resource.RLIMIT_NOFILE)
    resource.prlimit(pid, resource.RLIMIT_NOFILE, (FEW_DESCRIPTORS, hard))
    yield
    resource.prlimit(pid, resource.RLIMIT_NOFILE, (soft, hard))
