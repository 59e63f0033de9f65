"""How the buying committees of the simulated market behave: when, how often, on which pages.

What happens is yielded as drafts: event time (Unix milliseconds), type, fields. Rates are low on
purpose: engagement minutes halve every two weeks, so one minute a day keeps about twenty of them,
and most accounts must stay far below that for the scores to tell them apart.
"""

from bisect import bisect_right
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import accumulate
from random import Random

from stream.simulated_market import Account, Story, Vocabulary

DAY_MS = 86_400_000
HOUR_MS = 3_600_000

Draft = tuple[int, str, dict[str, object]]
"""Event time in Unix milliseconds, type, and all fields but `id`, `source`, `type`, `time`."""


@dataclass(frozen=True, slots=True)
class Quarter:
    """The span of time that is simulated, in Unix milliseconds; the end is not part of it."""

    start_ms: int
    end_ms: int

    @property
    def days(self) -> range:
        """The UTC days that the quarter touches, as days since 1970-01-01."""
        return range(self.start_ms // DAY_MS, (self.end_ms - 1) // DAY_MS + 1)

    @property
    def length_days(self) -> float:
        """How long the quarter is, in days."""
        return (self.end_ms - self.start_ms) / DAY_MS

    def progress(self, day: int) -> float:
        """Return how much of the quarter has passed when *day* begins, 0 to 1."""
        passed = (day * DAY_MS - self.start_ms) / (self.end_ms - self.start_ms)
        return min(1.0, max(0.0, passed))


@dataclass(frozen=True, slots=True)
class Temper:
    """How lively an account is in its story.

    `pace` holds (part of the quarter, pages a day) pairs, interpolated linearly; `reply` and
    `chat` are probabilities per mail and per web session while the pace is at its height.
    """

    pace: tuple[tuple[float, float], ...]
    outreach_per_week: float
    reply: float
    chat: float
    intent_per_week: float

    def pages_per_day(self, progress: float) -> float:
        """Interpolate the pace at *progress* (0 to 1)."""
        (before, low), *later = self.pace
        for after, high in later:
            if progress <= after:
                return low + (high - low) * (progress - before) / (after - before)
            before, low = after, high
        return low

    def ardour(self, progress: float) -> float:
        """Return the pace at *progress* relative to its height, 0 to 1."""
        return self.pages_per_day(progress) / max(level for _, level in self.pace)


TEMPERS: Mapping[Story, Temper] = {
    Story.QUIET: Temper(((0, 0.03), (1, 0.03)), 0.1, 0.02, 0.0, 0.1),
    Story.STEADY: Temper(((0, 0.75), (1, 0.75)), 0.4, 0.12, 0.02, 0.5),
    Story.WARMING: Temper(((0, 0.5), (1, 1.0)), 0.5, 0.2, 0.02, 0.6),
    Story.SURGING: Temper(((0, 0.1), (1, 0.1)), 0.3, 0.1, 0.03, 0.15),
    Story.COOLING: Temper(((0, 1.1), (0.25, 1.2), (0.35, 0.2), (0.45, 0.0), (1, 0.0)), 0.2, 0.2, 0.02, 0.4),
    Story.EVALUATING: Temper(((0, 1.0), (0.5, 1.2), (1, 1.25)), 1.3, 0.45, 0.03, 0.6),
    Story.LOST: Temper(((0, 1.0), (0.6, 1.1), (0.75, 0.2), (1, 0.1)), 0.9, 0.4, 0.03, 0.5),
    Story.CUSTOMER: Temper(((0, 1.0), (1, 1.05)), 0.9, 0.6, 0.03, 0.2),
    Story.RENEWED: Temper(((0, 1.0), (1, 1.0)), 1.0, 0.65, 0.03, 0.2),
    Story.EXPANDED: Temper(((0, 1.15), (1, 1.25)), 1.2, 0.7, 0.03, 0.2),
    Story.CHURNED: Temper(((0, 0.9), (0.4, 0.9), (0.55, 0.2), (1, 0.03)), 0.6, 0.4, 0.03, 0.4),
}  # fmt: skip

_LEAVING = (0.3, 0.5)
"""The part of the quarter in which a customer who will leave compares alternatives."""


def weekday(day: int) -> int:
    """Return the day of the week of *day* (days since 1970-01-01), 0 for Monday.

    >>> weekday(0)
    3
    """
    return (day + 3) % 7


def weekday_weight(day: int) -> float:
    """Return how busy *day* is; a week averages 1."""
    return 1.35 if weekday(day) < 5 else 0.125


def office_time(rng: Random, account: Account, day: int) -> int:
    """Return a moment in the account's office hours of *day*, Unix milliseconds."""
    local_hour = rng.triangular(8.0, 18.5, 10.5)
    return day * DAY_MS + int((local_hour - account.utc_offset_hours) * HOUR_MS)


def is_surging(account: Account, quarter: Quarter, day: int) -> bool:
    """Tell whether the account is in the sudden surge that its story ends with."""
    last_days = quarter.days.stop - account.surge_days
    return account.story is Story.SURGING and day >= last_days


def is_leaving(account: Account, progress: float) -> bool:
    """Tell whether a customer of that story is looking for something else at *progress*."""
    return account.story is Story.CHURNED and _LEAVING[0] <= progress < _LEAVING[1]


@dataclass(frozen=True, slots=True)
class Browser:
    """A visitor as the web sees one; `contact_id` is whose it is, None for a stranger."""

    anonymous_id: str
    contact_id: str | None
    email: str | None
    ip: str
    network_host: str
    user_agent: str


def browser(account: Account, words: Vocabulary, position: int) -> Browser:
    """Return the browser of the contact at *position*; beyond the committee, a stranger's."""
    known = position < len(account.contacts)
    contact = account.contacts[position] if known else None
    return Browser(
        anonymous_id=f"anon-{account.number:05d}-{position:02d}",
        contact_id=contact.contact_id if contact else None,
        email=contact.email if contact else None,
        ip=f"2001:db8:{account.number:x}::{position + 1:x}",
        network_host=f"gw{position % 3 + 1}.{account.domains[0]}",
        user_agent=words.user_agents[(account.number * 5 + position) % len(words.user_agents)],
    )


def someone(rng: Random, account: Account) -> int:
    """Return a position in the committee, the first ones (the champion) far more often."""
    return int(len(account.contacts) * rng.random() ** 2.2)


def visitor_fields(account: Account, who: Browser, *, identified: bool) -> dict[str, object]:
    """Return the fields that say who did something on the site, as far as the site can know."""
    fields: dict[str, object] = {"account_id": account.account_id, "anonymous_id": who.anonymous_id}
    if identified and who.contact_id:
        fields["contact_id"] = who.contact_id
    return fields


def device_fields(who: Browser) -> dict[str, object]:
    """Return the fields of a page visit that come from the connection."""
    return {"ip": who.ip, "network_host": who.network_host, "user_agent": who.user_agent}


class Site:
    """The pages of our site, read by each audience in the proportions of the vocabulary.

    Pages are drawn by golden-ratio steps, with a little noise, over their cumulated frequencies:
    independent draws would pile up on one subject every few weeks and look like a surge.
    """

    def __init__(self, rng: Random, words: Vocabulary) -> None:
        self._rng = rng
        self._words = words
        self._position = rng.random()
        self._pages = {
            audience: (tuple(pages), tuple(accumulate(pages.values())))
            for audience, pages in words.pages.items()
        }

    def page(self, audience: str) -> str:
        """Draw the URL of a page that *audience* (a table of the vocabulary) would read."""
        paths, weights = self._pages[audience]
        self._position = (self._position + 0.618034 + self._rng.uniform(-0.04, 0.04)) % 1.0
        return self.url(paths[bisect_right(weights, self._position * weights[-1])])

    def url(self, path: str) -> str:
        """Return the URL of *path*."""
        return self._words.site + path

    def referrer(self) -> str:
        """Draw where a visitor came from."""
        return self._rng.choice(self._words.referrers)


def page_fields(rng: Random, visitor: Mapping[str, object], url: str) -> dict[str, object]:
    """Return one page visit: a short stay mostly, a long one now and then."""
    found = rng.random() > 0.006
    return {
        **visitor,
        "url": url,
        "duration_seconds": round(min(900.0, rng.lognormvariate(2.5, 0.9)), 1) if found else 1.5,
        "http_status": 200 if found else 404,
    }


def chat_steps(
    rng: Random, fields: Mapping[str, object], conversation_id: str
) -> Iterator[tuple[int, dict[str, object]]]:
    """Yield one conversation: milliseconds since its start, and the fields of each event."""
    shared = {**fields, "conversation_id": conversation_id}
    yield 0, {**shared, "action": "started", "direction": "inbound"}
    elapsed = 0
    direction = "inbound"
    for _ in range(rng.randint(2, 7)):
        elapsed += rng.randint(9_000, 48_000)
        yield elapsed, {**shared, "action": "message", "direction": direction}
        direction = "inbound" if direction == "outbound" or rng.random() < 0.2 else "outbound"
    elapsed += rng.randint(10_000, 60_000)
    ended = {
        "action": "ended",
        "direction": direction,
        "duration_seconds": round(elapsed / 1000, 1),
    }
    yield elapsed, {**shared, **ended}
