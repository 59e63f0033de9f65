"""Trying a route: a sample sent to it, once."""

import time
from typing import Final

import aiohttp
import msgspec

from scoring.report import rfc3339
from stream.errors import InvalidSetting, NotDelivered
from stream.notify.alert import decode_alert
from stream.notify.matching import Destination
from stream.notify.rendering import alert_message
from stream.notify.routes import Routes
from stream.notify.sending import sender_of
from stream.settings import Settings

_SCORES: Final = {"engagement_minutes": 5.7, "intent_surge": 0.0, "relationship": 10.1}

SAMPLE: Final = {
    "rule": "high_value_page",
    "severity": "low",
    "subject": "/pricing",
    "account_id": "example",
    "account_name": "Example Inc",
    "sentence": "This is a test: ann of Example Inc spent 2 min on /pricing.",
    "why": {"page": "/pricing", "minutes": 2.0},
    "before": {"engagement": 12.3} | _SCORES,
    "after": {"engagement": 14.9} | _SCORES,
    "stage": "engaged",
    "target": True,
    "tier": 1,
    "notify": ["owner"],
    "next_step": "Nothing: this is a test.",
    "cause": None,
    "clock": "wall",
}
"""What is the same in every sample."""


async def send_sample(routes: Routes, name: str, settings: Settings, *, owner: str) -> None:
    """Send a sample alert to route *name*, as if *owner* (an email address) owned the account.

    Raises InvalidSetting for a route that the file does not have, NotDelivered with the reason.
    """
    route = routes.routes.get(name)
    if route is None:
        known = ", ".join(sorted(routes.routes)) or "none"
        raise InvalidSetting(f"There is no route {name}; the file has: {known}.")
    raw = sample(settings, owner=owner, now=time.time())
    alert = decode_alert(raw)
    address = route.address(alert)
    assert address is not None
    async with aiohttp.ClientSession() as session:
        sender = sender_of(Destination(route, address), session)
        failure = await sender.send(alert_message(alert, raw, route=name, test=True))
    if failure is not None:
        raise NotDelivered(f"Route {name} does not take it: {failure.why}.")


def sample(settings: Settings, *, owner: str, now: float) -> bytes:
    """Return the JSON of an alert that was never raised."""
    at = rfc3339(round(now, 3))
    link = None if settings.board_url is None else f"{settings.board_url}/accounts/example"
    return msgspec.json.encode(
        {
            "id": f"{int(now * 1_000_000):032x}",
            **SAMPLE,
            "owner_id": owner,
            "owner_email": owner,
            "link": link,
            "event_time": at,
            "at": at,
            "detected_at": at,
        }
    )
