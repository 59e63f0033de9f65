"""Backoff: waiting for a server that is away, and saying so once."""

import asyncio
import random
from collections.abc import Awaitable, Callable
from typing import Final, TypeVar

from stream.errors import Unreachable

T = TypeVar("T")

FIRST_SECONDS: Final = 0.1
LONGEST_SECONDS: Final = 5.0


class Backoff:
    """Waits longer and longer, with jitter; one line when a server goes, one when it is back.

    Several callers may share one: they are all waiting for the same server.
    """

    def __init__(self, say: Callable[[str], None], *, name: str) -> None:
        self._say = say
        self._name = name
        self._failures = 0

    @property
    def away(self) -> bool:
        """Tell whether the last attempt failed."""
        return self._failures > 0

    async def wait(self, error: Unreachable) -> None:
        """Wait after a failed attempt."""
        if not self._failures:
            self._say(f"{error} Waiting for it; nothing is lost.")
        self._failures += 1
        longest = min(LONGEST_SECONDS, FIRST_SECONDS * 2 ** min(self._failures, 10))
        await asyncio.sleep(longest * random.uniform(0.5, 1.0))  # noqa: S311  # jitter

    async def answered(self, call: Callable[[], Awaitable[T]]) -> T:
        """Return what *call* answers, calling again as long as it raises Unreachable."""
        while True:
            try:
                answer = await call()
            except Unreachable as error:
                await self.wait(error)
            else:
                self.succeeded()
                return answer

    def succeeded(self) -> None:
        """Note that an attempt succeeded."""
        if self._failures:
            self._failures = 0
            self._say(f"{self._name} is back.")
