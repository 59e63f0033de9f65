"""Where a test's server runs: in a process of ours, in a container, or where a URL says."""

import functools
import importlib
import os
import signal
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from stream.leash import leashed
from tests.kafka_node import ServerUnavailable

STOP_SECONDS = 30.0


class NotOurs(Exception):
    """A server given by URL cannot be stopped, killed or paused by a test."""


class Host(Protocol):
    """What a test can do to a server from outside. Ending it keeps its data and its address."""

    @property
    def pid(self) -> int: ...

    @property
    def alive(self) -> bool: ...

    def start(self) -> None: ...

    def stop(self) -> None: ...

    def kill(self) -> None: ...

    def pause(self) -> None: ...

    def resume(self) -> None: ...

    def log(self) -> str: ...

    def close(self) -> None: ...


class LocalProcess:
    """A server process on a leash, so that it ends with the test process however that ends."""

    def __init__(
        self,
        command: Sequence[str],
        *,
        directory: Path,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self._command = tuple(command)
        self._directory = directory
        self._environment = environment
        self._log_path = directory / "server.log"
        self._leash: subprocess.Popen[bytes] | None = None
        self._hold = -1
        self._pid = 0

    @property
    def pid(self) -> int:
        if not self.alive:  # its number may be somebody else's by now
            raise RuntimeError(f"{self._command[0]} does not run.")
        return self._pid

    @property
    def alive(self) -> bool:
        return self._leash is not None and self._leash.poll() is None

    def start(self) -> None:
        if self.alive:
            raise RuntimeError(f"{self._command[0]} runs already.")
        self._ended()
        leash_input, self._hold = os.pipe()
        report, report_to = os.pipe()
        try:
            with self._log_path.open("ab") as log:
                self._leash = subprocess.Popen(
                    leashed(self._command, report_to=report_to),
                    stdin=leash_input,
                    stdout=log,
                    stderr=subprocess.STDOUT,
                    pass_fds=(report_to,),
                    env=self._environment,
                    cwd=self._directory,
                    start_new_session=True,
                )
        finally:
            os.close(leash_input)
            os.close(report_to)
        with os.fdopen(report, "rb") as answer:
            line = answer.readline()
        if not line:
            self._ended()
            raise ServerUnavailable(f"{self._command[0]} did not start: {self.log()}")
        self._pid = int(line)

    def stop(self) -> None:
        if self._leash is not None and self.alive:
            self.resume()
            self._leash.send_signal(signal.SIGTERM)
            try:
                self._leash.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                self.kill()
        self._ended()

    def kill(self) -> None:
        if self.alive:
            os.kill(self.pid, signal.SIGKILL)
        self._ended()

    def pause(self) -> None:
        os.kill(self.pid, signal.SIGSTOP)

    def resume(self) -> None:
        os.kill(self.pid, signal.SIGCONT)

    def log(self) -> str:
        return self._log_path.read_text(encoding="utf-8", errors="replace")

    def close(self) -> None:
        self.stop()

    def _ended(self) -> None:
        if self._leash is not None:
            self._leash.wait()
        if self._hold >= 0:
            os.close(self._hold)
        self._hold = -1


class Container:
    """A container of testcontainers; its reaper removes it when the test process is gone.

    *container* publishes its ports at fixed host ports, or a restart would move them.
    """

    def __init__(self, container: Any) -> None:
        self._container = container
        self._created = False

    @property
    def pid(self) -> int:
        return int(self._state()["Pid"])

    @property
    def alive(self) -> bool:
        return self._created and bool(self._state()["Running"])

    def start(self) -> None:
        if self._created:
            self._container.get_wrapped_container().start()
        else:
            self._container.start()
            self._created = True

    def stop(self) -> None:
        if self.alive:
            self.resume()
            self._container.get_wrapped_container().stop(timeout=int(STOP_SECONDS))

    def kill(self) -> None:
        if self.alive:
            self._container.get_wrapped_container().kill(signal="SIGKILL")
            self._container.get_wrapped_container().wait()

    def pause(self) -> None:
        self._container.get_wrapped_container().pause()

    def resume(self) -> None:
        if self._state()["Paused"]:
            self._container.get_wrapped_container().unpause()

    def log(self) -> str:
        text: bytes = self._container.get_wrapped_container().logs()
        return text.decode(errors="replace")

    def close(self) -> None:
        self._container.stop()

    def _state(self) -> dict[str, Any]:
        container = self._container.get_wrapped_container()
        container.reload()
        state: dict[str, Any] = container.attrs["State"]
        return state


class Given:
    """A server that somebody else runs."""

    def __init__(self, url: str) -> None:
        self._url = url

    @property
    def pid(self) -> int:
        raise self._not_ours()

    @property
    def alive(self) -> bool:
        return True

    def start(self) -> None:
        """Do nothing: it runs."""

    def stop(self) -> None:
        raise self._not_ours()

    def kill(self) -> None:
        raise self._not_ours()

    def pause(self) -> None:
        raise self._not_ours()

    def resume(self) -> None:
        raise self._not_ours()

    def log(self) -> str:
        return ""

    def close(self) -> None:
        """Do nothing: it goes on."""

    def _not_ours(self) -> NotOurs:
        return NotOurs(
            f"{self._url} was given by URL; tests that end or pause a server need own=True."
        )


@functools.cache
def docker_answers() -> bool:
    """Return whether testcontainers is installed and a Docker daemon answers."""
    try:
        importlib.import_module("testcontainers")
        docker = importlib.import_module("docker")
    except ImportError:
        return False
    try:
        client = docker.from_env(timeout=5)
    except docker.errors.DockerException:
        return False
    try:
        return bool(client.ping())
    except (docker.errors.DockerException, OSError):
        return False
    finally:
        client.close()


def docker_host() -> str:
    """Return the address at which published ports of containers are reached."""
    client = importlib.import_module("testcontainers.core.docker_client").DockerClient()
    host = str(client.host())
    return "127.0.0.1" if host == "localhost" else host


def docker_container(image: str) -> Any:
    """Return a container that is not created yet, to be given ports, environment and command."""
    return importlib.import_module("testcontainers.core.container").DockerContainer(image)
