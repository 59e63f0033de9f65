"""Records as broken producers send them, and what must become of each."""

import datetime as dt
import json
import random
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any, Final, NamedTuple

import aiokafka.partitioner

from tests.system.faults.load import At
from tests.system.faults.stream import START, Kind, Record, Stream, mixed_stream
from tests.system.harness import Json

# aiokafka's own types are incomplete; what leaves this module is typed.
_partitioner: Any = aiokafka.partitioner

VISITS: Final = "page-visits"
NO_TEXT: Final = b"\xff\xfe\x00"
"""A key that is not UTF-8."""
MOVED_ACCOUNTS: Final = 9
SHARE: Final = 0.05


def visit(number: int, at: dt.datetime = START, **fields: object) -> Json:
    """Return a page visit of nobody in particular."""
    return {
        "id": f"p{number}",
        "source": "poison",
        "type": "page_visit",
        "time": at.isoformat(),
        "url": "https://x.example/pricing",
        "duration_seconds": 60,
    } | fields


def _text(event: Json) -> bytes:
    return json.dumps(event).encode()


class Poison(NamedTuple):
    """One way to be bad."""

    reason: str
    value: Callable[[Json], bytes | None]
    """Of a good visit."""


def _without(name: str) -> Callable[[Json], bytes]:
    return lambda event: _text({field: event[field] for field in event if field != name})


def _with(**fields: object) -> Callable[[Json], bytes]:
    return lambda event: _text(event | fields)


def an_hour_ahead() -> str:
    """Return the time stamp of a producer whose clock is an hour ahead."""
    return (dt.datetime.now(dt.UTC) + dt.timedelta(hours=1)).isoformat()


POISONS: Final = (
    Poison("not_json", lambda _: b"<visit page='pricing'/>"),
    Poison("not_json", lambda event: _text(event)[:-3]),
    Poison("not_json", lambda event: _text(event) + b"," + _text(event)),
    Poison("not_json", lambda event: _text(event) + b"\n" + _text(event)),
    Poison("not_json", lambda event: json.dumps(event).encode("utf-16")),
    Poison("not_json", lambda event: _text(event).replace(b"poison", b"p\xe9\xff")),
    Poison("not_json", lambda _: b""),
    Poison("empty_value", lambda _: None),
    Poison("not_json", lambda _: b'{"a":' * 5_000),
    Poison("not_an_object", lambda _: b"null"),
    Poison("not_an_object", lambda event: b"[" + _text(event) + b"]"),
    Poison("missing_field", _without("url")),
    Poison("missing_field", _without("id")),
    Poison("missing_field", _without("type")),
    Poison("unknown_type", _with(type="seance")),
    Poison("unknown_type", _with(type="email", action="sent", direction="inbound")),
    Poison("wrong_type", _with(duration_seconds="60")),
    Poison("wrong_type", _with(account_id=None)),
    Poison("wrong_type", _with(url={"path": "/"})),
    Poison("out_of_range", _with(duration_seconds=-1)),
    Poison("out_of_range", _with(duration_seconds=float("inf"))),
    Poison("out_of_range", lambda event: _text(event).replace(b": 60", b": 1e999")),
    Poison("out_of_range", _with(id="x" * 10_000)),
    Poison("bad_time", _with(time="yesterday")),
    Poison("bad_time", _with(time="2024-02-30T00:00:00Z")),
    Poison("bad_time", _with(time="0001-01-01T00:00:00+14:00")),
    Poison("in_future", _with(time="2999-01-01T00:00:00Z")),
    Poison("in_future", lambda event: _text(event | {"time": an_hour_ahead()})),
)


class Poisoned(NamedTuple):
    """A stream with bad and misplaced records in it."""

    stream: Stream
    reasons: dict[int, str]
    """Number of a bad record in the stream -> the reason that its dead letter must give."""
    moved: int
    """Good records that lie in a wrong partition, or carry no key."""

    def rekeyed(self, partitions: int) -> Counter[At]:
        """Return how many records a worker adds to each partition, because they belong there."""
        return rekeyed(self.stream.records, partitions)


def rekeyed(records: Sequence[Record], partitions: int) -> Counter[At]:
    """Return how many of *records* belong to each partition and are not sent to it by their key."""
    found: Counter[At] = Counter()
    for each in records:
        if each.kind is Kind.EVENT and (
            account := json.loads(each.value or b"{}").get("account_id")
        ):
            home = partition_of(account.encode(), partitions)
            if each.key is None or partition_of(each.key, partitions) != home:
                found[each.topic, home] += 1
    return found


def partition_of(key: bytes, partitions: int) -> int:
    """Return the partition that Kafka's default partitioner gives to *key*."""
    hashed: int = _partitioner.murmur2(key)
    return (hashed & 0x7FFFFFFF) % partitions


def poisoned_stream(events: int, *, seed: int) -> Poisoned:
    """Return a mixed stream with five percent of poison of every kind in it."""
    rng = random.Random(seed)
    base = mixed_stream(events, seed=seed)
    count = round(events * SHARE)
    told: list[tuple[float, Record, str | None]] = [
        (float(place), record, None) for place, record in enumerate(base.records)
    ]
    moved = 0
    for number in range(count):
        place = (number + rng.random()) * len(base.records) / count
        if number % 5 == 0:
            told.append((place, _misplaced(number, count), None))
            moved += 1
        else:
            told.append((place, *_bad(number, rng)))
    told.sort(key=lambda each: each[0])
    reasons = {number: reason for number, (_, _, reason) in enumerate(told) if reason is not None}
    return Poisoned(Stream([], [record for _, record, _ in told]), reasons, moved)


def _bad(number: int, rng: random.Random) -> tuple[Record, str]:
    poison = POISONS[number % len(POISONS)]
    event = visit(number, account_id=f"poison-{number % 7}")
    value, named = poison.value(event), f"poison-{number}".encode()
    # Kafka's client sends nothing that has neither key nor value.
    key = named if value is None else rng.choice((None, NO_TEXT, named))
    return Record(VISITS, key, value, Kind.BAD), poison.reason


def _misplaced(number: int, count: int) -> Record:
    # Below the daily cap, and inside the horizon: those that are re-keyed come in another order.
    account = f"moved-{number // 5 % MOVED_ACCOUNTS}"
    at = START + dt.timedelta(weeks=4) * (number / count)
    key = (None, NO_TEXT, b"somebody else", account.encode())[number // 5 % 4]
    return Record(VISITS, key, _text(visit(number, at, account_id=account)))
