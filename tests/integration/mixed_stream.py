"""A stream as producers really send it: every topic, repeats, late events, odd account ids."""

import datetime as dt
import random
from collections.abc import Iterator
from typing import Any, Final, cast

from scoring.events import ENGAGEMENT_TYPES
from stream.simulator import simulate
from tests.system.harness import Json

END: Final = dt.datetime(2024, 4, 1, tzinfo=dt.UTC)
AS_OF: Final = "2024-04-02T00:00:00Z"
"""After every event of `mixed_stream`."""

ODD_IDS: Final = ("Ünï & {1}:|>", "a" * 200, " ", "sl:{0}:fence")
"""Ids that would break keys, hash tags or counters that are put together carelessly."""

_ADS_KEPT: Final = 20
_TOO_LATE: Final = 40


def mixed_stream(seed: int, *, accounts: int = 40) -> list[Json]:
    """Return about 5,000 events of thirteen weeks in the order in which producers send them."""
    rng = random.Random(seed)
    told = list(_thinned(seed, accounts))
    names = sorted({each["account_id"] for each in told if "account_id" in each})
    renamed = dict(zip(names, ODD_IDS, strict=False))
    for each in told:
        if each.get("account_id") in renamed:
            each["account_id"] = renamed[each["account_id"]]
    told += _too_late(told, rng)
    return _shuffled_a_little(told, rng)


def _thinned(seed: int, accounts: int) -> Iterator[Json]:
    """Yield a simulated quarter in which advertisements are not nine of ten events."""
    ads = 0
    for each in simulate(seed, end=END, accounts=accounts):
        ads += each["type"] == "ad"
        if each["type"] != "ad" or ads % _ADS_KEPT == 0:
            yield cast("dict[str, Any]", each)


def _too_late(told: list[Json], rng: random.Random) -> list[Json]:
    """Return events of the first days, to come last: some are repeats, some are new."""
    early = [e for e in told[: len(told) // 3] if e["type"] in ENGAGEMENT_TYPES]
    chosen = rng.sample(early, _TOO_LATE)
    return [
        each | {"id": f"late-{each['id']}"} if number % 2 else each
        for number, each in enumerate(chosen)
    ]


def _shuffled_a_little(told: list[Json], rng: random.Random) -> list[Json]:
    """Return *told* with every tenth event later than it happened, and one in fifty repeated."""
    places: list[tuple[float, Json]] = []
    for place, each in enumerate(told):
        late = rng.expovariate(1 / 100) if rng.random() < 0.1 else 0.0
        places.append((place + late, each))
        if rng.random() < 0.02:
            places.append((place + late + rng.expovariate(1 / 30), each))
    places.sort(key=lambda placed: placed[0])
    return [each for _, each in places]
