"""The processes that are measured: a rival's, and the real worker's."""

import asyncio
import contextlib
import os
import sys
import time
import urllib.error
import urllib.request
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import msgspec
from prometheus_client import Metric
from prometheus_client.parser import text_string_to_metric_families

from stream.child import Child
from tests.bench.meter import Report, Usage, usage_of
from tests.bench.plan import Plan

REPOSITORY = Path(__file__).resolve().parents[2]
POLL_SECONDS = 0.05
READY_SECONDS = 60.0


class NotMeasured(Exception):
    """A measured process ended early or took too long; the text carries its last lines."""


def environment(plan: Plan | None = None) -> dict[str, str]:
    """Return this process's environment with *plan*'s settings in place of any others."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("SURGELINE_")}
    paths = [str(REPOSITORY), *filter(None, [kept.get("PYTHONPATH")])]
    own = {} if plan is None else plan.environment
    return kept | {"PYTHONPATH": os.pathsep.join(paths)} | own


async def run_rival(plan: Plan, directory: Path, *, deadline_seconds: float) -> Report:
    """Run the row of *plan* in a process of its own and return its report."""
    told = plan.started_now()
    command = [sys.executable, "-m", "tests.bench.rivals", msgspec.json.encode(told).decode()]
    child = Child(
        f"row {plan.row}",
        command,
        log_path=directory / f"{plan.group}.log",
        environment=environment(),
        directory=directory,
    )
    await child.start()
    try:
        await asyncio.wait_for(child.wait(), deadline_seconds)
    except TimeoutError:
        raise NotMeasured(
            f"Row {plan.row} did not end within {deadline_seconds:.0f} s. {child.last_lines()}"
        ) from None
    finally:
        await child.stop()
    if not plan.report_path.exists():
        raise NotMeasured(f"Row {plan.row} reported nothing. {child.last_lines()}")
    return msgspec.json.decode(plan.report_path.read_bytes(), type=Report)


@dataclass
class Worker:
    """A running `surgeline worker`."""

    child: Child
    port_file: Path
    started_at: float
    """Unix seconds."""

    @property
    def pid(self) -> int:
        assert self.child.pid is not None
        return self.child.pid

    def usage(self) -> Usage:
        """Return what it has used. Raise NotMeasured when it has ended."""
        self.check()
        return usage_of(self.pid)

    def check(self) -> None:
        """Raise NotMeasured when it has ended."""
        if not self.child.alive:
            raise NotMeasured(f"The worker has ended. {self.child.last_lines()}")

    async def ready(self) -> None:
        """Wait until it scores."""
        give_up_at = time.monotonic() + READY_SECONDS
        while await asyncio.to_thread(self._get, "/readyz") is None:
            self.check()
            if time.monotonic() > give_up_at:
                raise NotMeasured(f"The worker does not get ready. {self.child.last_lines()}")
            await asyncio.sleep(POLL_SECONDS)

    async def metrics(self) -> dict[str, Metric]:
        """Return its metrics by name."""
        text = await asyncio.to_thread(self._get, "/metrics")
        if text is None:
            raise NotMeasured("The worker's metrics endpoint does not answer.")
        return {family.name: family for family in text_string_to_metric_families(text)}

    async def outcomes(self) -> dict[str, int]:
        """Return how many records came to which outcome."""
        found: dict[str, int] = {}
        for sample in (await self.metrics())["surgeline_events"].samples:
            if sample.name == "surgeline_events_total":
                outcome = sample.labels["outcome"]
                found[outcome] = found.get(outcome, 0) + int(sample.value)
        return found

    def _get(self, path: str) -> str | None:
        try:
            port = self.port_file.read_text()
            with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=5.0) as answer:
                return str(answer.read().decode())
        except (OSError, ValueError, urllib.error.URLError):
            return None


async def start_worker(plan: Plan, directory: Path, *, name: str = "") -> Worker:
    """Start the real command with the settings of *plan*; *name* tells several of a group apart."""
    own = f"{plan.group}{name}"
    port_file = directory / f"{own}.port"
    port_file.unlink(missing_ok=True)
    command = [sys.executable, "-m", "stream.cli.main", "worker", "--port-file", str(port_file)]
    child = Child(
        "worker",
        command,
        log_path=directory / f"{own}.log",
        environment=environment(plan),
        directory=directory,
    )
    started_at = time.time()
    await child.start()
    return Worker(child, port_file, started_at)


@contextlib.asynccontextmanager
async def running_worker(plan: Plan, directory: Path, *, name: str = "") -> AsyncIterator[Worker]:
    """Run the real command with the settings of *plan*; *name* as in `start_worker`."""
    worker = await start_worker(plan, directory, name=name)
    try:
        yield worker
    finally:
        await worker.child.stop(grace_seconds=15.0)
