"""What a worker does with single records: bad ones, misplaced ones, and those without an account."""

import asyncio
import datetime as dt
import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import aiokafka
import pytest
from aiokafka.producer import message_accumulator, producer
from aiokafka.record import default_records

from scoring.errors import Reason
from stream.routing import shard_of
from tests.integration.worker_kit import (
    PARTITIONS,
    Found,
    Place,
    Sent,
    Servers,
    Worker,
    record_of,
)
from tests.system.harness import Json, differences, eventually, rows, write_lines

_aiokafka: Any = aiokafka  # Any: its types are incomplete

MAX_BYTES = 4_096
DAY_1 = dt.datetime(2024, 6, 3, tzinfo=dt.UTC)
DUE_DAY = dt.datetime(2024, 6, 10, 12, tzinfo=dt.UTC)
"""After all other events, so that the clock has not passed it when tests run in another order."""
MOVED_ON = DUE_DAY + dt.timedelta(days=40)
AS_OF = (MOVED_ON + dt.timedelta(days=1)).isoformat()


def visit(number: int, account: str | None, at: dt.datetime = DAY_1, **fields: Any) -> Json:
    common = {"id": f"v{number}", "source": "test", "type": "page_visit", "time": at.isoformat()}
    if account is not None:
        common["account_id"] = account
    return common | {"url": "https://x.example/", "duration_seconds": 120} | fields


def without(event: Json, field: str) -> Json:
    return {name: value for name, value in event.items() if name != field}


def text(event: Json) -> bytes:
    return json.dumps(event).encode()


GOOD = visit(0, "bad")
MAIL = without(GOOD, "url") | {"type": "email", "action": "sent", "direction": "inbound"}


class Bad(NamedTuple):
    """A record that breaks the contract, and the reason that its dead letter gives."""

    name: str
    reason: Reason
    value: bytes | None
    topic: str = "page-visits"


BAD = (
    Bad("no JSON", Reason.NOT_JSON, b"visited the pricing page"),
    Bad("nothing", Reason.NOT_JSON, b""),
    Bad("cut off", Reason.NOT_JSON, text(GOOD)[:-7]),
    Bad("two objects", Reason.NOT_JSON, text(GOOD) + b"," + text(GOOD)),
    Bad("two lines", Reason.NOT_JSON, text(GOOD) + b"\n" + text(GOOD)),
    Bad("UTF-16", Reason.NOT_JSON, json.dumps(GOOD).encode("utf-16")),
    Bad("Latin-1", Reason.NOT_JSON, text(GOOD).replace(b"test", b"t\xe9st")),
    Bad("endlessly nested", Reason.NOT_JSON, b'{"a":' * 600),
    Bad("array", Reason.NOT_AN_OBJECT, b"[" + text(GOOD) + b"]"),
    Bad("text", Reason.NOT_AN_OBJECT, b'"visit"'),
    Bad("null", Reason.NOT_AN_OBJECT, b"null"),
    Bad("tombstone", Reason.EMPTY, None),
    Bad("too large", Reason.TOO_LARGE, text(visit(0, "bad", subject="x" * MAX_BYTES))),
    Bad("field missing", Reason.MISSING_FIELD, text(without(GOOD, "url"))),
    Bad("id missing", Reason.MISSING_FIELD, text(without(GOOD, "id"))),
    Bad("type missing", Reason.MISSING_FIELD, text(without(GOOD, "type"))),
    Bad("another topic's type", Reason.UNKNOWN_TYPE, text(MAIL)),
    Bad("unknown type", Reason.UNKNOWN_TYPE, text(GOOD | {"type": "seance"})),
    Bad("unknown action", Reason.UNKNOWN_ACTION, text(MAIL | {"action": "sang"}), "emails"),
    Bad(
        "unknown record action",
        Reason.UNKNOWN_ACTION,
        text(without(GOOD, "url") | {"type": "account", "action": "renamed"}),
        "accounts",
    ),
    Bad("field null", Reason.WRONG_TYPE, text(GOOD | {"url": None})),
    Bad("account null", Reason.WRONG_TYPE, text(GOOD | {"account_id": None})),
    Bad("number as text", Reason.WRONG_TYPE, text(GOOD | {"duration_seconds": "120"})),
    Bad("id as number", Reason.WRONG_TYPE, text(GOOD | {"id": 7})),
    Bad("NaN", Reason.OUT_OF_RANGE, text(GOOD | {"duration_seconds": float("nan")})),
    Bad("infinite", Reason.OUT_OF_RANGE, text(GOOD | {"duration_seconds": float("inf")})),
    Bad("negative", Reason.OUT_OF_RANGE, text(GOOD | {"duration_seconds": -1})),
    Bad("id empty", Reason.OUT_OF_RANGE, text(GOOD | {"id": ""})),
    Bad("id too long", Reason.OUT_OF_RANGE, text(GOOD | {"id": "x" * 513})),
    Bad("unknown direction", Reason.OUT_OF_RANGE, text(MAIL | {"direction": "up"}), "emails"),
    Bad("time without offset", Reason.BAD_TIME, text(GOOD | {"time": "2024-06-03T00:00:00"})),
    Bad("no such day", Reason.BAD_TIME, text(GOOD | {"time": "2024-02-30T00:00:00Z"})),
    Bad("future", Reason.IN_FUTURE, text(GOOD | {"time": "2999-01-01T00:00:00Z"})),
)


class Running(NamedTuple):
    """A worker, and where it works."""

    place: Place
    worker: Worker


@pytest.fixture(scope="module")
def running(servers: Servers, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with Place(
        servers, tmp_path_factory.mktemp("records"), SURGELINE_MAX_RECORD_BYTES=str(MAX_BYTES)
    ) as place:
        yield Running(place, place.ready_worker())


class Buried(NamedTuple):
    """All bad records after the worker has read them, each between two good ones."""

    places: dict[str, tuple[str, int, int]]
    """Name of the bad record -> topic, partition and offset."""
    letters: list[Found]
    neighbours: list[Json]


@pytest.fixture(scope="module")
def buried(running: Running) -> Buried:
    neighbours = [visit(number, "neighbour") for number in range(len(BAD) + 1)]
    partition = shard_of("neighbour", PARTITIONS)
    records = []
    for good, bad in zip(neighbours, BAD, strict=False):
        records.append(record_of(good))
        records.append(Sent(bad.topic, bad.value, b"neighbour", partition))
    stored = running.place.produce([*records, record_of(neighbours[-1])])
    running.place.wait_scored(stored)
    places = dict(zip((bad.name for bad in BAD), stored[1::2], strict=True))
    letters = running.place.read("dead-letters", lambda found: len(found) >= len(BAD))
    return Buried(places, letters, neighbours)


@pytest.mark.parametrize("bad", BAD, ids=lambda bad: bad.name)
def test_bad_record_becomes_a_dead_letter_as_it_was(buried: Buried, bad: Bad) -> None:
    origin = [str(part).encode() for part in buried.places[bad.name]]

    letters = [
        each
        for each in buried.letters
        if [each.headers[f"surgeline-{name}"] for name in ("topic", "partition", "offset")]
        == origin
    ]

    assert [each.value for each in letters] == [bad.value]
    assert letters[0].headers["surgeline-reason"].decode() == bad.reason
    assert letters[0].headers["surgeline-detail"]


def test_dead_letters_are_counted_by_reason(running: Running, buried: Buried) -> None:
    expected = Counter(bad.reason for bad in BAD)

    counted = {
        reason: running.worker.metric("surgeline_dead_letters_total", reason=reason)
        for reason in Reason
    }

    assert len(buried.letters) == len(BAD)
    assert counted == {reason: expected[reason] for reason in Reason}


def test_neighbours_of_bad_records_are_scored(running: Running, buried: Buried) -> None:
    alone = scored_alone(running.place, buried.neighbours)

    (found,) = running.place.answer("account", "neighbour", "--as-of", AS_OF)

    assert found["events"] == len(buried.neighbours)
    assert differences([found], alone) == []


def test_bad_records_leave_no_account_behind(running: Running, buried: Buried) -> None:
    assert buried.letters
    assert "bad" not in running.place.hashes()


class Bytes(str):
    """A header name that goes over the wire as bytes that are no UTF-8."""

    __slots__ = ()

    def encode(self, *_: object) -> bytes:
        return b"\xff\xfe"


async def produce_named(place: Place, events: list[Json], name: str) -> list[tuple[str, int, int]]:
    """Produce *events* in one batch, the second with a header *name*."""
    client = _aiokafka.AIOKafkaProducer(
        bootstrap_servers=place.kafka, linger_ms=200, compression_type="gzip"
    )
    async with client:
        sent = [
            await client.send(
                place.prefix + "page-visits",
                text(event),
                event["account_id"].encode(),
                headers=[(name, b"1")] if number == 1 else [],
            )
            for number, event in enumerate(events)
        ]
        stored = await asyncio.gather(*sent)
    return [("page-visits", each.partition, each.offset) for each in stored]


def test_header_name_that_is_no_text_holds_nothing_up(
    running: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The compiled writer refuses such a name; the one in Python sends what it encodes to.
    builder = default_records._DefaultRecordBatchBuilderPy
    for module in (producer, message_accumulator):
        monkeypatch.setattr(module, "DefaultRecordBatchBuilder", builder)
    events = [visit(920 + number, "named") for number in range(3)]

    stored = asyncio.run(produce_named(running.place, events, Bytes("name")))
    running.place.wait_scored(stored)
    (found,) = running.place.answer("account", "named", "--as-of", AS_OF)

    assert found["events"] == 3
    assert differences([found], scored_alone(running.place, events)) == []


def test_event_without_account_goes_to_unresolved(running: Running) -> None:
    nobody = text(visit(900, None, network_host="proxy.example"))
    stored = running.place.produce([Sent("page-visits", nobody, None, 1)])
    running.place.wait_scored(stored)

    found = running.place.read("unresolved", lambda each: len(each) >= 1)

    assert [each.value for each in found] == [nobody]
    assert found[0].headers["surgeline-topic"] == b"page-visits"
    assert running.worker.metric("surgeline_events_total", outcome="unresolved") == 1


def test_unknown_fields_are_ignored(running: Running) -> None:
    event = visit(910, "curious", mood="sunny", nested={"a": [1, None]})
    running.place.wait_scored(running.place.produce([record_of(event)]))

    (found,) = running.place.answer("account", "curious", "--as-of", AS_OF)

    assert differences([found], scored_alone(running.place, [event])) == []


def scored_alone(place: Place, events: list[Json]) -> list[Json]:
    file: Path = write_lines(place.directory / "alone.jsonl", events)
    done = place.run("score", str(file), "--as-of", AS_OF, "--json")
    return rows(done.stdout)


MISPLACED = ("wrong partition", "no key", "key of another account", "key that is no text")


def misplaced(how: str, events: list[Json]) -> list[Sent]:
    account = events[0]["account_id"]
    home = shard_of(account, PARTITIONS)
    elsewhere = (home + 1) % PARTITIONS
    key, partition = {
        "wrong partition": (account.encode(), elsewhere),
        "no key": (None, home),
        "key of another account": (account_in(elsewhere).encode(), None),
        "key that is no text": (b"\xff\xfe", elsewhere),
    }[how]
    return [Sent("page-visits", text(event), key, partition) for event in events]


def account_in(shard: int) -> str:
    """Return an account whose events belong in *shard*."""
    return next(
        name for n in range(100) if shard_of(name := f"in-{shard}-{n}", PARTITIONS) == shard
    )


class Rehomed(NamedTuple):
    """Misplaced records after the worker has moved and scored them; accounts by how they came."""

    events: dict[str, list[Json]]
    accounts: dict[str, Json]
    reference: dict[str, Json]
    rekeyed: float


@pytest.fixture(scope="module")
def rehomed(running: Running) -> Rehomed:
    place, worker = running
    events = {
        how: [
            visit(1_000 * nth + n, how, DAY_1 + dt.timedelta(hours=9 * n), contact_id=f"c{n % 2}")
            for n in range(12)
        ]
        for nth, how in enumerate(MISPLACED, start=1)
    }
    for how, told in events.items():
        place.produce(misplaced(how, told))

    def all_scored() -> bool:
        hashes = place.hashes()
        return all(hashes.get(e, {}).get("events") == str(len(events[e])) for e in events)

    assert eventually(all_scored, within_seconds=20), place.logs()
    alone = scored_alone(place, [each for told in events.values() for each in told])
    return Rehomed(
        events,
        by_account(place.accounts(AS_OF)),
        by_account(alone),
        worker.metric("surgeline_events_total", outcome="rekeyed"),
    )


def by_account(accounts: list[Json]) -> dict[str, Json]:
    return {each["account_id"]: each for each in accounts}


@pytest.mark.parametrize("how", MISPLACED)
def test_misplaced_records_are_scored_as_if_well_placed(rehomed: Rehomed, how: str) -> None:
    assert rehomed.accounts[how]["events"] == len(rehomed.events[how])
    assert differences([rehomed.accounts[how]], [rehomed.reference[how]]) == []


def test_misplaced_records_are_counted_as_rekeyed(rehomed: Rehomed) -> None:
    assert rehomed.rekeyed == sum(len(told) for told in rehomed.events.values())


def test_spend_needs_no_account(running: Running) -> None:
    spend = without(GOOD, "account_id") | {
        "type": "spend", "id": "s1", "amount": 10, "currency": "EUR", "program": "ads"
    }  # fmt: skip
    running.place.wait_scored(running.place.produce([record_of(spend)]))

    assert running.worker.metric("surgeline_events_total", event="spend", outcome="scored") == 1


class Cooled(NamedTuple):
    """An account that was engaged and surged, long after its last event."""

    place: Place
    account_id: str
    moves_before: int
    stored: dict[str, str]
    """Its hash, once the clock has moved on by other accounts' events."""


@pytest.fixture(scope="module")
def cooled(running: Running) -> Cooled:
    place, account = running.place, account_in(0)
    record = without(GOOD, "url") | {
        "type": "account", "action": "upserted", "target": True, "account_id": account
    }  # fmt: skip
    visits = [visit(5_000 + n, account, DUE_DAY) for n in range(4)]
    place.wait_scored(place.produce([record_of(each) for each in (record, *visits)]))
    stored = place.hashes()[account]
    assert (stored["stage"], stored["surging"]) == ("engaged", "1")
    moves_before = place.funnel().get("engaged>target", 0)
    mover = next(name for n in range(100) if shard_of(name := f"mover-{n}", PARTITIONS) == 0)
    later = visit(6_000, mover, MOVED_ON)
    place.wait_scored(place.produce([record_of(later)]))
    assert eventually(lambda: place.hashes()[account] != stored, within_seconds=10)
    return Cooled(place, account, moves_before, place.hashes()[account])


def test_account_that_cools_down_leaves_its_stage_without_an_event(cooled: Cooled) -> None:
    assert cooled.stored["stage"] == "target"
    assert cooled.stored["events"] == "4"


def test_surge_ends_without_an_event(cooled: Cooled) -> None:
    assert (cooled.stored["surging"], cooled.stored["surge_topics"]) == ("0", "")


def test_funnel_follows_an_account_that_cools_down(cooled: Cooled) -> None:
    counters = cooled.place.funnel()
    stages = Counter(e["bucket"] for e in cooled.place.hashes().values() if e["bucket"])

    assert counters.get("engaged>target", 0) == cooled.moves_before + 1
    assert {name: n for name, n in counters.items() if "|" in name} == dict(stages)


def test_what_was_due_is_announced_at_the_instant_at_which_it_was_due(cooled: Cooled) -> None:
    def announcements(found: list[Found]) -> dict[tuple[str, str], str]:
        own = [each.json for each in found if each.key == cooled.account_id.encode()]
        return {(t["rule"], t["subject"]): t["at"] for each in own for t in each["transitions"]}

    found = cooled.place.read(
        "score-changes", lambda each: ("stage_changed", "engaged>target") in announcements(each)
    )

    said = announcements(found)
    week_later = (DUE_DAY + dt.timedelta(days=7)).replace(hour=0)
    assert said["surge_ended", "*"] == week_later.isoformat().replace("+00:00", "Z")
    # Ten minutes halve twice in two half-lives of fourteen days.
    left = dt.datetime.fromisoformat(said["stage_changed", "engaged>target"])
    assert abs(left - (DUE_DAY + dt.timedelta(days=28))) < dt.timedelta(seconds=1)
