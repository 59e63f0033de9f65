"""Finding accounts: events that name none, looked up in the directory a micro-batch at a time."""

import time
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Any, Final

from scoring.directory import Key
from scoring.domains import domains_of
from scoring.events import Event
from scoring.resolution import (
    Clues,
    LookUpAddress,
    Resolution,
    clues_of,
    resolve,
)
from scoring.resolution_rules import ResolutionModel
from stream.backoff import Backoff
from stream.directory import Directory

GENERATION_SECONDS: Final = 1.5
"""Answers are remembered for one generation, and the next where it follows: 4.5 s at most."""
REMEMBERED: Final = 50_000
"""Answers of one generation."""

Clock = Callable[[], float]
Read = Callable[[Sequence[Key]], Awaitable[dict[Key, Any]]]


class AccountFinder:
    """Finds the accounts of events; asks Redis in batches, and remembers answers for seconds.

    *look_up* is the operator's database of networks.
    """

    def __init__(
        self,
        directory: Directory,
        model: ResolutionModel,
        *,
        look_up: LookUpAddress | None,
        backoff: Backoff,
        clock: Clock = time.monotonic,
    ) -> None:
        self.model = model
        self.domains = domains_of(model.domains)
        self._directory = directory
        self._look_up = look_up
        self._backoff = backoff
        self._clock = clock
        self._young: dict[Key, Any] = {}
        self._old: dict[Key, Any] = {}
        self._since = clock()

    def clues(self, event: Event) -> Clues:
        """Return what *event* carries of whose it is."""
        return clues_of(event, self.domains, self._look_up)

    async def find(self, events: Iterable[Event]) -> list[Resolution]:
        """Return the resolution of each of *events*, by answers that are seconds old at most."""
        self._grow_old()
        return await self._resolved([self.clues(each) for each in events], {}, self._remembered)

    async def find_now(self, clues: Sequence[Clues], known: dict[Key, Any]) -> list[Resolution]:
        """Return the resolution of each of *clues* by what Redis holds now, added to *known*."""
        return await self._resolved(clues, known, self._read)

    async def _resolved(
        self, clues: Sequence[Clues], known: dict[Key, Any], read: Read
    ) -> list[Resolution]:
        wanted = {key for each in clues for key in each.keys}
        found: dict[int, Resolution] = {}
        left = list(range(len(clues)))
        while left:
            known |= await read([key for key in wanted if key not in known])
            wanted, waiting = set(), []
            for number in left:
                try:
                    found[number] = resolve(clues[number], known.__getitem__, self.model)
                except KeyError as unread:
                    wanted.add(unread.args[0])
                    waiting.append(number)
            left = waiting
        return [found[number] for number in range(len(clues))]

    async def _read(self, keys: Sequence[Key]) -> dict[Key, Any]:
        if not keys:
            return {}
        return await self._backoff.answered(lambda: self._directory.read(keys))

    async def _remembered(self, keys: Sequence[Key]) -> dict[Key, Any]:
        found = {key: held[key] for held in (self._old, self._young) for key in keys if key in held}
        fresh = await self._read([key for key in keys if key not in found])
        self._young |= fresh
        return found | fresh

    def _grow_old(self) -> None:
        now = self._clock()
        age = now - self._since
        if age > GENERATION_SECONDS or len(self._young) > REMEMBERED:
            self._old = self._young if age <= 2 * GENERATION_SECONDS else {}
            self._young = {}
            self._since = now
