"""A cut network between a worker and Redis: packets vanish, and nobody says so."""

import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from stream.embedded import find_redis, redis_process_id
from tests.server_hosts import LocalProcess
from tests.servers import Server, require_servers, run_apart
from tests.system.faults.conftest import References
from tests.system.faults.scene import Fault, Scene
from tests.system.faults.test_redis import LONGER_THAN_ITS_PATIENCE, SMALL_COMMITS

pytestmark = [
    pytest.mark.faults,
    pytest.mark.skipif(sys.platform != "linux", reason="network namespaces of Linux"),
]

LOAD_SECONDS = 40.0
HERE, THERE = "10.213.77.1", "10.213.77.2"
PORT = 6379
CUTS = (3.0, LONGER_THAN_ITS_PATIENCE)


class Namespace:
    """A network of its own, reached over one link that can be cut."""

    def __init__(self) -> None:
        self.name = f"surgeline-{os.getpid()}"
        self._near, self._far = f"sl{os.getpid()}a", f"sl{os.getpid()}b"

    def add(self) -> None:
        """Set it up; raises CalledProcessError where that is not permitted."""
        _ip("netns", "add", self.name)
        _ip("link", "add", self._near, "type", "veth", "peer", self._far, "netns", self.name)
        _ip("address", "add", f"{HERE}/30", "dev", self._near)
        _ip("link", "set", self._near, "up")
        _ip("-n", self.name, "address", "add", f"{THERE}/30", "dev", self._far)
        _ip("-n", self.name, "link", "set", self._far, "up")

    def cut(self) -> None:
        """Let every packet vanish."""
        _ip("-n", self.name, "link", "set", self._far, "down")

    def mend(self) -> None:
        """Let packets pass again."""
        _ip("-n", self.name, "link", "set", self._far, "up")

    def remove(self) -> None:
        """Take it down, and its link with it."""
        subprocess.run(["ip", "netns", "delete", self.name], check=False, capture_output=True)


def _ip(*arguments: str) -> None:
    subprocess.run(["ip", *arguments], check=True, capture_output=True)


class DistantRedis(Server):
    """A Redis with an append-only file in another network."""

    def __init__(self, namespace: Namespace) -> None:
        self.url = f"redis://{THERE}:{PORT}/0"
        directory = Path(tempfile.mkdtemp(prefix="surgeline-redis-"))
        inside = [str(shutil.which("ip")), "netns", "exec", namespace.name]
        options = ["--save", "", "--appendonly", "yes", "--protected-mode", "no"]
        command = [*inside, find_redis(), *options, "--bind", THERE, "--port", str(PORT)]
        host = LocalProcess(command, directory=directory, environment={})
        super().__init__(host, at=(THERE, PORT), directory=directory)

    def _answers(self) -> bool:
        return run_apart(redis_process_id(self.url)) == self.pid


@pytest.fixture
def namespace() -> Iterator[Namespace]:
    made = Namespace()
    try:
        made.add()
    except (OSError, subprocess.CalledProcessError) as error:
        made.remove()
        pytest.skip(f"a network namespace cannot be made here: {error}")
    yield made
    made.remove()


@pytest.fixture
def own_redis(namespace: Namespace) -> Iterator[DistantRedis]:
    require_servers(own=True)
    with DistantRedis(namespace) as server:
        yield server


def test_cut_network_to_redis_loses_and_doubles_nothing(
    namespace: Namespace, own_redis: DistantRedis, scene: Scene, references: References
) -> None:
    fault = Fault("network to Redis cut (packets vanish), " + ", ".join(f"{s:.0f} s" for s in CUTS))
    load = scene.load(seconds=LOAD_SECONDS, hold_at=0.4)
    worker = scene.place.ready_worker(**SMALL_COMMITS)
    for number, seconds in enumerate(CUTS):
        scene.wait_share(0.1 + 0.4 * number)
        done = scene.committed()
        namespace.cut()
        fault.injected += 1
        time.sleep(seconds)  # so long the fault lasts; nothing is waited for
        with scene.recovery(fault, until=scene.beyond(done)):
            namespace.mend()
        load.hold_at(0.4 * (number + 2))

    scene.conclude(fault, references.of(scene))
    assert own_redis.alive
    assert worker.exit_code is None, worker.log()
