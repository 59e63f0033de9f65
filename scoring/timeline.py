"""The timeline of an account: its last touches, from the facts that are remembered for the KPIs."""

from collections.abc import Iterable, Sequence
from typing import Any

from scoring.account import CHANNEL_CODES
from scoring.fold import LABEL_LENGTH
from scoring.history import TOUCHES_KEPT, Touched
from scoring.kpis.codes import CHANNEL_OF, INBOUND, LATE, Code
from scoring.kpis.facts import Names, text_hash, unpacked

_SPOKEN = frozenset({"chat", "email"})


def last_facts(log: bytes) -> list[tuple[Any, ...]]:
    """Return the facts of the last touches in a *log* of events, newest by arrival first.

    What nobody felt, impressions, and what came too late are left out.
    """
    found = []
    for fact in reversed(unpacked(log)):
        code, flags = fact[-2:]
        if code in CHANNEL_OF and code != Code.AD_IMPRESSION and not flags & LATE:
            found.append(fact)
            if len(found) == TOUCHES_KEPT:
                break
    return found


def touches_of(
    facts: Sequence[tuple[Any, ...]], names: Names, contact_ids: Iterable[str]
) -> list[Touched]:
    """Return *facts* of `last_facts` as people read them, the newest by event time first.

    *names* are the texts behind their subjects, *contact_ids* those of the account's contacts.
    """
    people = {text_hash(each): each for each in contact_ids}
    found = [
        Touched(
            time,
            CHANNEL_CODES[CHANNEL_OF[code]],
            people.get(contact),
            _label(code, flags, names.get(subject, ""))[:LABEL_LENGTH],
            added,
        )
        for time, _, added, contact, subject, _, code, flags in facts
    ]
    return sorted(found, key=lambda each: -each.time)


def _label(code: int, flags: int, subject: str) -> str:
    """Say which page was read, which topic, or what was done."""
    channel = CHANNEL_OF[code]
    if channel in ("page_visit", "intent"):
        return subject
    action = Code(code).name.lower().removeprefix(f"{channel}_")
    if channel not in _SPOKEN:
        return action
    return f"{'inbound' if flags & INBOUND else 'outbound'} {action}"
