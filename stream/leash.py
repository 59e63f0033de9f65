"""A leash: a small process that ends its child when its own parent dies, however it dies.

    python -m stream.leash [--grace SECONDS] -- COMMAND [ARGUMENT...]

The leash reads its standard input, a pipe whose other end only the parent holds. No process can
die without closing its pipes, not even by SIGKILL; when this one closes, the leash sends the child
SIGTERM, and SIGKILL after the grace period. SIGTERM and SIGINT are passed on to the child; SIGUSR1
kills it at once, since SIGKILL cannot be passed on. The leash ends with the child's exit code, or
with 128 plus the number of the signal that ended the child; 126 and 127 mean that the command
could not be started.

On Linux the kernel also kills the child when the leash itself is killed.
"""

import argparse
import contextlib
import ctypes
import math
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence

STANDARD_INPUT = 0
PR_SET_PDEATHSIG = 1
EXIT_NOT_EXECUTABLE = 126
EXIT_NOT_FOUND = 127


def leashed(
    command: Sequence[str], *, grace_seconds: float = 5.0, report_to: int | None = None
) -> list[str]:
    """Return *command* put on a leash, as arguments for `subprocess.Popen`.

    The caller gives the leash a pipe as standard input and keeps the writing end for itself.
    *report_to* is a file descriptor passed on to the leash (`pass_fds`): it writes the child's
    process id there, as decimal digits and a newline, and holds it open until it ends. Its end
    without a process id means that the command could not be started.

    The leash runs isolated from PYTHON* variables, site packages and the working directory, so
    that it starts fast and the same everywhere; the child gets the environment unchanged.
    """
    report = [] if report_to is None else ["--report-to", str(report_to)]
    leash = [sys.executable, "-I", "-S", os.path.abspath(__file__)]  # noqa: PTH100 - pathlib is slow to import
    return [*leash, "--grace", str(grace_seconds), *report, "--", *command]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command given in *arguments* (default: the process's own) and return its exit code."""
    options = _parse(arguments)
    received: list[int] = []
    wake = _signals_into(received)
    try:
        child = subprocess.Popen(  # noqa: S603 - to run what it is given is its purpose
            options.command,
            stdin=subprocess.DEVNULL,
            preexec_fn=_dying_with_parent(),  # noqa: PLW1509 - the leash has no threads
        )
    except OSError as error:
        print(f"{options.command[0]} could not be started: {error.strerror}.", file=sys.stderr)  # noqa: T201
        return EXIT_NOT_FOUND if isinstance(error, FileNotFoundError) else EXIT_NOT_EXECUTABLE
    if options.report_to is not None:
        _report(child.pid, options.report_to)
    exit_code = _hold(child, received=received, wake=wake, grace_seconds=options.grace)
    return exit_code if exit_code >= 0 else 128 - exit_code


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m stream.leash",
        description="Run a command that ends when standard input closes.",
    )
    parser.add_argument("--grace", type=float, default=5.0, metavar="SECONDS")
    parser.add_argument("--report-to", type=int, metavar="FD", help=argparse.SUPPRESS)
    parser.add_argument("command", nargs="+", metavar="COMMAND")
    return parser.parse_args(arguments)


def _signals_into(received: list[int]) -> int:
    """Collect signals in *received*; return a descriptor that is readable after each of them."""
    wake, wake_writer = os.pipe()
    os.set_blocking(wake, False)
    os.set_blocking(wake_writer, False)
    signal.set_wakeup_fd(wake_writer, warn_on_full_buffer=False)
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1, signal.SIGCHLD):
        signal.signal(number, lambda caught, _frame: received.append(caught))
    return wake


def _dying_with_parent() -> Callable[[], None] | None:
    """Return what the child does before it runs the command, None where the kernel cannot help."""
    if not sys.platform.startswith("linux"):
        return None
    try:
        prctl = ctypes.CDLL(None).prctl
    except (OSError, AttributeError):  # a statically linked Python
        return None
    leash = os.getpid()

    def ask_the_kernel() -> None:
        prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != leash:  # it died before the kernel was asked
            os._exit(1)

    return ask_the_kernel


def _report(process_id: int, descriptor: int) -> None:
    with contextlib.suppress(BrokenPipeError):  # no parent any more: standard input says so too
        os.write(descriptor, f"{process_id}\n".encode())


def _hold(
    child: subprocess.Popen[bytes], *, received: list[int], wake: int, grace_seconds: float
) -> int:
    """Wait for *child* to end, whether by itself, by a signal or because the parent is gone."""
    watched = [wake, STANDARD_INPUT]
    kill_at = math.inf
    while child.poll() is None:
        timeout = None if kill_at == math.inf else max(0.0, kill_at - time.monotonic())
        readable, _, _ = select.select(watched, [], [], timeout)
        if wake in readable:
            os.read(wake, 512)
            _pass_on(received, child)
        if STANDARD_INPUT in readable and _closed(STANDARD_INPUT):
            watched.remove(STANDARD_INPUT)
            child.terminate()
            kill_at = time.monotonic() + grace_seconds
        if time.monotonic() >= kill_at:
            child.kill()
            kill_at = math.inf
    return child.returncode


def _pass_on(received: list[int], child: subprocess.Popen[bytes]) -> None:
    while received:
        number = received.pop(0)
        if number == signal.SIGUSR1:
            child.kill()
        elif number != signal.SIGCHLD:
            child.send_signal(number)


def _closed(descriptor: int) -> bool:
    try:
        return not os.read(descriptor, 4096)
    except OSError:  # a terminal that is gone
        return True


if __name__ == "__main__":
    sys.exit(main())
