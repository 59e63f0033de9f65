"""Surgeline as its users have it: commands run as processes, answers read as JSON.

Nothing of the project is imported here, so that what these tests say holds for an installation.
"""

import contextlib
import datetime as dt
import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

Json = dict[str, Any]

SURGELINE = Path(sys.executable).with_name("surgeline")
COMMAND_SECONDS = 60.0
READY_SECONDS = 60.0
END_SECONDS = 20.0
PATIENCE = 4.0
"""How many times longer than it should take a test waits before it gives up.

Machines are shared, and may stand still for seconds. How fast something is, benchmarks say.
"""

START = dt.datetime(2024, 1, 1, tzinfo=dt.UTC)
"""Before every event of `market`."""
AS_OF = "2024-03-01T00:00:00Z"
"""After every event of `market`."""


def environment(**settings: str) -> dict[str, str]:
    """Return this process's environment with no other Surgeline settings than *settings*."""
    inherited = {k: v for k, v in os.environ.items() if not k.startswith("SURGELINE_")}
    own = {"SURGELINE_BOARD_PORT": "0", "SURGELINE_COLLECTOR_PORT": "0"}  # stacks run side by side
    return own | inherited | settings


def run(*arguments: str, env: Mapping[str, str]) -> str:
    """Run a command to its end and return its standard output; it must not fail."""
    done = subprocess.run(
        [SURGELINE, *arguments],
        capture_output=True,
        text=True,
        env=env,
        timeout=PATIENCE * COMMAND_SECONDS,
        check=False,
    )
    assert done.returncode == 0, f"surgeline {arguments[0]}: {done.stderr}"
    return done.stdout


def rows(output: str) -> list[Json]:
    """Return the objects that a command printed with --json."""
    return [json.loads(line) for line in output.splitlines()]


def eventually(
    condition: Callable[[], object], *, within_seconds: float, every_seconds: float = 0.05
) -> bool:
    """Return whether *condition* comes true, which should take no more than *within_seconds*."""
    return _comes_true(condition, PATIENCE * within_seconds, every_seconds)


def never(condition: Callable[[], object], *, for_seconds: float) -> bool:
    """Return whether *condition* stays false for so long."""
    return not _comes_true(condition, for_seconds, every_seconds=0.05)


def _comes_true(condition: Callable[[], object], seconds: float, every_seconds: float) -> bool:
    give_up_at = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > give_up_at:
            return False
        time.sleep(every_seconds)
    return True


class Process(NamedTuple):
    """One line of ps."""

    pid: int
    parent: int
    command: str


def processes() -> list[Process]:
    """Return all processes that run; those that only wait to be asked for their end are left out."""
    listed = subprocess.run(
        ["ps", "-A", "-o", "pid=,ppid=,stat=,command="], capture_output=True, text=True, check=True
    )
    found = []
    for line in listed.stdout.splitlines():
        pid, parent, state, command = line.split(maxsplit=3)
        if not state.startswith("Z"):
            found.append(Process(int(pid), int(parent), command))
    return found


class Up:
    """A running `surgeline up`, its temporary files in a directory of its own."""

    def __init__(self, directory: Path, *options: str, **settings: str) -> None:
        self.temporary = directory / "temporary"
        self.temporary.mkdir()
        self.ready_file = directory / "ready.json"
        self._log_path = directory / "up.log"
        with self._log_path.open("wb") as log:
            self.process = subprocess.Popen(
                [SURGELINE, "up", "--ready-file", str(self.ready_file), *options],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=environment(TMPDIR=str(self.temporary), **settings),
                start_new_session=True,  # no signal but those that a test sends to it alone
            )

    def wait_ready(self) -> None:
        """Wait for the ready file."""
        eventually(
            lambda: self.ready_file.exists() or self.process.poll() is not None,
            within_seconds=READY_SECONDS,
        )
        assert self.ready_file.exists(), self.log()

    def log(self) -> str:
        """Return what it has printed so far."""
        return self._log_path.read_text(encoding="utf-8", errors="replace")

    def addresses(self) -> dict[str, str]:
        """Return the content of the ready file."""
        found: dict[str, str] = json.loads(self.ready_file.read_text(encoding="utf-8"))
        return found

    def environment(self) -> dict[str, str]:
        """Return the environment in which other commands find its servers."""
        at = self.addresses()
        return environment(SURGELINE_KAFKA_URL=at["kafka"], SURGELINE_REDIS_URL=at["redis"])

    def command(self, *arguments: str) -> str:
        """Run another command on its servers."""
        return run(*arguments, env=self.environment())

    def descendants(self) -> list[Process]:
        """Return every process below it."""
        family, everyone = {self.process.pid}, processes()
        while more := {p.pid for p in everyone if p.parent in family} - family:
            family |= more
        return [p for p in everyone if p.pid in family and p.pid != self.process.pid]

    def workers(self) -> list[int]:
        """Return the process ids of its workers."""
        mine = [p for p in self.descendants() if "stream.cli.main worker" in p.command]
        return sorted(p.pid for p in mine if "leash" not in p.command)

    def close(self) -> None:
        """End it, by force when it does not end in time."""
        family = self.descendants()
        self.process.terminate()
        try:
            self.process.wait(PATIENCE * END_SECONDS)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            for each in alive(family):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(each.pid, signal.SIGKILL)


def alive(family: Sequence[Process]) -> list[Process]:
    """Return those of *family* that still run."""
    now = {(each.pid, each.command) for each in processes()}
    return [each for each in family if (each.pid, each.command) in now]


@contextlib.contextmanager
def running(directory: Path, *options: str) -> Iterator[Up]:
    """Run `surgeline up` with *options* until the end of the block."""
    up = Up(directory, *options)
    try:
        yield up
    finally:
        up.close()


def market(seed: int, *, accounts: int = 20, events: int = 1_500) -> list[Json]:
    """Return *events* of two months in order of time: target accounts, visits, mails, deals.

    One in fifty comes twice.
    """
    rng = random.Random(seed)
    names = [f"account-{n:02}" for n in range(accounts)]
    told: list[Json] = [
        _event(n, START, type="account", action="upserted", account_id=name, target=True, tier=1)
        for n, name in enumerate(names)
    ]
    steps = sorted(rng.uniform(0, 59 * 86_400) for _ in range(events))
    for number, seconds in enumerate(steps, start=len(told)):
        at = START + dt.timedelta(seconds=round(seconds, 3))
        name = names[min(int(rng.expovariate(0.2)), accounts - 1)]
        told.append(_event(number, at, account_id=name, **_happening(rng)))
        if rng.random() < 0.02:
            told.append(told[-1])
    return told


def _event(number: int, at: dt.datetime, **fields: Any) -> Json:
    return {"id": f"e{number}", "source": "system-test", "time": at.isoformat(), **fields}


def _happening(rng: random.Random) -> Json:
    contact = rng.choice(["ann", "bob", "cy"])
    kind = rng.choice(["visit", "visit", "visit", "mail", "mail", "meeting", "intent", "deal"])
    if kind == "visit":
        page = rng.choice(["pricing", "docs/api", "product", "", "careers"])
        seconds = round(rng.uniform(0, 300), 1)
        return {
            "type": "page_visit",
            "url": f"https://x.example/{page}",
            "duration_seconds": seconds,
        }
    if kind == "mail":
        direction = rng.choice(["inbound", "outbound"])
        return {"type": "email", "action": "sent", "direction": direction, "contact_id": contact}
    if kind == "meeting":
        return {"type": "meeting", "action": "held", "meeting_id": "m", "attendee_ids": [contact]}
    if kind == "intent":
        return {"type": "intent", "topic": "crm", "strength": 2.0}
    action = rng.choice(["opened", "updated", "won", "lost"])
    deal = rng.choice(["o1", "o2"])
    return {"type": "opportunity", "action": action, "opportunity_id": deal, "kind": "new"}


def write_lines(path: Path, events: Sequence[Json]) -> Path:
    """Write *events* as JSON lines to *path* and return it."""
    path.write_text("".join(f"{json.dumps(each)}\n" for each in events), encoding="utf-8")
    return path


SCORES = ("engagement", "engagement_minutes", "intent_surge", "relationship")
FACTS = ("contacts", "events", "first_event_at", "last_event_at", "target", "tier", "owner_id")


def differences(stream: Sequence[Json], reference: Sequence[Json]) -> list[str]:
    """Return what differs between two lists of accounts; scores may by 1e-9, facts by nothing."""
    ours = {each["account_id"]: each for each in stream}
    theirs = {each["account_id"]: each for each in reference}
    found = [f"only one of them has {name}" for name in sorted(ours.keys() ^ theirs.keys())]
    for name in sorted(ours.keys() & theirs.keys()):
        mine, other = ours[name], theirs[name]
        wrong = [each for each in SCORES if abs(mine[each] - other[each]) > 1e-9]
        wrong += [each for each in FACTS if mine[each] != other[each]]
        found += [f"{name}.{each}: {mine[each]!r} is not {other[each]!r}" for each in wrong]
    return found
