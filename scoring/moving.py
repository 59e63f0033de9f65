"""People who move: what two accounts say of one person, and which of them is told."""

from scoring.directory import ContactEntry
from scoring.gifts import departure
from scoring.live import Errand


def left(contact_id: str, one: ContactEntry, other: ContactEntry) -> list[Errand]:
    """Return what is told where *one* and *other* are the words of two accounts on a person."""
    here = [each for each in (one, other) if not each.removed]
    if one.account_id == other.account_id or not here:
        return []
    if len(here) == 2 and one.recorded_at == other.recorded_at:
        return []  # nobody can tell which came later
    now = max(here, key=lambda entry: entry.recorded_at)
    former = other if now is one else one
    return [
        departure(contact_id, former=former.account_id, to=now.account_id, time=now.recorded_at)
    ]
