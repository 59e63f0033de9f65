"""The meter: CPU and memory of a process, and what the figures were measured on."""

import importlib.metadata
import os
import platform
import resource
import subprocess
import sys
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

MEASURED_PACKAGES = ("faust-streaming", "aiokafka", "redis", "pydantic", "msgspec", "uvloop")


@dataclass(frozen=True)
class Usage:
    """What a process has used since its start."""

    cpu_seconds: float
    """User and system time of all its threads."""
    peak_bytes: int


def own_usage() -> Usage:
    """Return what this process has used."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    unit = 1 if sys.platform == "darwin" else 1_024
    return Usage(used.ru_utime + used.ru_stime, used.ru_maxrss * unit)


def usage_of(pid: int) -> Usage:
    """Return what the process *pid* has used.

    Where there is no /proc, the peak is its memory at this moment.
    """
    proc = Path(f"/proc/{pid}")
    if not proc.is_dir():
        return _usage_by_ps(pid)
    after_name = (proc / "stat").read_text().rpartition(")")[2].split()
    ticks = int(after_name[11]) + int(after_name[12])
    status = (proc / "status").read_text()
    peak = status.partition("VmHWM:")[2].split(maxsplit=1)[0]
    return Usage(ticks / os.sysconf("SC_CLK_TCK"), int(peak) * 1_024)


def _usage_by_ps(pid: int) -> Usage:
    asked = ["ps", "-o", "time=,rss=", "-p", str(pid)]
    cpu, rss = subprocess.run(asked, capture_output=True, text=True, check=True).stdout.split()
    seconds = 0.0
    for part in cpu.replace("-", ":").split(":"):
        seconds = seconds * 60 + float(part)
    return Usage(seconds, int(rss) * 1_024)


@dataclass
class Report:
    """One run of one row."""

    handled: int = 0
    """Records seen to: completeness shows in this number."""
    invalid: int = 0
    seconds: float = 0.0
    """From the first event handled to the last."""
    cpu_seconds: float = 0.0
    """CPU of the measured process in that time."""
    measured: int = 0
    """Records handled in that time."""
    peak_bytes: int = 0
    warm_seconds: float = 0.0
    """From the start of the process to the first event handled."""
    outcomes: dict[str, int] = field(default_factory=dict)

    @property
    def per_second(self) -> float:
        return self.measured / self.seconds if self.seconds else 0.0

    @property
    def cpu_microseconds(self) -> float:
        return self.cpu_seconds / self.measured * 1e6 if self.measured else 0.0

    def as_json(self) -> dict[str, Any]:
        return {
            **asdict(self),
            "events_per_second": round(self.per_second, 1),
            "cpu_microseconds_per_event": round(self.cpu_microseconds, 2),
        }


class Stopwatch:
    """Counts the records that this process handles, and measures from the first to the last."""

    def __init__(self, expected: int, *, started_at: float) -> None:
        self.expected = expected
        self.handled = 0
        self.invalid = 0
        self._started_at = started_at  # time.time() of the parent process
        self._warm = 0.0
        self._from: tuple[float, Usage] | None = None
        self._until: tuple[float, Usage, int] | None = None

    def begin(self) -> None:
        """Note that a record is about to be handled."""
        if self._from is None:
            self._warm = time.time() - self._started_at
            self._from = time.perf_counter(), own_usage()

    def add(self, records: int) -> bool:
        """Note that *records* were handled; tell whether those were the last."""
        self.handled += records
        if self._until is None and self.handled >= self.expected:
            self._until = time.perf_counter(), own_usage(), self.handled
        return self._until is not None

    def report(self) -> Report:
        """Return what was measured."""
        assert self._from is not None
        assert self._until is not None
        (began, before), (ended, after, handled) = self._from, self._until
        return Report(
            handled=handled,
            invalid=self.invalid,
            seconds=ended - began,
            cpu_seconds=after.cpu_seconds - before.cpu_seconds,
            measured=handled,
            peak_bytes=after.peak_bytes,
            warm_seconds=self._warm,
        )


def machine() -> dict[str, Any]:
    """Return what the figures depend on besides the program."""
    return {
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.machine()}",
        "cpus": os.cpu_count(),
        "load_average": [round(each, 2) for each in os.getloadavg()],
        "packages": {name: importlib.metadata.version(name) for name in MEASURED_PACKAGES},
    }
