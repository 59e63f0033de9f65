"""How often one token or address may ask."""

import time
from collections import OrderedDict
from collections.abc import Callable
from typing import Final

BURST_SECONDS: Final = 2.0
"""So many seconds' worth may come at once: a page asks for several things."""
MOST_KEPT: Final = 10_000


class RateLimit:
    """A bucket of requests for each key, filled at *per_second*; 0 lets everything through."""

    def __init__(self, per_second: float, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._rate = per_second
        self._most = max(1.0, per_second * BURST_SECONDS)
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()
        """Key -> requests left, and when that was counted; the longest unused first."""
        self._monotonic = monotonic

    def wait(self, key: str) -> float:
        """Take one request from the bucket of *key*; return 0, or the seconds until there is one."""
        if not self._rate:
            return 0.0
        now = self._monotonic()
        left, counted_at = self._buckets.pop(key, (self._most, now))
        left = min(self._most, left + (now - counted_at) * self._rate)
        seconds = 0.0 if left >= 1.0 else (1.0 - left) / self._rate
        self._buckets[key] = (left if seconds else left - 1.0, now)
        if len(self._buckets) > MOST_KEPT:
            self._buckets.popitem(last=False)
        return seconds
