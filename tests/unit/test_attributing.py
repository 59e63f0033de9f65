"""What becomes of a worker's records whose account is looked up."""

import asyncio
import json
from typing import Any

import pytest

from scoring.fold import Outcome
from scoring.model import default_model, parse_model
from stream.attributing import Attributor
from stream.backoff import Backoff
from stream.finding import AccountFinder
from stream.metrics import WorkerMetrics
from stream.outputs import Message
from stream.routing import shard_of
from tests.builders import decoded
from tests.directory import Json, account, contact, known
from tests.records import consumed

PARTITIONS = 5
CRM = [
    account("group"),
    account("berlin", "acme.de", parent_account_id="group"),
    contact("ann", "berlin", email="ann@acme.de"),
]
VISIT = {
    "id": "1",
    "source": "web",
    "type": "page_visit",
    "time": "2026-01-06T00:00:00Z",
    "url": "/",
}


class InMemory:
    """A directory that was told CRM."""

    async def read(self, keys: Any) -> dict[Any, Any]:
        look = known(CRM)
        return {key: look(key) for key in keys}


def attributor(model: Any = None, *, finds: bool = True) -> Attributor:
    chosen = (default_model() if model is None else model).resolution
    backoff = Backoff(print, name="Redis")
    finder = AccountFinder(InMemory(), chosen, look_up=None, backoff=backoff)  # type: ignore[arg-type]
    return Attributor(
        finder if finds else None,
        chosen,
        WorkerMetrics(),
        prefix="eu.",
        shard_of=lambda account_id: shard_of(account_id, PARTITIONS),
    )


def decide(event: Json, who: Attributor) -> tuple[Outcome, Message] | None:
    raw = json.dumps(event).encode()
    record = consumed("eu.page-visits", raw, at=(3, 17), timestamp=5, headers=[("own", b"1")])
    (found,) = asyncio.run(who.decide("page-visits", [(record, decoded(event)[0])]))
    return found


def test_found_event_goes_to_its_accounts_partition_with_how_it_was_found() -> None:
    event = VISIT | {"email": "ann@acme.de", "unknown_field": [1, 2**70, "\u00fc"]}

    decided = decide(event, attributor())

    assert decided is not None
    outcome, message = decided
    assert outcome is Outcome.REKEYED
    assert (message.topic, message.key) == ("page-visits", b"berlin")
    assert message.partition == shard_of("berlin", PARTITIONS)
    assert message.timestamp_ms == 5
    assert ("own", b"1") in message.headers
    assert json.loads(message.value or b"") == event | {
        "account_id": "berlin",
        "contact_id": "ann",
        "resolution": {"by": "email", "confidence": 0.95},
    }


@pytest.mark.parametrize(
    ("clues", "why"),
    [
        ({}, b"unknown"),
        ({"email": "a@gmail.com"}, b"free_mail"),
        ({"network_host": "a.netcom.com"}, b"provider"),
    ],
)
def test_event_of_nobody_keeps_its_bytes_and_says_why(clues: Json, why: bytes) -> None:
    decided = decide(VISIT | clues, attributor())

    assert decided is not None
    outcome, message = decided
    assert outcome is Outcome.UNRESOLVED
    assert message.value == json.dumps(VISIT | clues).encode()
    assert dict(message.headers)["surgeline-why"] == why
    assert dict(message.headers)["surgeline-topic"] == b"page-visits"


def test_without_a_directory_nobody_is_found() -> None:
    decided = decide(VISIT | {"email": "ann@acme.de"}, attributor(finds=False))

    assert decided is not None
    assert decided[0] is Outcome.UNRESOLVED


def test_subsidiaries_event_goes_to_the_topmost_account_where_the_model_says_so() -> None:
    who = attributor(parse_model('[resolution]\nroll_up = "all"'))

    decided = decide(VISIT | {"account_id": "berlin"}, who)

    assert decided is not None
    found = json.loads(decided[1].value or b"")
    assert found["account_id"] == "group"
    assert found["resolution"] == {
        "by": "account_id",
        "confidence": 1.0,
        "rolled_up_from": "berlin",
    }


def test_event_of_a_topmost_account_stays_what_it_is() -> None:
    who = attributor(parse_model('[resolution]\nroll_up = "all"'))

    assert decide(VISIT | {"account_id": "group"}, who) is None
    assert who.concerns(decoded(VISIT | {"account_id": "group"})[0])


def test_by_default_events_with_an_account_are_not_looked_up() -> None:
    who = attributor()

    assert not who.rolls_up
    assert not who.concerns(decoded(VISIT | {"account_id": "berlin"})[0])
    assert not who.concerns(None)
