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
        self._callers = 0
        """Callers of `answered` whose last attempt failed."""

    @property
    def away(self) -> bool:
        """Tell whether somebody's last attempt failed."""
        return self._failures > 0 or self._callers > 0

    async def wait(self, error: Unreachable) -> None:
        """Wait after a failed attempt."""
        if not self.away:
            self._say(f"{error} Waiting for it; nothing is lost.")
        self._failures += 1
        await asyncio.sleep(_pause(self._failures))

    async def answered(self, call: Callable[[], Awaitable[T]]) -> T:
        """Return what *call* answers, calling again as long as it raises Unreachable.

        The server is back when nobody waits for it any more: a full Redis, say, still answers
        those that only read.
        """
        failures = 0
        try:
            while True:
                try:
                    answer = await call()
                except Unreachable as error:
                    failures += 1
                    self._enter(error, failures)
                    await asyncio.sleep(_pause(failures))
                else:
                    self._leave(failures)
                    return answer
        except BaseException:
            self._callers -= failures > 0
            raise

    def _enter(self, error: Unreachable, failures: int) -> None:
        if failures == 1:
            if not self.away:
                self._say(f"{error} Waiting for it; nothing is lost.")
            self._callers += 1

    def _leave(self, failures: int) -> None:
        if failures:
            self._callers -= 1
            if not self.away:
                self._say(f"{self._name} is back.")

    def succeeded(self) -> None:
        """Note that an attempt succeeded."""
        if self._failures:
            self._failures = 0
            if not self.away:
                self._say(f"{self._name} is back.")


def _pause(failures: int) -> float:
    longest: float = min(LONGEST_SECONDS, FIRST_SECONDS * 2 ** min(failures, 10))
    return longest * random.uniform(0.5, 1.0)  # noqa: S311  # jitter
