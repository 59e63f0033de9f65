"""Dedupe: a repeat of an event, known by (source, id), changes nothing.

A repeat carries the same event time, so the ids are kept per event type and UTC day of
event time, for the day of the account's newest event of that type and the days before it
that the model sets. What is older, or beyond the limit of a day, is scored unchecked.
"""

from collections.abc import Iterable
from enum import Enum, auto
from typing import Final

from xxhash import xxh3_64_intdigest

from scoring.events import Event

DayKey = tuple[int, int]
"""(event type code, UTC day)."""


ATTRIBUTED: Final = 10_000_000
"""Added to the day of a key under which ids of attributed events are kept, beside the others.

An account may be found weeks after an event, and the event come twice: these ids are looked up
for every event that carries a resolution, however old it is, and last for as long as an event
waits. No calendar here reaches such days.
"""


class Check(Enum):
    """What looking up an event's id found."""

    NEW = auto()
    REPEAT = auto()
    UNCHECKED = auto()


# Looking a member up in its enumeration takes ten times as long as a name of the module.
NEW: Final = Check.NEW
REPEAT: Final = Check.REPEAT
UNCHECKED: Final = Check.UNCHECKED


class SeenIds:
    """The hashes of the event ids seen of one account, by event type and day.

    Days absent here count as empty: the shell loads what a batch can touch before folding
    it, persists ``fresh``, the hashes added since it last took them, and may delete what it
    stored under ``forgotten``.
    """

    __slots__ = ("days", "forgotten", "fresh")

    def __init__(self) -> None:
        self.days: dict[DayKey, set[int]] = {}
        self.fresh: dict[DayKey, list[int]] = {}
        self.forgotten: list[DayKey] = []

    def check(self, key: DayKey, event: Event, *, limit: int) -> Check:
        """Look up *event* under *key* and remember it when it is new and there is room."""
        known = self.days.get(key)
        digest = event_hash(event)
        if known is None:
            self.days[key] = {digest}
        elif digest in known:
            return REPEAT
        elif len(known) >= limit:
            return UNCHECKED
        else:
            known.add(digest)
        fresh = self.fresh.get(key)
        if fresh is None:
            self.fresh[key] = [digest]
        else:
            fresh.append(digest)
        return NEW

    def knows(self, key: DayKey, event: Event) -> bool:
        """Tell whether *event* was seen under *key*, and remember nothing."""
        return event_hash(event) in self.days.get(key, ())

    def absorb(self, key: DayKey, digests: Iterable[int], *, limit: int) -> None:
        """Remember the ids that another account has seen, as far as there is room."""
        known = self.days.setdefault(key, set())
        new = [each for each in digests if each not in known][: max(0, limit - len(known))]
        if new:
            known.update(new)
            self.fresh.setdefault(key, []).extend(new)

    def move_window(self, type_code: int, *, old_day: int, new_day: int, days_before: int) -> None:
        """Forget the days that leave the window when the newest day of a type moves on."""
        for day in range(old_day - days_before, min(old_day + 1, new_day - days_before)):
            key = (type_code, day)
            self.days.pop(key, None)
            self.fresh.pop(key, None)
            self.forgotten.append(key)


def event_hash(event: Event) -> int:
    """Return 64 bits of (source, id) that are the same in every process.

    >>> event_hash({"source": "a", "id": "bc"}) == event_hash({"source": "ab", "id": "c"})
    False
    """
    source = event["source"]
    text = f"{len(source)}:{source}{event['id']}"
    try:
        return xxh3_64_intdigest(text.encode())
    except UnicodeEncodeError:  # half a surrogate pair, which JSON can write
        return xxh3_64_intdigest(text.encode("utf-8", "surrogatepass"))
