"""What the integration tests of workers share: their places, and events as records."""

import json

from scoring.events import TYPE_TOPICS
from tests.place import (
    COMMAND_SECONDS,
    PARTITIONS,
    Found,
    Place,
    Sent,
    Servers,
    Worker,
    forget,
)
from tests.system.harness import Json

__all__ = [
    "COMMAND_SECONDS",
    "PARTITIONS",
    "Found",
    "Place",
    "Sent",
    "Servers",
    "Worker",
    "forget",
    "record_of",
]


def record_of(event: Json) -> Sent:
    """Return *event* in its topic, keyed by its account, as producers send it."""
    account = event.get("account_id")
    key = None if account is None else account.encode()
    return Sent(TYPE_TOPICS[event["type"]], json.dumps(event).encode(), key)
