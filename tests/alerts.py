"""Alerts for tests, with one argument per thing that matters."""

import datetime as dt
import hashlib
import json
from typing import Any

from stream.notify.alert import Alert, decode_alert


def now() -> str:
    """Return the present time as alerts carry it."""
    return dt.datetime.now(dt.UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def alert_json(account: str = "acme", number: int = 0, **fields: Any) -> dict[str, Any]:
    """Return an alert as it lies in the topic; *number* tells those of an account apart."""
    at = fields.pop("at", None) or now()
    scores = {"engagement_minutes": 5.7, "intent_surge": 0.0, "relationship": 10.1}
    return {
        "id": hashlib.md5(f"{account}/{number}".encode()).hexdigest(),
        "rule": "high_value_page",
        "severity": "medium",
        "subject": "/pricing",
        "account_id": account,
        "account_name": f"{account.title()} Inc",
        "sentence": f"ann of {account.title()} Inc spent 2 min on /pricing ({number}).",
        "why": {"page": "/pricing", "minutes": 2.0},
        "before": {"engagement": 12.3} | scores,
        "after": {"engagement": 14.9} | scores,
        "stage": "engaged",
        "target": True,
        "tier": 1,
        "owner_id": "rep-7",
        "owner_email": "rep7@example.com",
        "notify": ["owner"],
        "next_step": "Call while they are reading.",
        "link": f"http://127.0.0.1:8321/accounts/{account}",
        "event_time": at,
        "at": at,
        "detected_at": at,
        "cause": {"source": "web", "id": f"e{number}", "type": "page_visit"},
        "clock": "wall",
    } | fields


def raw_alert(account: str = "acme", number: int = 0, **fields: Any) -> bytes:
    """Return an alert as the value of its record."""
    return json.dumps(alert_json(account, number, **fields)).encode()


def alert(account: str = "acme", number: int = 0, **fields: Any) -> Alert:
    """Return an alert as the notifier reads it."""
    return decode_alert(raw_alert(account, number, **fields))
