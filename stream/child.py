"""A process that ends with this one, whatever happens: what `surgeline up` is made of."""

import asyncio
import os
import signal
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from stream.errors import ProcessNotStarted
from stream.leash import leashed

KILL_SECONDS = 5.0


class Child:
    """One process on a leash, in a session of its own, its output in a file.

    It gets no signals from the terminal, ends when this process ends, and is given
    *leash_grace_seconds* to do so. *environment* replaces this process's own when given.
    """

    def __init__(
        self,
        name: str,
        command: Sequence[str],
        *,
        log_path: Path,
        environment: Mapping[str, str] | None = None,
        directory: Path | None = None,
        leash_grace_seconds: float = 5.0,
    ) -> None:
        self.name = name
        self.command = tuple(command)
        self.log_path = log_path
        self._environment = environment
        self._directory = directory
        self._leash_grace_seconds = leash_grace_seconds
        self._leash: subprocess.Popen[bytes] | None = None
        self._report = -1  # readable when there is news of the child: its id, then its end
        self._hold = -1  # the leash ends the child when this closes
        self._pid: int | None = None

    @property
    def pid(self) -> int | None:
        """Return the process id of the command itself, None before it was started."""
        return self._pid

    @property
    def exit_code(self) -> int | None:
        """Return the exit code (128 + signal number after a signal), None before the end."""
        return None if self._leash is None else self._leash.poll()

    @property
    def alive(self) -> bool:
        """Return whether the process was started and has not ended."""
        return self._leash is not None and self._leash.poll() is None

    async def start(self) -> None:
        """Start the process, once. Raise ProcessNotStarted when it cannot be run."""
        if self._leash is not None:
            raise RuntimeError(f"{self.name} was started before; make a new Child.")
        self._spawn()
        await _until_readable(self._report)
        report = os.read(self._report, 32)
        if not report:
            await self.stop()
            raise ProcessNotStarted(f"{self.name} did not start. {self.last_lines()}")
        self._pid = int(report)

    async def wait(self) -> int:
        """Wait for the end of the process; return its exit code."""
        if self._leash is None:
            raise RuntimeError(f"{self.name} was not started.")
        if self.alive:
            await _until_readable(self._report)
        return self._leash.wait()

    async def stop(self, *, grace_seconds: float = 5.0) -> int | None:
        """End the process, killing it after *grace_seconds*; return its exit code.

        A process that never started or has ended is left alone.
        """
        if self._leash is None:
            return None
        if self.alive:
            self._leash.send_signal(signal.SIGTERM)
            try:
                await asyncio.wait_for(self.wait(), grace_seconds)
            except TimeoutError:
                await self._kill(self._leash)
        for descriptor in (self._hold, self._report):
            if descriptor >= 0:
                os.close(descriptor)
        self._hold = self._report = -1
        return self._leash.wait()

    def last_lines(self, count: int = 20) -> str:
        """Return a sentence with the last *count* lines of the process's output."""
        try:
            text = self.log_path.read_text(encoding="utf-8", errors="replace")
        except OSError:
            text = ""
        lines = text.splitlines()[-count:]
        return "The last lines of its log:\n" + "\n".join(lines) if lines else "Its log is empty."

    async def _kill(self, leash: subprocess.Popen[bytes]) -> None:
        leash.send_signal(signal.SIGUSR1)  # its word for SIGKILL; it waits for the child to go
        try:
            await asyncio.wait_for(self.wait(), KILL_SECONDS)
        except TimeoutError:  # somebody suspended the leash as well
            os.killpg(leash.pid, signal.SIGKILL)
            await self.wait()

    def _spawn(self) -> None:
        leash_input, self._hold = os.pipe()
        self._report, report_to = os.pipe()
        command = leashed(
            self.command, grace_seconds=self._leash_grace_seconds, report_to=report_to
        )
        try:
            with self.log_path.open("ab") as log:
                self._leash = subprocess.Popen(  # noqa: S603 - no shell, our own arguments
                    command,
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


async def _until_readable(descriptor: int) -> None:
    """Wait until *descriptor* has data or its other end is closed; any number may wait."""
    loop = asyncio.get_running_loop()
    readable = asyncio.Event()
    own = os.dup(descriptor)  # a loop takes one reader for each descriptor
    loop.add_reader(own, readable.set)
    try:
        await readable.wait()
    finally:
        loop.remove_reader(own)
        os.close(own)
