"""Records that are bad, too many, too large or from another time: counted, and never in the way."""

import base64
import datetime as dt
import json
import subprocess
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from tests.place import Worker
from tests.system.faults.audit import Audit, scored_alone
from tests.system.faults.conftest import SEED, SceneOf, asked_events
from tests.system.faults.load import Load
from tests.system.faults.poison import VISITS, Poisoned, poisoned_stream, rekeyed, visit
from tests.system.faults.scene import PARTITIONS, Fault, Scene, said
from tests.system.faults.stream import Kind, Record, Stream, mixed_stream, record_of
from tests.system.harness import Json, eventually

pytestmark = [pytest.mark.faults]

LOAD_SECONDS = 15.0
BURST_BYTES = 50 * 2**20
SMALL = 2_000
BROKER_BATCH_BYTES = 1_048_588
"""Kafka's default for max.message.bytes, of a batch with all of its overhead."""
OVERHEAD_BYTES = 61 + 11
"""Of a batch, and of one record of a mebibyte in it, whose key has fewer than 64 bytes."""
CUT = "surgeline-cut"
ONE_BATCH_LIMIT = {"SURGELINE_DEAD_LETTERS_IN_A_ROW": "50"}
FAKE_TIME = (
    Path("/usr/lib/x86_64-linux-gnu/faketime/libfaketime.so.1"),
    Path("/usr/lib/aarch64-linux-gnu/faketime/libfaketime.so.1"),
)


def reasons_found(scene: Scene, expected: int) -> dict[tuple[str, int, int], list[str]]:
    """Return where each dead letter came from -> the reasons that were given."""
    read = scene.cluster.read("dead-letters", lambda found: len(found) >= expected)
    found: dict[tuple[str, int, int], list[str]] = defaultdict(list)
    for each in read:
        if "surgeline-reason" in each.headers:
            topic, partition, offset = (
                each.headers[f"surgeline-{name}"].decode()
                for name in ("topic", "partition", "offset")
            )
            found[topic, int(partition), int(offset)].append(
                each.headers["surgeline-reason"].decode()
            )
    return found


def compare_reasons(audit: Audit, scene: Scene, load: Load, reasons: dict[int, str]) -> None:
    """Each bad record must have exactly one letter, with its reason."""
    found = reasons_found(scene, scene.stream.count(Kind.BAD))
    for number, reason in reasons.items():
        at = (scene.stream.records[number].topic, *load.stored[number])
        audit.compare(f"letters of {at}", expected=1, found=len(found[at]))
        if found[at][:1] != [reason]:
            audit.blame([f"{at} is bad for {found[at]} instead of {reason}"])


def test_poison_of_every_kind_is_buried_once_and_the_rest_is_scored(scene_of: SceneOf) -> None:
    fault = Fault("5 % of the records are poison, of every kind")
    poisoned: Poisoned = poisoned_stream(asked_events(), seed=SEED)
    scene = scene_of(poisoned.stream)
    worker = scene.place.ready_worker()
    load = scene.load(seconds=LOAD_SECONDS)
    load.finish()
    scene.rekeyed = poisoned.rekeyed(PARTITIONS)
    fault.injected = len(poisoned.reasons) + poisoned.moved
    kinds = Counter(poisoned.reasons.values())
    fault.notes.append(", ".join(f"{count} {reason}" for reason, count in sorted(kinds.items())))
    fault.notes.append(f"{scene.rekeyed.total()} re-keyed")

    scene.conclude(
        fault,
        scored_alone(scene.place, scene.stream, scene.place.directory),
        more=lambda audit: compare_reasons(audit, scene, load, poisoned.reasons),
    )
    assert worker.exit_code is None, worker.log()
    assert worker.metric("surgeline_dead_letters_total") == scene.stream.count(Kind.BAD)


def test_burst_of_one_type_is_taken_in_its_stride(scene_of: SceneOf) -> None:
    fault = Fault(f"{BURST_BYTES >> 20} MB of page visits in one go")
    base = mixed_stream(SMALL, seed=SEED)
    count = asked_events() // 4
    note = "x" * (BURST_BYTES // count)
    last = dt.datetime.fromisoformat(base.as_of)
    burst = [
        visit(n, last, account_id=f"account-{n % 30:05}", note=note, contact_id=f"c{n % 3}")
        for n in range(count)
    ]
    told = [*base.records, *map(record_of, burst)]
    later = (last + dt.timedelta(days=1)).isoformat()
    scene = scene_of(Stream([], told, as_of=later))
    worker = scene.place.ready_worker()
    calm = resident_megabytes(worker)
    load = scene.load()
    with scene.recovery(fault, until=scene.beyond(len(told) - 1)):
        load.finish()
    fault.injected = count
    fault.notes.append(f"worker from {calm} to at most {resident_megabytes(worker)} MB")

    scene.conclude(fault, scored_alone(scene.place, scene.stream, scene.place.directory))
    assert worker.exit_code is None, worker.log()


def resident_megabytes(worker: Worker) -> int:
    """Return the most memory that *worker* has held by now."""
    status = Path(f"/proc/{worker.pid}/status").read_text(encoding="utf-8")
    (line,) = (each for each in status.splitlines() if each.startswith("VmHWM"))
    return int(line.split()[1]) >> 10


def largest(event: Json, key: bytes | None, kind: Kind) -> Record:
    """Return the largest record that a broker takes by default, an *event* with a long note."""
    room = BROKER_BATCH_BYTES - OVERHEAD_BYTES - len(key or b"")
    empty = json.dumps(event | {"note": ""}).encode()
    value = json.dumps(event | {"note": "x" * (room - len(empty))}).encode()
    return Record(VISITS, key, value, kind)


ACCOUNT = b"account-00003"
GOOD = visit(1, account_id=ACCOUNT.decode())
LARGEST = {
    "good": largest(GOOD, ACCOUNT, Kind.EVENT),
    "bad": largest(GOOD | {"type": "seance"}, ACCOUNT, Kind.BAD),
    "without account": largest(visit(1), ACCOUNT, Kind.UNRESOLVED),
    "without key": largest(GOOD, None, Kind.BAD),
}
"""With a key it were too large for its topic, so it is a dead letter."""


@pytest.mark.parametrize("what", LARGEST)
def test_largest_record_that_kafka_takes_does_not_stop_the_worker(
    what: str, scene_of: SceneOf
) -> None:
    fault = Fault(f"largest record that the broker takes, {what}")
    base = mixed_stream(SMALL, seed=SEED)
    told = [*base.records]
    told.insert(len(told) // 2, LARGEST[what])
    scene = scene_of(replace(base, records=told))
    worker = scene.place.ready_worker()
    scene.load(seconds=LOAD_SECONDS / 3).finish()
    scene.rekeyed = rekeyed(told, PARTITIONS)
    fault.injected += 1

    scene.conclude(fault, scored_alone(scene.place, scene.stream, scene.place.directory))
    assert said(worker, "Kafka does not take records") == [], worker.log()


def test_dead_letter_that_its_topic_is_too_small_for_does_not_stop_the_worker(
    scene_of: SceneOf,
) -> None:
    fault = Fault("dead letter larger than an older `dead-letters` takes")
    base = mixed_stream(SMALL, seed=SEED)
    told = [*base.records]
    told.insert(len(told) // 2, LARGEST["bad"])
    scene = scene_of(replace(base, records=told))
    usual = scene.cluster.settings("dead-letters")
    del usual["max.message.bytes"]
    scene.cluster.change_settings("dead-letters", usual)
    worker = scene.place.ready_worker()
    scene.load(seconds=LOAD_SECONDS / 3)
    fault.injected += 1

    scene.conclude(fault, scored_alone(scene.place, scene.stream, scene.place.directory))
    letters = scene.cluster.read("dead-letters", bool)
    assert [each.headers["surgeline-reason"] for each in letters if CUT in each.headers] == [
        b"unknown_type"
    ]
    assert worker.exit_code is None, worker.log()


def live_stream(events: int, hours: Sequence[int]) -> Poisoned:
    """Return visits of now, in turn of producers whose clocks are this many *hours* ahead."""
    now = dt.datetime.now(dt.UTC)
    records, reasons = [], {}
    for n in range(events):
        ahead = hours[n % len(hours)]
        at = now + dt.timedelta(hours=ahead, milliseconds=n)
        record = record_of(visit(n, at, account_id=f"account-{n % 50}"))
        if ahead > 0:
            reasons[n] = "in_future"
            record = record._replace(kind=Kind.BAD)
        records.append(record)
    later = (now + dt.timedelta(hours=1)).isoformat()
    return Poisoned(Stream([], records, as_of=later), reasons, 0)


def test_producers_with_wrong_clocks_are_scored_or_buried(scene_of: SceneOf) -> None:
    fault = Fault("producers' clocks an hour behind (scored) and ahead (dead letters)")
    live = live_stream(asked_events() // 5, (0, -1, 1))
    scene = scene_of(live.stream)
    worker = scene.place.ready_worker(SURGELINE_DEAD_LETTER_SHARE="0.9")
    load = scene.load(seconds=LOAD_SECONDS)
    load.finish()
    fault.injected = len(live.stream.records) * 2 // 3

    scene.conclude(
        fault,
        scored_alone(scene.place, scene.stream, scene.place.directory),
        more=lambda audit: compare_reasons(audit, scene, load, live.reasons),
    )
    assert worker.exit_code is None, worker.log()


def clock(offset: str) -> dict[str, str]:
    """Return the environment of a process whose clock is wrong by *offset*, such as "-1h"."""
    library = next((each for each in FAKE_TIME if each.is_file()), None)
    if library is None:
        pytest.skip("libfaketime is not installed (Debian: apt install libfaketime)")
    return {"LD_PRELOAD": str(library), "FAKETIME": offset, "FAKETIME_DONT_FAKE_MONOTONIC": "1"}


def test_worker_whose_clock_is_ahead_scores_as_usual(scene_of: SceneOf) -> None:
    fault = Fault("the worker's clock is an hour ahead")
    wrong = clock("+1h")
    live = live_stream(asked_events() // 5, (0, -1))
    scene = scene_of(live.stream)
    worker = scene.place.ready_worker(**wrong)
    scene.load(seconds=LOAD_SECONDS).finish()
    fault.injected += 1

    scene.conclude(fault, scored_alone(scene.place, scene.stream, scene.place.directory))
    assert worker.exit_code is None, worker.log()


def test_worker_whose_clock_is_behind_stops_before_it_buries_everything(
    scene_of: SceneOf,
) -> None:
    fault = Fault("the worker's clock is an hour behind: stops, then set right")
    wrong = clock("-1h") | ONE_BATCH_LIMIT
    live = live_stream(asked_events() // 5, (0,))
    scene = scene_of(live.stream)
    load = scene.load(hold_at=0.8)
    assert eventually(
        lambda: load.acknowledged >= 0.7 * len(live.stream.records), within_seconds=60
    )
    worker = scene.place.start_worker(**wrong)
    fault.injected += 1
    assert worker.wait(60) == 1, worker.log()
    assert "in_future" in worker.log().splitlines()[-1]
    assert "SURGELINE_DEAD_LETTERS_IN_A_ROW" in worker.log().splitlines()[-1]
    with scene.recovery(fault):
        worker = scene.place.start_worker()
    load.finish()
    buried = Counter((topic, at) for topic, at, _ in reasons_found(scene, 1))
    if buried:
        done = scene.place.run("dead-letters", "replay")
        assert done.returncode == 0, done.stderr
    scene.rekeyed = buried
    fault.notes.append(f"{buried.total()} buried before it stopped, and replayed")

    def without_letters(audit: Audit) -> None:
        """Those that were buried in spite of all are expected, and were scored in the end."""
        audit.double -= buried.total()
        audit.problems = [each for each in audit.problems if not each.startswith("dead-letters:")]

    scene.conclude(
        fault,
        scored_alone(scene.place, scene.stream, scene.place.directory),
        more=without_letters,
    )
    assert worker.exit_code is None, worker.log()


@pytest.mark.parametrize(
    ("name", "limit", "every"),
    [
        ("in a row", "SURGELINE_DEAD_LETTERS_IN_A_ROW", 1),
        ("above the share", "SURGELINE_DEAD_LETTER_SHARE", 4),
    ],
    ids=["row", "share"],
)
def test_producer_gone_wrong_stops_the_worker_until_it_is_repaired(
    name: str, limit: str, every: int, scene_of: SceneOf
) -> None:
    """A producer renames a field; of *every* records one is still good, of 1 none."""
    fault = Fault(f"dead letters {name}: worker stops, records repaired and replayed")
    base = mixed_stream(asked_events() // 2, seed=SEED)
    good = [visit(n, account_id=f"renamed-{n % 40}") for n in range(4_000)]
    wrong = {n for n in range(len(good)) if every == 1 or n % every}
    produced = [
        record_of(event) if n not in wrong else renamed(event) for n, event in enumerate(good)
    ]
    half = len(base.records) // 2
    told = [*base.records[:half], *produced, *base.records[half:]]
    scene = scene_of(replace(base, records=told))
    load = scene.load(hold_at=0.9)
    scene.place.start_worker()
    (stopped,) = scene.place.workers
    fault.injected += 1
    assert stopped.wait(60) == 1, stopped.log()
    sentence = stopped.log().splitlines()[-1]
    assert limit in sentence
    assert "surgeline dead-letters replay" in sentence
    letters = sum(scene.cluster.ends(["dead-letters"]).values())
    assert scene.place.start_worker().wait(60) == 1
    fault.injected += 1
    assert len(reasons_found(scene, letters)) < len(wrong)

    with scene.recovery(fault):
        off = {"SURGELINE_DEAD_LETTERS_IN_A_ROW": "0", "SURGELINE_DEAD_LETTER_SHARE": "0"}
        scene.place.start_worker(**off)
    load.finish()
    scene.settle()
    replay_repaired(scene, expected=len(wrong))
    scene.rekeyed = Counter(
        (VISITS, load.stored[half + n][0]) for n in wrong
    )  # a repaired record comes again, where it was
    alone = scene.place.directory / "repaired"
    alone.mkdir()
    repaired = [record_of(event) for event in good]
    reference = scored_alone(scene.place, replace(base, records=[*base.records, *repaired]), alone)
    scene.conclude(fault, reference)


def renamed(event: Json) -> Record:
    """Return *event* as a producer sends it that calls one field otherwise."""
    wrong = {("page" if name == "url" else name): value for name, value in event.items()}
    return record_of(wrong)._replace(kind=Kind.BAD)


def replay_repaired(scene: Scene, *, expected: int) -> None:
    """Have all dead letters of the producer gone wrong repaired and sent again."""
    listed = scene.place.run("dead-letters", "list", "--json", "--reason", "missing_field")
    assert listed.returncode == 0, listed.stderr
    rows = [json.loads(line) for line in listed.stdout.splitlines()]
    mine = [each for each in rows if b'"page": ' in base64.b64decode(each["value_base64"])]
    assert len(mine) == expected
    for each in mine:
        whole = base64.b64decode(each["value_base64"]).replace(b'"page": ', b'"url": ')
        each["value_base64"] = base64.b64encode(whole).decode()
        each["value"] = whole.decode()
    file = scene.place.directory / "repaired.jsonl"
    file.write_text("".join(f"{json.dumps(each)}\n" for each in mine), encoding="utf-8")
    done: subprocess.CompletedProcess[str] = scene.place.run("dead-letters", "replay", str(file))
    assert done.returncode == 0, done.stderr
