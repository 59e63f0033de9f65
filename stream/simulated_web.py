"""The web sessions of one account of the simulated market, with the chats that follow them."""

from collections.abc import Iterator
from random import Random

from stream.simulated_behaviour import (
    DAY_MS,
    TEMPERS,
    Browser,
    Draft,
    Quarter,
    Site,
    browser,
    chat_steps,
    device_fields,
    is_leaving,
    is_surging,
    office_time,
    page_fields,
    someone,
    visitor_fields,
    weekday_weight,
)
from stream.simulated_market import Account, Story, Vocabulary

_TIER_PACE = {1: 1.35, 2: 1.0, 3: 0.75}
_SURGE_PAGES_PER_DAY = 4.0
_STRANGERS = 4


class WebSessions:
    """One account's visitors over a quarter: who has been recognised, and what they read.

    A person is anonymous until an `identify` event ties the browser to the contact. Sessions come
    almost regularly (a page owed is a page read, give or take), because a steady account must
    look steady: independent arrivals would surge by accident every few weeks.
    """

    def __init__(
        self, rng: Random, account: Account, words: Vocabulary, *, customer_since_ms: float
    ) -> None:
        self._rng = rng
        self._account = account
        self._words = words
        self._site = Site(rng, words)
        self._customer_since_ms = customer_since_ms
        self._sessions = 0
        self._identified: set[int] = set()
        if account.story is not Story.QUIET:
            self._identified = {i for i in range(len(account.contacts)) if rng.random() < 0.3}

    def over(self, quarter: Quarter) -> Iterator[Draft]:
        """Yield all visits, identifications and chats of *quarter*, session by session."""
        owed = -3.0 * self._rng.random()
        for day in quarter.days:
            owed += self._pages_on(quarter, day)
            while owed > 0.0:
                pages = self._rng.choice((1, 1, 2) if self._is_shy else (1, 1, 2, 2, 3, 4))
                owed -= pages * self._rng.uniform(0.8, 1.2)
                yield from self._session(quarter, day, pages)

    @property
    def _is_shy(self) -> bool:
        return self._account.story is Story.QUIET

    def _pages_on(self, quarter: Quarter, day: int) -> float:
        account = self._account
        if is_surging(account, quarter, day):
            return _SURGE_PAGES_PER_DAY * weekday_weight(day)
        temper = TEMPERS[account.story]
        pages = temper.pages_per_day(quarter.progress(day)) * weekday_weight(day) * account.appetite
        return pages * _TIER_PACE[account.tier]

    def _session(self, quarter: Quarter, day: int, pages: int) -> Iterator[Draft]:
        rng, account = self._rng, self._account
        position = self._visitor()
        who = browser(account, self._words, position)
        identified = position in self._identified
        at = office_time(rng, account, day)
        self._sessions += 1
        fields = visitor_fields(account, who, identified=identified)
        visitor = {**fields, "session_id": self._named("s"), **device_fields(who)}
        audience = self._audience(quarter, day)
        for delay, page in self._pages(visitor, [self._site.page(audience) for _ in range(pages)]):
            yield at + delay, "page_visit", page
        ardour = TEMPERS[account.story].ardour(quarter.progress(day))
        if rng.random() < TEMPERS[account.story].chat * ardour:
            for elapsed, step in chat_steps(rng, fields, self._named("conv")):
                yield at + 40_000 + elapsed, "chat", step
        if who.contact_id and not identified and rng.random() < 0.16:
            self._identified.add(position)
            yield at + 30_000, "identify", self._identity(who)

    def _visitor(self) -> int:
        rng, account = self._rng, self._account
        if rng.random() < (0.7 if self._is_shy else 0.22):
            return len(account.contacts) + rng.randrange(_STRANGERS)
        return someone(rng, account)

    def _identity(self, who: Browser) -> dict[str, object]:
        fields = {"account_id": self._account.account_id, "anonymous_id": who.anonymous_id}
        by_mail = self._rng.random() < 0.35
        return {**fields, **({"email": who.email} if by_mail else {"contact_id": who.contact_id})}

    def _audience(self, quarter: Quarter, day: int) -> str:
        account, rng = self._account, self._rng
        if is_leaving(account, quarter.progress(day)) and rng.random() < 0.6:
            return "leaver"
        if account.story.is_customer and day * DAY_MS >= self._customer_since_ms:
            return "customer"
        keen = account.story is Story.EVALUATING or is_surging(account, quarter, day)
        return "evaluator" if keen and rng.random() < 0.7 else "prospect"

    def _pages(
        self, visitor: dict[str, object], urls: list[str]
    ) -> Iterator[tuple[int, dict[str, object]]]:
        rng = self._rng
        delay = 0
        referrer = self._site.referrer() if rng.random() < 0.7 else None
        for url in urls:
            fields = page_fields(rng, visitor, url)
            if referrer:
                fields["referrer"] = referrer
            yield delay, fields
            delay += rng.randint(4_000, 90_000)
            referrer = url

    def _named(self, kind: str) -> str:
        return f"{kind}-{self._account.number:05d}-{self._sessions:04d}"
