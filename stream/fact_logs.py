"""How facts are stored: two logs of fixed-size records per account, spend and names per shard.

The commit script appends to a log, and drops the oldest records of one that has grown beyond its
bounds by an eighth: those beyond the most that are kept, and those before the oldest kept time. At
the head of what is left it notes what was dropped, so that nobody takes the rest for all: the
newest time among it (the log is complete since then), its first touch and its touches.
"""

from dataclasses import dataclass
from math import inf
from struct import Struct
from typing import Final

from scoring.kpis.codes import CHANNEL_OF, TOUCH, Code
from scoring.kpis.facts import FACT, unpacked

MOST_NAMES: Final = 20_000
"""Names kept per shard; later ones are shown as numbers."""
MOST_SPEND: Final = 20_000
"""Spend records kept per shard, the newest by event time."""
SPEND_CUT: Final = b"since"
"""Member of the spend set that stands at the newest time among what was dropped."""
NEVER: Final = -1e300

OF_PEOPLE: Final = frozenset(
    {*CHANNEL_OF, Code.ATTENDED, Code.IDENTIFY, Code.SURVEY, Code.CONTACT, Code.CONTACT_REMOVED}
)
"""Codes of facts in which somebody stands as the contact."""

HEAD: Final = Struct("<dffdddBB")
"""The head of a cut log: newest time dropped, 0, 0, first touch dropped, 0, touches dropped, code
and 0. As long as a fact."""


@dataclass(slots=True)
class FactWrite:
    """What one commit appends to the two logs of an account, and what it keeps of them."""

    events: bytes = b""
    records: bytes = b""
    oldest: float = NEVER
    """Event time before which events are dropped."""
    spare_seconds: float = 0.0
    """How far before ``oldest`` the log may reach before that is done."""
    most: int = 8_192
    """Most records kept of each log."""


def cut(log: bytes, *, oldest: float, spare_seconds: float, most: int) -> bytes:
    """Return *log* after what the commit script drops of it.

    The reference of the script, and what the tests' store in memory does.
    """
    count, skip = len(log) // FACT.size, int(_is_cut(log))
    beyond = count - skip - most
    if count == skip:
        return log
    first = FACT.unpack_from(log, skip * FACT.size)[0]
    if beyond < max(1, most // 8) and first >= oldest - spare_seconds:
        return log
    newest, earliest, touches = NEVER, inf, 0.0
    if skip:
        newest, _, _, earliest, _, touches, _, _ = HEAD.unpack_from(log, 0)
    at = skip
    while at < count:
        time, *_, flags = FACT.unpack_from(log, at * FACT.size)
        code = log[at * FACT.size + FACT.size - 2]
        if at - skip >= beyond and time >= oldest:
            break
        newest = max(newest, time)
        if code <= Code.INTENT and flags & TOUCH:
            touches += 1.0
            earliest = min(earliest, time)
        at += 1
    head = HEAD.pack(newest, 0.0, 0.0, earliest, 0.0, touches, Code.CUT, 0)
    return head + log[at * FACT.size :]


def people_in(log: bytes) -> set[int]:
    """Return what stands for people in *log*, where codes have people."""
    return {who for _, _, _, who, _, _, code, _ in unpacked(log) if code in OF_PEOPLE}


def _is_cut(log: bytes) -> bool:
    return len(log) >= FACT.size and log[FACT.size - 2] == Code.CUT
