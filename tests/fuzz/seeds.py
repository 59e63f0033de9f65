"""Where fuzzing begins: events of every type and models, made here; nothing was recorded."""

import json
from collections.abc import Iterator
from importlib import resources
from typing import Any

from scoring.events import TOPIC_TYPES, TYPE_TOPICS

Json = dict[str, Any]

DAY = "2025-12-{:02}T09:30:00Z"

_BODIES: tuple[Json, ...] = (
    {"type": "ad", "action": "click", "campaign_id": "c", "placement": "web", "cost": 0.5},
    {
        "type": "page_visit",
        "url": "https://x.example/pricing?a=1",
        "duration_seconds": 90.5,
        "http_status": 200,
        "ip": "192.0.2.1",
    },
    {
        "type": "chat",
        "action": "ended",
        "conversation_id": "v",
        "direction": "inbound",
        "duration_seconds": 600,
    },
    {"type": "email", "action": "replied", "direction": "inbound", "subject": "naïve ✓"},
    {
        "type": "meeting",
        "action": "held",
        "meeting_id": "m",
        "duration_minutes": 45,
        "attendee_ids": ["ann", "bob"],
    },
    {"type": "intent", "topic": "crm", "strength": 2.5},
    {
        "type": "account",
        "action": "upserted",
        "target": True,
        "tier": 1,
        "name": "Acme",
        "domains": ["acme.example"],
        "employees": 40,
        "icp_fit": 0.5,
    },
    {"type": "account", "action": "removed"},
    {"type": "contact", "action": "upserted", "seniority": "vp", "name": "Ann"},
    {"type": "contact", "action": "removed"},
    {
        "type": "opportunity",
        "action": "won",
        "opportunity_id": "o",
        "kind": "new",
        "amount": 1e6,
        "currency": "EUR",
        "term_years": 2,
    },
    {"type": "spend", "amount": 100, "currency": "EUR", "program": "ads"},
    {"type": "survey", "kind": "nps", "score": 9},
    {"type": "identify", "anonymous_id": "a1", "email": "ann@acme.example"},
)

HISTORY: tuple[Json, ...] = tuple(
    {
        "id": f"{body['type']}-{number}",
        "source": "seed",
        "time": DAY.format(number + 1),
        "account_id": "acme",
        "contact_id": "ann",
        **body,
    }
    for number, body in enumerate(_BODIES)
)
"""One event of each kind, of one account."""

ODD_VALUES: tuple[bytes, ...] = (
    b"",
    b"null",
    b"{}{}",
    b"[" * 4_000,
    b'{"a":' * 2_000,
    b'{"id":"\\ud800"}',
    b"\xef\xbb\xbf{}",
    b'{"time":1e999}',
)

MODEL_PARTS: tuple[str, ...] = (
    "",
    'name = "mine"',
    "[engagement]\nhalf_life_days = 7",
    "[engagement]\nhalf_life_days = 0.01",
    "[engagement]\nhalf_life_days = 1e-9\n[funnel]\nengaged_minutes = 1\ndisengaged_minutes = 1",
    "[engagement]\nhorizon_days = 1\ndedupe_days_before = 0\ndedupe_ids_per_day = 1",
    "[engagement.points]\nad_click = 1e6",
    "[engagement.daily_cap_minutes]\npage_visit = 0",
    '[pages]\nhigh = ["prices"]\nexcluded = []',
    "[engagement.points]\nad_click = 1e9\n[engagement.daily_cap_minutes]\nad = 1e9",
    "[relationship]\nemail_weight = 1e9\nmeeting_weight = 1e9",
    "[surge]\nwindow_days = 1\nbaseline_days = 7",
    '[surge.topics]\nrivals = ["versus"]',
    "[relationship]\nhalf_life_days = 0.5\nmax_contacts = 1",
    "[funnel]\nengaged_minutes = 1\ndisengaged_minutes = 1",
)


def records() -> Iterator[tuple[str, bytes]]:
    """Yield (topic, value) of records to begin with, good ones and odd ones."""
    for event in HISTORY:
        yield TYPE_TOPICS[event["type"]], json.dumps(event).encode()
        yield TYPE_TOPICS[event["type"]], json.dumps(event, ensure_ascii=False).encode()
    for topic in TOPIC_TYPES:
        for value in ODD_VALUES:
            yield topic, value


def models() -> Iterator[bytes]:
    """Yield model files to begin with."""
    default = resources.files("scoring") / "default_model.toml"
    yield default.read_bytes()
    for part in MODEL_PARTS:
        yield part.encode()
