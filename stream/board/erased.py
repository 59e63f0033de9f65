"""Alerts that lie in Kafka with the name of somebody who was erased since: shown without it."""

from collections.abc import Mapping
from typing import Any

from scoring.alert_texts import sentence
from scoring.digests import digest_of
from scoring.erasing import without_person
from scoring.report import parse_time

Json = dict[str, Any]


def unnamed_if_erased(alert: Json, erased: Mapping[str, float]) -> Json:
    """Return *alert*, without the person in it if they were *erased* after it.

    *erased* is digest -> time of the erasure, Unix seconds. What cannot be read is left as it is.
    """
    why = alert.get("why")
    who = why.get("contact_id") if isinstance(why, dict) else None
    if not isinstance(who, str) or (at := erased.get(digest_of(who))) is None:
        return alert
    if _happened(alert) > at:
        return alert
    assert isinstance(why, dict)
    hidden = without_person(why)
    name = str(alert.get("account_name") or alert.get("account_id"))
    said = sentence(str(alert.get("rule")), str(alert.get("subject")), hidden, name=name)
    return alert | {"why": hidden, "sentence": said}


def _happened(alert: Json) -> float:
    try:
        return parse_time(str(alert.get("event_time")))
    except ValueError:
        return float("-inf")
