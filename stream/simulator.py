"""A simulated quarter of a business-to-business market, as the events that producers would send.

`simulate` tells the quarter, `live_events` goes on after it. Both are deterministic, so that a
demonstration, a benchmark and a bug report can talk about the same accounts.
"""

import math
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime, timedelta
from operator import itemgetter

from stream import simulated_outreach as outreach
from stream import simulated_sales as sales
from stream.simulated_behaviour import DAY_MS, Draft, Quarter
from stream.simulated_live import scenes
from stream.simulated_market import Account, Market, build_market, seeded
from stream.simulated_web import WebSessions

__all__ = ["Market", "live_events", "simulate"]

_SOURCES = {
    "account": "crm",
    "ad": "ads",
    "chat": "chat",
    "contact": "crm",
    "email": "mail",
    "identify": "web",
    "intent": "intent",
    "meeting": "calendar",
    "opportunity": "crm",
    "page_visit": "web",
    "spend": "finance",
    "survey": "survey",
}
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_BOUNDLESS = frozenset({"account", "contact", "opportunity"})
_REPEATED = 0.002


def simulate(
    seed: int, *, end: datetime, weeks: int = 13, accounts: int = 300
) -> Iterator[dict[str, object]]:
    """Yield all events of the *weeks* (1 to 520) before *end*, ordered by event time.

    The events are ready for JSON. One in five hundred comes twice, as producers that try again do.
    What the CRM knew before (accounts, contacts, older opportunities) comes first, with the time
    at which it happened. The same arguments give the same events, in every process.

    Raises ValueError for an *end* without offset and for numbers outside their bounds.
    """
    if not 1 <= weeks <= 520:
        raise ValueError(f"a simulation spans 1 to 520 weeks, not {weeks}")
    end_ms = _milliseconds(end)
    quarter = Quarter(start_ms=end_ms - weeks * 7 * DAY_MS, end_ms=end_ms)
    market = build_market(seed, accounts=accounts)
    run = f"{seeded(seed, end_ms, weeks, accounts).getrandbits(24):06x}"
    return _told(_history(market, quarter), run)


def live_events(
    seed: int, *, start: datetime, accounts: int = 300, per_second: float = 3.0
) -> Iterator[tuple[float, dict[str, object]]]:
    """Yield without end (seconds to wait before it, event) pairs for the accounts of *seed*.

    Event times begin at *start* and advance by the waits, *per_second* events a second on
    average. Now and then a surge builds up, somebody reads the prices, or a meeting is booked.

    Raises ValueError for a *start* without offset and for a rate that is not above zero.
    """
    if not 0.0 < per_second < math.inf:
        raise ValueError(f"live events need a rate above zero, not {per_second}")
    start_ms = _milliseconds(start)
    market = build_market(seed, accounts=accounts)
    return _live(market, start_ms, per_second)


def _live(
    market: Market, start_ms: int, per_second: float
) -> Iterator[tuple[float, dict[str, object]]]:
    rng = seeded(market.seed, len(market.accounts), start_ms, "live")
    run = f"live{start_ms:x}"
    publisher = _Publisher(run)
    elapsed = 0.0
    for kind, fields in scenes(rng, market, run):
        wait = rng.expovariate(per_second)
        elapsed += wait
        yield wait, publisher.event(start_ms + int(elapsed * 1000), kind, fields)


def _history(market: Market, quarter: Quarter) -> list[Draft]:
    """Return all drafts of the quarter in order of time, equal times in the order of telling."""
    drafts = list(sales.spend(seeded(market.seed, "spend"), market, quarter))
    for account in market.accounts:
        drafts.extend(_account_history(market, account, quarter))
    start_ms, end_ms = quarter.start_ms, quarter.end_ms
    within = [
        draft for draft in drafts
        if draft[0] < end_ms and (draft[0] >= start_ms or draft[1] in _BOUNDLESS)
    ]  # fmt: skip
    within.sort(key=itemgetter(0))
    return within


def _account_history(market: Market, account: Account, quarter: Quarter) -> Iterator[Draft]:
    """Yield the whole quarter of one account; each part draws from a generator of its own."""
    words = market.vocabulary
    part = (market.seed, len(market.accounts), account.number)
    deals = sales.deals(seeded(*part, "deals"), account, quarter)
    since_ms = sales.customer_since_ms(deals)
    yield from sales.records(seeded(*part, "records"), account, quarter, deals)
    yield from sales.opportunities(seeded(*part, "opportunities"), account, deals)
    yield from sales.meetings(seeded(*part, "meetings"), account, quarter, deals)
    yield from sales.surveys(seeded(*part, "surveys"), account, quarter, since_ms)
    sessions = WebSessions(seeded(*part, "web"), account, words, customer_since_ms=since_ms)
    yield from sessions.over(quarter)
    yield from outreach.ads(seeded(*part, "ads"), account, words, quarter)
    yield from outreach.newsletters(seeded(*part, "newsletters"), account, words, quarter)
    yield from outreach.SalesMail(seeded(*part, "mail"), account, words).over(quarter)
    yield from outreach.intent(seeded(*part, "intent"), account, words, quarter)


class _Publisher:
    """Turns drafts into events: numbers them per source, and writes their times."""

    def __init__(self, run: str) -> None:
        self._run = run
        self._counts = dict.fromkeys(_SOURCES.values(), 0)
        self._day = -1
        self._date = ""

    def event(self, at: int, kind: str, fields: dict[str, object]) -> dict[str, object]:
        source = _SOURCES[kind]
        self._counts[source] = number = self._counts[source] + 1
        return {
            "id": f"{source}-{self._run}-{number}",
            "source": source,
            "type": kind,
            "time": self._written(at),
            **fields,
        }

    def _written(self, at: int) -> str:
        """Write Unix milliseconds as RFC 3339; the date is kept, since most follow on one day."""
        day, of_day = divmod(at, DAY_MS)
        if day != self._day:
            self._day = day
            self._date = (_EPOCH + timedelta(days=day)).date().isoformat()
        seconds, milliseconds = divmod(of_day, 1000)
        minutes, second = divmod(seconds, 60)
        hour, minute = divmod(minutes, 60)
        return f"{self._date}T{hour:02}:{minute:02}:{second:02}.{milliseconds:03}Z"


def _told(drafts: Iterable[Draft], run: str) -> Iterator[dict[str, object]]:
    """Yield the events of *drafts*, a few of them twice."""
    draw = seeded(run, "repeats").random
    publisher = _Publisher(run)
    for draft in drafts:
        event = publisher.event(*draft)
        yield event
        if draw() < _REPEATED:
            yield dict(event)


def _milliseconds(moment: datetime) -> int:
    if moment.tzinfo is None:
        raise ValueError(f"{moment.isoformat()} has no offset: give one, for example +00:00")
    return (moment - _EPOCH) // timedelta(milliseconds=1)
