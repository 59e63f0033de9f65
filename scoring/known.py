"""The directory in memory: for files, where no Redis is."""

from collections import defaultdict
from collections.abc import Iterable
from typing import Any

from scoring.directory import ENTRIES, Entry, Key, Kind, Told, joined, listed


class Known:
    """What was told so far; the newest word on each counts."""

    def __init__(self) -> None:
        self._entries: dict[Key, Entry] = {}
        self._lines: defaultdict[Key, set[str]] = defaultdict(set)

    def tell(self, told: Iterable[Told]) -> None:
        """Take over what was *told*, in this order."""
        for key, entry in told:
            old = self._entries.get(key)
            stays = joined(old, entry)
            if stays is old:
                continue
            self._entries[key] = stays
            was, now = listed(key, old), listed(key, stays)
            for gone in was - now:
                self._lines[gone.key].discard(gone.member)
            for new in now - was:
                self._lines[new.key].add(new.member)

    def look(self, key: Key) -> Any:
        """Return what is held under *key*: an entry or None, ids, or a number."""
        kind = key[0]
        if kind in ENTRIES:
            return self._entries.get(key)
        found = self._lines.get(key, set())
        return len(found) if kind is Kind.SIZE else sorted(found)
