"""`surgeline up`: a whole Surgeline in one terminal, and nothing left of it afterwards."""

import json
import os
import signal
import urllib.request
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.system.harness import (
    AS_OF,
    END_SECONDS,
    PATIENCE,
    Json,
    Up,
    alive,
    differences,
    environment,
    eventually,
    market,
    rows,
    run,
    running,
    write_lines,
)

pytestmark = [pytest.mark.embedded]

ENDINGS = (signal.SIGINT, signal.SIGTERM, signal.SIGKILL)
WORKERS = 2


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Up]:
    """Give a stack with two workers, for what does not end it."""
    directory = tmp_path_factory.mktemp("stack")
    with running(directory, "--clock", "event", "--workers", str(WORKERS)) as up:
        up.wait_ready()
        yield up


@pytest.fixture(scope="module")
def stacks_to_end(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[signal.Signals, Up]]:
    """Give one stack for each way to end, started side by side since each start mostly waits."""
    with ExitStack() as all_of_them:
        ups = {
            each: all_of_them.enter_context(running(tmp_path_factory.mktemp(each.name)))
            for each in ENDINGS
        }
        for up in ups.values():
            up.wait_ready()
        yield ups


@pytest.fixture(scope="module")
def events(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Give the halves of a market's events as files."""
    directory, told = tmp_path_factory.mktemp("events"), market(seed=1)
    half = len(told) // 2
    first = write_lines(directory / "first.jsonl", told[:half])
    return first, write_lines(directory / "second.jsonl", told[half:])


def reference(*files: Path) -> list[Json]:
    """Return the accounts as the core alone scores *files*."""
    names = [str(each) for each in files]
    return rows(run("score", *names, "--as-of", AS_OF, "--json", env=environment()))


def stored(up: Up) -> list[Json]:
    return rows(up.command("top", "--all", "--as-of", AS_OF, "--json"))


@pytest.fixture(scope="module")
def replayed(stack: Up, events: tuple[Path, Path]) -> list[Json]:
    """Give the accounts that the stack scored from the first half of the events."""
    stack.command("replay", str(events[0]), "--wait")
    return stored(stack)


def test_ready_file_tells_other_commands_where_the_servers_are(stack: Up) -> None:
    topics = rows(stack.command("topics", "--json"))

    assert all(each["declared"] for each in topics)


def test_two_workers_score_everything_once(replayed: list[Json], events: tuple[Path, Path]) -> None:
    assert differences(replayed, reference(events[0])) == []


def test_exporter_counts_every_target_account_once(stack: Up, replayed: list[Json]) -> None:
    with urllib.request.urlopen(stack.addresses()["exporter"], timeout=10) as answer:
        lines = answer.read().decode().splitlines()

    counted = [line for line in lines if line.startswith("surgeline_funnel_accounts{")]
    assert sum(float(line.rpartition(" ")[2]) for line in counted) == len(replayed)


def test_funnel_command_agrees_with_the_exporter(stack: Up, replayed: list[Json]) -> None:
    with urllib.request.urlopen(stack.addresses()["exporter"], timeout=10) as answer:
        lines = answer.read().decode().splitlines()
    exported: Counter[str] = Counter()
    for line in lines:
        if line.startswith("surgeline_funnel_accounts{"):
            stage = line.partition('stage="')[2].partition('"')[0]
            exported[stage] += int(float(line.rpartition(" ")[2]))

    (found,) = rows(stack.command("funnel", "--json"))

    assert found["stages"] == dict(exported)
    assert sum(found["stages"].values()) == len(replayed)


@pytest.mark.usefixtures("replayed")
def test_killed_worker_is_started_again_and_scores_go_on(
    stack: Up, events: tuple[Path, Path]
) -> None:
    before = stack.workers()
    os.kill(before[0], signal.SIGKILL)
    assert eventually(
        lambda: len(stack.workers()) == WORKERS and stack.workers() != before, within_seconds=10
    )

    stack.command("replay", str(events[1]), "--wait")

    assert differences(stored(stack), reference(*events)) == []
    assert "starting it again" in stack.log()


@pytest.mark.parametrize("how", ENDINGS[:2], ids=lambda each: each.name)
def test_signal_to_its_process_alone_ends_everything(
    stacks_to_end: dict[signal.Signals, Up], how: signal.Signals
) -> None:
    up = stacks_to_end[how]
    family = up.descendants()
    assert family

    up.process.send_signal(how)

    assert up.process.wait(PATIENCE * END_SECONDS) == 0
    assert alive(family) == []
    assert not up.ready_file.exists()
    assert list(up.temporary.iterdir()) == []


def test_killed_stack_leaves_no_process(stacks_to_end: dict[signal.Signals, Up]) -> None:
    up = stacks_to_end[signal.SIGKILL]
    family = up.descendants()
    assert family

    up.process.kill()
    up.process.wait()

    assert eventually(lambda: not alive(family), within_seconds=15), alive(family)


def test_signal_during_the_start_leaves_nothing(tmp_path: Path) -> None:
    with running(tmp_path) as up:
        assert eventually(up.workers, within_seconds=30)
        family = up.descendants()

        up.process.terminate()

        assert up.process.wait(PATIENCE * END_SECONDS) == 0
        assert alive(family) == []
        assert list(up.temporary.iterdir()) == []


def test_ready_file_is_one_json_object(stack: Up) -> None:
    assert set(json.loads(stack.ready_file.read_text())) == {
        "kafka",
        "redis",
        "exporter",
        "board",
        "collector",
    }
