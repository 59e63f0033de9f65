"""Moves between funnel stages of the last days, each counted once."""

from collections import Counter, OrderedDict
from typing import Any, Final

from scoring.model import SECONDS_PER_DAY
from scoring.report import parse_time

KEPT_DAYS: Final = 30
MOST_MOVES: Final = 200_000
RULE: Final = "stage_changed"


class Moves:
    """Moves that the board has heard of: from alerts while it starts, and live after that.

    The counters in Redis have no dates. An alert and the transition that it is about are one move:
    the same account, stages and instant.
    """

    def __init__(self) -> None:
        self._moves: OrderedDict[tuple[str, str, float], None] = OrderedDict()
        self.oldest: float | None = None
        """Instant of the oldest alert or move that was read, Unix seconds."""
        self.dropped = False
        """Some were too many."""

    def add(self, account_id: str, fact: dict[str, Any]) -> None:
        """Count *fact*, an alert or a transition, if it is a move."""
        subject, at = fact.get("subject"), fact.get("at")
        if not isinstance(subject, str) or not isinstance(at, str):
            return
        try:
            instant = parse_time(at)
        except ValueError:
            return
        self.oldest = instant if self.oldest is None else min(self.oldest, instant)
        if fact.get("rule") == RULE:
            self._moves[account_id, subject, instant] = None
        if len(self._moves) > MOST_MOVES:
            self._moves.popitem(last=False)
            self.dropped = True

    def counts(self, now: float, *, days: int) -> dict[str, int]:
        """Return ``from>to`` -> moves of the last *days* days before *now* (Unix seconds)."""
        since = now - days * SECONDS_PER_DAY
        found = Counter(subject for _, subject, at in self._moves if since < at <= now)
        return dict(sorted(found.items()))
