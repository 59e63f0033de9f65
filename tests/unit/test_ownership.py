"""When a unit of old records may grow."""

import asyncio
import time
from types import SimpleNamespace
from typing import Any

import pytest

from stream.ownership import Ownership
from stream.settings import load_settings
from stream.shard import Shard
from stream.state_store import Fence

TOPICS = ("page-visits", "emails")
READ = {"page-visits": 10, "emails": 5}
LONG_AGO = -3_600.0


async def catches_up(ends: dict[str, int | None], *, came: float, age: float = 0.0) -> bool:
    """Tell whether a unit that has grown for *age* grows on; its records *came* so far from now."""
    log: Any = SimpleNamespace(end=lambda tp: ends[tp.topic])
    outside: Any = SimpleNamespace(store=None, metrics=None)
    nobody: Any = None
    ownership = Ownership(load_settings(), TOPICS, scorer=nobody, outside=outside, kafka_log=log)
    shard = Shard(0, "me", Fence(1, READ))
    shard.open.stamps.append(int((time.time() + came) * 1_000))
    shard.open.since = time.monotonic() - age
    return ownership._catches_up(shard)


@pytest.mark.parametrize(
    ("ends", "came", "grows"),
    [
        ({"page-visits": 11, "emails": 5}, LONG_AGO, True),
        ({"page-visits": 10, "emails": None}, LONG_AGO, True),
        ({"page-visits": 10, "emails": 5}, LONG_AGO, False),
        ({"page-visits": 11, "emails": 5}, 0.0, False),
    ],
    ids=["more to read", "an end unknown", "all read", "records of now"],
)
def test_a_unit_grows_while_old_records_are_left_to_read(
    ends: dict[str, int | None], came: float, *, grows: bool
) -> None:
    assert asyncio.run(catches_up(ends, came=came)) is grows


@pytest.mark.parametrize(
    ("lag", "age", "grows"),
    [
        (0.9, 0.0, False),
        (2.0, 0.8, True),
        (2.0, 1.2, False),
        (3_600.0, 2.8, True),
        (3_600.0, 3.2, False),
    ],
    ids=["too young", "within half its lag", "after that", "within three seconds", "after them"],
)
def test_a_unit_grows_for_half_as_long_as_its_records_had_lain_in_kafka(
    lag: float, age: float, *, grows: bool
) -> None:
    more: dict[str, int | None] = {"page-visits": 11, "emails": 5}

    assert asyncio.run(catches_up(more, came=-lag - age, age=age)) is grows
