"""The alert: what a salesperson is told, and why."""

from typing import Any

import msgspec


class ScoredAt(msgspec.Struct, frozen=True, gc=False):
    """The scores of an account at one moment, from 0 to 100; minutes are its decayed ones."""

    engagement: float
    engagement_minutes: float
    intent_surge: float
    relationship: float


class Alert(msgspec.Struct, frozen=True, gc=False):
    """One alert; ``id`` is the same however often it is computed."""

    id: str
    rule: str
    severity: str
    subject: str
    """The page, the intent topic or the move (``target>engaged``); empty for relationships."""
    account_id: str
    account_name: str
    """The id where the CRM gave no name."""
    sentence: str
    """What happened, as a salesperson would say it."""
    why: dict[str, Any]
    before: ScoredAt
    """Without the causing event; before a due instant, as of the instant before it."""
    after: ScoredAt
    stage: str | None
    target: bool
    tier: int | None
    owner_id: str | None
    owner_email: str | None
    notify: tuple[str, ...]
    """Who gets it: ``owner``, or names of routes."""
    next_step: str
    event_time: float
    """Of the causing event, or the due instant; Unix seconds."""
    at: float
    """The instant at which the rule was evaluated, Unix seconds."""
    cause: dict[str, str] | None
    """Source, id and type of the causing event; None for a due instant."""
