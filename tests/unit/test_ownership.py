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


async def catches_up(ends: dict[str, int | None], *, behind: float) -> bool:
    """Tell whether the unit of a shard grows whose newest record came *behind* seconds from now."""
    log: Any = SimpleNamespace(end=lambda tp: ends[tp.topic])
    outside: Any = SimpleNamespace(store=None, metrics=None)
    nobody: Any = None
    ownership = Ownership(load_settings(), TOPICS, scorer=nobody, outside=outside, kafka_log=log)
    shard = Shard(0, "me", Fence(1, READ))
    shard.open.stamps.append(int((time.time() + behind) * 1_000))
    return ownership._catches_up(shard)


@pytest.mark.parametrize(
    ("ends", "behind", "grows"),
    [
        ({"page-visits": 11, "emails": 5}, LONG_AGO, True),
        ({"page-visits": 10, "emails": None}, LONG_AGO, True),
        ({"page-visits": 10, "emails": 5}, LONG_AGO, False),
        ({"page-visits": 11, "emails": 5}, 0.0, False),
    ],
    ids=["more to read", "an end unknown", "all read", "records of now"],
)
def test_a_unit_grows_while_old_records_are_left_to_read(
    ends: dict[str, int | None], behind: float, *, grows: bool
) -> None:
    assert asyncio.run(catches_up(ends, behind=behind)) is grows
