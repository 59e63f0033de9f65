"""What is known of one account in memory beyond its stored state."""

from collections.abc import Callable
from typing import Any, NamedTuple, TypeAlias

import msgspec
from xxhash import xxh3_128_hexdigest

from scoring.alert import Alert
from scoring.events import Event
from scoring.history import DayScores
from scoring.surge import Window

Cause: TypeAlias = Event | None
"""The causing event; None for a due instant."""


class Transition(msgspec.Struct, frozen=True, gc=False):
    """A change that is announced; ``id`` is the same however often it is computed."""

    id: str
    rule: str
    """``stage_changed``, ``surge_started`` or ``surge_ended``."""
    subject: str
    """The move (``target>engaged``) or the intent topic."""
    at: float
    """The instant at which it was evaluated, Unix seconds."""


class Raised(NamedTuple):
    """An alert whose scores are told once its event is wholly applied."""

    rule: str
    subject: str
    why: dict[str, Any]


Fact: TypeAlias = tuple[Event, float, float | None, float]
"""An event applied, its time, the points of an engagement event (None: another) and the minutes
that the daily cap left of them, -1 when it came too late."""


class Errand(NamedTuple):
    """What another account is told once this one is committed: a gift waits, or an event."""

    account_id: str
    """Who is told."""
    gift: str | None = None
    """Id of what waits for it in the ledger of the giver."""
    giver: str = ""
    """The account that keeps the gift."""
    event: Event | None = None
    """What it has to fold."""


class TopicWindow:
    """One topic's running counts at the instant's day."""

    __slots__ = ("baseline", "count", "score", "start")

    def __init__(self, x: int, baseline: int, start: int) -> None:
        self.count = x
        self.baseline = baseline
        self.start = start
        """No surge starts below this count; from here on it is looked at more closely."""
        self.score: float | None = None
        """As last asked for; whoever changes a count takes it away."""

    def as_of(self, weeks: int) -> Window:
        """Return the window, with *weeks* of history behind it."""
        return Window(self.count, self.baseline, weeks)

    def scored(self, weeks: int, score: Callable[[Window], float]) -> float:
        """Return what *score* says of the window, remembering it."""
        value = self.score
        if value is None:
            value = self.score = score(self.as_of(weeks))
        return value


class Live:
    """What is known of one account beyond its stored state.

    Attributes:
        day, weeks, windows: the surge windows as of one day; derived, dropped freely.
        closeness: (relationship score, instant) as last computed; derived, dropped freely.
        raised: alerts of the event or instant that is being applied.
        announced, alerts, days, facts, errands: transitions, alerts, the scores of days that
            ended, every event applied and what other accounts are told, until the shell takes
            them.
        packed: facts that are packed already, those of either log; see `scoring.kpis.facts`.
    """

    __slots__ = (
        "alerts",
        "announced",
        "closeness",
        "day",
        "days",
        "errands",
        "facts",
        "packed",
        "raised",
        "weeks",
        "windows",
    )

    def __init__(self) -> None:
        self.announced: list[Transition] = []
        self.alerts: list[Alert] = []
        self.days: list[DayScores] = []
        self.facts: list[Fact] = []
        self.packed: tuple[list[bytes], list[bytes]] = ([], [])
        self.errands: list[Errand] = []
        self.raised: list[Raised] = []
        self.closeness: tuple[float, float] | None = None
        self.day: int | None = None
        self.weeks = 0
        self.windows: dict[str, TopicWindow] = {}

    def surges(self, score: Callable[[Window], float]) -> dict[str, float]:
        """Return the score of each topic with counts, remembering what *score* said."""
        found = {}
        for topic, each in self.windows.items():
            value = each.scored(self.weeks, score)
            if value or each.count or each.baseline:
                found[topic] = value
        return found


def reproducible_id(
    rule: str, subject: str, *, account_id: str, cause: Cause, instant: float
) -> str:
    """Return the id of what *rule* announces: the same however often it is computed.

    A hash of rule, account, subject and the causing event's (source, id), or the due *instant*.
    """
    why = (
        f"due\x1f{instant * 1000:.0f}"
        if cause is None
        else f"event\x1f{cause['source']}\x1f{cause['id']}"
    )
    text = f"{rule}\x1f{account_id}\x1f{subject}\x1f{why}"
    return xxh3_128_hexdigest(text.encode("utf-8", "surrogatepass"))
