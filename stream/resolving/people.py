"""People who left: who was erased, and who belongs to another account than before."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from scoring.digests import digest_of
from scoring.directory import ContactEntry, Key, Kind, Told, VisitorEntry, joined, plain_email
from scoring.events import Event
from scoring.live import Errand
from scoring.moving import left
from stream.directory import Directory
from stream.state_store import RedisStore

NOBODY: Final[Mapping[str, float]] = {}


class Erased:
    """Who was erased, and when: what was said and done until then is told to nobody."""

    def __init__(self, store: RedisStore) -> None:
        self._store = store
        self._known: Mapping[str, float] = NOBODY

    async def look(self) -> None:
        """Learn of erasures since the last look."""
        self._known = await self._store.erased_people()

    async def note(self, erasures: Iterable[tuple[str, float]]) -> None:
        """Remember (contact id, time) of *erasures* that the log tells of."""
        for contact_id, time in erasures:
            digest = digest_of(contact_id)
            if time > self._known.get(digest, float("-inf")):
                await self._store.note_erased([digest], time)
        await self.look()

    def hides(self, told: Told) -> bool:
        """Tell whether *told* names somebody who was erased since."""
        entry = told.entry
        names = [told.key[1]] if told.key[0] is Kind.CONTACT else []
        if isinstance(entry, ContactEntry | VisitorEntry):
            names += [entry.email or ""]
        if isinstance(entry, VisitorEntry):
            names += [entry.contact_id or ""]
        return self._are(names, entry.recorded_at)

    def hides_event(self, event: Event, time: float) -> bool:
        """Tell whether *event* of *time* names somebody who was erased since."""
        return self._are([event.get("contact_id", ""), plain_email(event.get("email", ""))], time)

    def _are(self, names: Iterable[str], time: float) -> bool:
        known = self._known
        return bool(known) and any(time <= known.get(digest_of(n), -1e300) for n in names if n)


async def departures(directory: Directory, told: Sequence[Told]) -> list[Errand]:
    """Return what the former accounts are told of people who, by *told*, belong to others now.

    Whichever of the two records comes first; call it before the directory is told.
    """
    people = [each for each in told if each.key[0] is Kind.CONTACT]
    if not people:
        return []
    keys: list[Key] = [each.key for each in people]
    known: dict[Key, Any] = await directory.read(list(dict.fromkeys(keys)))
    errands = []
    for key, entry in people:
        old = known[key]
        assert isinstance(entry, ContactEntry)
        if old is not None:
            errands += left(key[1], old, entry)
        known[key] = joined(old, entry)
    return errands
