"""The embedded stack: broker, Redis and our processes as one thing that ends together."""

import asyncio
import contextlib
import json
import os
import sys
import time
import urllib.error
import urllib.request
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from stream.child import Child
from stream.embedded import LOOPBACK, EmbeddedServers, free_port, is_free, start_servers
from stream.errors import EmbeddedUnavailable, SurgelineError
from stream.setting_rules import variable
from stream.settings import ACCESS, Settings, load_settings

READY_SECONDS: Final = 60.0
POLL_SECONDS: Final = 0.1
RESTARTS_ALLOWED: Final = 5
RESTART_WINDOW_SECONDS: Final = 60.0
WORKER_GRACE_SECONDS: Final = 10.0

Say = Callable[[str], None]


@dataclass
class Member:
    """A process of the stack that serves HTTP."""

    name: str
    command: tuple[str, ...]
    ready_path: str
    environment: Mapping[str, str]
    directory: Path
    child: Child | None = None
    starts: list[float] = field(default_factory=list)
    _shown: int = 0

    @property
    def port_file(self) -> Path:
        """Return where the process writes the port that it listens on."""
        return self.directory / f"{self.name}.port"

    @property
    def url(self) -> str:
        """Return the base address; only once it is ready."""
        return f"http://{LOOPBACK}:{self.port_file.read_text(encoding='utf-8')}"

    async def start(self) -> None:
        """Start the process."""
        self.port_file.unlink(missing_ok=True)
        self.starts.append(time.monotonic())
        command = (*self.command, "--port-file", str(self.port_file))
        self.child = Child(
            self.name,
            command,
            log_path=self.directory / f"{self.name}.log",
            environment=self.environment,
            leash_grace_seconds=WORKER_GRACE_SECONDS,
        )
        await self.child.start()

    async def ready(self, deadline: float) -> None:
        """Wait until it answers; raise EmbeddedUnavailable when it ends or takes too long."""
        assert self.child is not None
        while not await asyncio.to_thread(self._answers):
            if not self.child.alive or time.monotonic() > deadline:
                raise EmbeddedUnavailable(
                    f"The {self.name} did not become ready: {self.child.last_lines(5)}"
                )
            await asyncio.sleep(POLL_SECONDS)

    def _answers(self) -> bool:
        if not self.port_file.exists() or not self.port_file.read_text(encoding="utf-8"):
            return False
        try:
            with urllib.request.urlopen(self.url + self.ready_path, timeout=2.0):  # noqa: S310  # our own http address
                return True
        except (urllib.error.URLError, OSError):
            return False

    def new_lines(self) -> list[str]:
        """Return what it has logged since the last call."""
        with (self.directory / f"{self.name}.log").open("rb") as log:
            log.seek(self._shown)
            data = log.read()
        whole = data.rfind(b"\n") + 1
        self._shown += whole
        return data[:whole].decode(errors="replace").splitlines()

    def may_restart(self) -> bool:
        """Tell whether it has not ended too often of late."""
        recent = [at for at in self.starts if time.monotonic() - at < RESTART_WINDOW_SECONDS]
        return len(recent) <= RESTARTS_ALLOWED


@dataclass
class Stack:
    """A running embedded stack."""

    servers: EmbeddedServers
    workers: list[Member]
    exporter: Member
    board: Member
    resolver: Member
    collector: Member
    notifier: Member | None = None
    """Only where somebody is to be told: with routes."""

    @property
    def members(self) -> list[Member]:
        """Return all processes of ours."""
        told = [] if self.notifier is None else [self.notifier]
        return [*self.workers, self.resolver, self.exporter, self.board, self.collector, *told]

    @property
    def addresses(self) -> dict[str, str]:
        """Return where everything listens, as the settings take it."""
        return {
            "kafka": self.servers.kafka,
            "redis": self.servers.redis_url,
            "exporter": f"{self.exporter.url}/metrics",
            "board": self.board.url,
            "collector": self.collector.url,
        }

    async def watch(self, say: Say) -> None:
        """Show what the processes log and restart those that end; return never.

        Raises SurgelineError when a server is gone, or a process does not stay up.
        """
        while True:
            for member in self.members:
                for line in member.new_lines():
                    say(f"{member.name}: {line}")
                if member.child is not None and not member.child.alive:
                    await self._restart(member, say)
            for server in (self.servers.broker, self.servers.redis_server):
                if not server.alive:
                    raise SurgelineError(f"The embedded {server.name} has ended.")
            await asyncio.sleep(POLL_SECONDS * 2)

    async def _restart(self, member: Member, say: Say) -> None:
        assert member.child is not None
        if not member.may_restart():
            raise SurgelineError(f"The {member.name} ends again and again; see above.")
        say(f"{member.name} ended with exit code {member.child.exit_code}; starting it again.")
        await member.start()

    async def stop(self) -> None:
        """End everything, workers first so that they commit."""
        await asyncio.gather(
            *(
                member.child.stop(grace_seconds=WORKER_GRACE_SECONDS)
                for member in self.members
                if member.child is not None
            )
        )
        await self.servers.stop()


@contextlib.asynccontextmanager
async def running_stack(
    *, workers: int, clock: str, partitions: int, overrides: Mapping[str, str] | None = None
) -> AsyncIterator[Stack]:
    """Start the stack, yield it once all of it is ready, and leave nothing behind.

    *overrides* are environment variables for its processes.
    """
    servers = await start_servers()
    board_port = _board_port()
    environment = {
        "SURGELINE_BOARD_URL": f"http://{LOOPBACK}:{board_port}",
        "SURGELINE_COLLECTOR_PORT": "0",
        "SURGELINE_LOG_FORMAT": "text",  # `watch` shows their lines to people
        **os.environ,
        **(overrides or {}),
        "SURGELINE_KAFKA_URL": servers.kafka,
        "SURGELINE_REDIS_URL": servers.redis_url,
        "SURGELINE_CLOCK": clock,
        "SURGELINE_PARTITIONS": str(partitions),
        "SURGELINE_HTTP_HOST": LOOPBACK,
        "SURGELINE_WORKER_PORT": "0",
        "SURGELINE_EXPORTER_PORT": "0",
        "SURGELINE_NOTIFIER_PORT": "0",
        "SURGELINE_RESOLVER_PORT": "0",
        "SURGELINE_BOARD_HOST": LOOPBACK,
        "SURGELINE_BOARD_PORT": str(board_port),
        "SURGELINE_COLLECTOR_HOST": LOOPBACK,
        "SURGELINE_REPLICATION": "1",
        **{variable(name): "" for name in ACCESS},
    }
    surgeline = (sys.executable, "-m", "stream.cli.main")
    made = servers.directory
    stack = Stack(
        servers,
        [
            Member(f"worker-{n + 1}", (*surgeline, "worker"), "/readyz", environment, made)
            for n in range(workers)
        ],
        Member("exporter", (*surgeline, "exporter"), "/healthz", environment, made),
        Member("board", (*surgeline, "board"), "/healthz", environment, made),
        Member("resolver", (*surgeline, "resolver"), "/readyz", environment, made),
        Member("collector", (*surgeline, "collector"), "/readyz", environment, made),
    )
    if environment.get("SURGELINE_ROUTES"):
        stack.notifier = Member("notifier", (*surgeline, "notifier"), "/healthz", environment, made)
    try:
        await asyncio.gather(*(member.start() for member in stack.members))
        deadline = time.monotonic() + READY_SECONDS
        await asyncio.gather(*(member.ready(deadline) for member in stack.members))
        yield stack
    finally:
        await stack.stop()


def _board_port() -> int:
    """Return the port of the board: as set, else the usual one, else, where it is taken, any.

    Chosen before anything starts, because alerts link to it.
    """
    chosen = os.environ.get("SURGELINE_BOARD_PORT", "")
    if chosen not in ("", "0"):
        return load_settings(embedded=True).board_port
    usual: int = Settings.model_fields["board_port"].default
    return usual if not chosen and is_free(usual) else free_port()


def write_ready_file(path: Path, stack: Stack) -> None:
    """Write the addresses of *stack* as JSON to *path*, wholly or not at all."""
    scratch = path.with_name(f".{path.name}.{os.getpid()}")
    scratch.write_text(json.dumps(stack.addresses) + "\n", encoding="utf-8")
    scratch.replace(path)
