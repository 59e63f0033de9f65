"""Counting: what one event adds to the counts of its intent topics."""

from typing import TypeAlias

from scoring.account import utc_day
from scoring.events import Event
from scoring.pages import ANY_TOPIC
from scoring.rules import Rules

Counted: TypeAlias = tuple[tuple[str, ...], int, int]
"""What one event adds: intent topics, UTC day, amount.

Topics are sorted: surges that one event starts are announced in this order. A plain tuple,
because one is made for every visit.
"""


def counted_of(event: Event, time: float, rules: Rules) -> Counted | None:
    """Return what *event* of event time *time* counts for, None when it counts for nothing."""
    if event["type"] == "page_visit":
        topics = rules.read_page(event["url"]).topics
        return (topics, utc_day(time), 1) if topics else None
    if event["type"] == "intent":
        topic = event["topic"]
        topics = (ANY_TOPIC,) if topic == ANY_TOPIC else tuple(sorted((ANY_TOPIC, topic)))
        return topics, utc_day(time), max(1, round(event.get("strength", 1.0)))
    return None
