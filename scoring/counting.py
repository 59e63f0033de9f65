"""Counting: what one event adds to the counts of its intent topics."""

from typing import TypeAlias

from scoring.events import Event
from scoring.pages import ANY_TOPIC, Page

Counted: TypeAlias = tuple[tuple[str, ...], int, int]
"""What one event adds: intent topics, UTC day, amount.

Topics are sorted: surges that one event starts are announced in this order. A plain tuple,
because one is made for every visit.
"""


def counted_of(event: Event, day: int, page: Page | None) -> Counted | None:
    """Return what *event* of the UTC *day* counts for, None when it counts for nothing.

    *page* is what it visits, None for events of other types.
    """
    if page is not None:
        return (page.topics, day, 1) if page.topics else None
    if event["type"] == "intent":
        topic = event["topic"]
        topics = (ANY_TOPIC,) if topic == ANY_TOPIC else tuple(sorted((ANY_TOPIC, topic)))
        return topics, day, max(1, round(event.get("strength", 1.0)))
    return None
