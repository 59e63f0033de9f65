"""What goes on in the simulated market after its quarter: one small scene after another."""

from collections import deque
from collections.abc import Callable, Iterator
from itertools import accumulate, count, cycle
from random import Random

from stream.simulated_behaviour import (
    Site,
    browser,
    chat_steps,
    device_fields,
    page_fields,
    someone,
    visitor_fields,
)
from stream.simulated_market import Account, Market, Story
from stream.simulated_sales import meeting_fields

Step = tuple[str, dict[str, object]]
"""Type and fields of an event that has no time yet."""

_SCENES = {
    "impression": 600,
    "visit": 200,
    "mail": 90,
    "intent": 30,
    "prices": 30,
    "chat": 15,
    "meeting": 12,
    "surge": 6,
    "comparison": 2,
}
"""Scenes and their relative frequencies."""

_SLEEPERS = frozenset({Story.QUIET, Story.COOLING, Story.LOST})

_IN_PROGRESS = 0.4
"""How often the next step of a scene that has begun is taken, rather than a new scene begun."""


def scenes(rng: Random, market: Market, run: str) -> Iterator[Step]:
    """Yield without end the steps of scenes drawn at random; longer scenes overlap with others.

    *run* goes into the ids of sessions, conversations and meetings, to tell runs apart.
    """
    plays = Stage(rng, market, run).plays()
    names, weights = list(_SCENES), list(accumulate(_SCENES.values()))
    begun: deque[Step] = deque()
    while True:
        if begun and rng.random() < _IN_PROGRESS:
            yield begun.popleft()
            continue
        first, *later = plays[rng.choices(names, cum_weights=weights)[0]]()
        begun.extend(later)
        yield first


class Stage:
    """Plays the scenes: who is in each, and what they do."""

    def __init__(self, rng: Random, market: Market, run: str) -> None:
        self._rng = rng
        self._words = market.vocabulary
        self._site = Site(rng, market.vocabulary)
        self._run = run
        self._serial = count(1)
        self._accounts = market.accounts
        self._lively = self._those(lambda account: account.story is not Story.QUIET)
        self._buyers = self._those(lambda account: account.story.is_customer)
        sleepers = self._those(lambda account: account.story in _SLEEPERS)
        self._sleepers = cycle(rng.sample(sleepers, len(sleepers)))

    def plays(self) -> dict[str, Callable[[], list[Step]]]:
        """Return the scenes by name; each returns the steps of one performance, at least one."""
        return {
            "impression": self._impression,
            "visit": self._visit,
            "prices": self._prices,
            "comparison": self._comparison,
            "surge": self._surge,
            "mail": self._mail,
            "intent": self._intent,
            "chat": self._chat,
            "meeting": self._meeting,
        }

    def _those(self, fits: Callable[[Account], bool]) -> list[Account]:
        return [account for account in self._accounts if fits(account)] or list(self._accounts)

    def _name(self, kind: str) -> str:
        return f"{kind}-{self._run}-{next(self._serial)}"

    def _impression(self) -> list[Step]:
        rng = self._rng
        fields: dict[str, object] = {
            "account_id": rng.choice(self._accounts).account_id,
            "action": "click" if rng.random() < 0.01 else "impression",
            "campaign_id": rng.choice(self._words.campaigns),
            "placement": "web",
            "cost": round(0.004 + 0.012 * rng.random(), 4),
        }
        return [("ad", fields)]

    def _visit(self) -> list[Step]:
        account = self._rng.choice(self._lively)
        audience = "customer" if account.story.is_customer else "prospect"
        return self._session(account, [self._site.page(audience)])

    def _prices(self) -> list[Step]:
        return self._session(self._rng.choice(self._lively), [self._site.url("/pricing")])

    def _comparison(self) -> list[Step]:
        urls = [self._site.page("leaver") for _ in range(5)]
        return self._session(self._rng.choice(self._buyers), urls)

    def _surge(self) -> list[Step]:
        """Let several people of one account that was calm read about us at the same time."""
        account = next(self._sleepers)
        visits: list[Step] = []
        for _ in range(self._rng.randint(3, 5)):
            urls = [self._site.page("evaluator") for _ in range(self._rng.randint(2, 4))]
            visits += self._session(account, urls)
        return visits

    def _session(self, account: Account, urls: list[str]) -> list[Step]:
        rng = self._rng
        position = someone(rng, account) if rng.random() < 0.8 else len(account.contacts)
        who = browser(account, self._words, position)
        visitor = visitor_fields(account, who, identified=rng.random() < 0.6)
        visitor |= {"session_id": self._name("s"), "referrer": self._site.referrer()}
        visitor |= device_fields(who)
        return [("page_visit", page_fields(rng, visitor, url)) for url in urls]

    def _mail(self) -> list[Step]:
        rng = self._rng
        account = rng.choice(self._lively)
        contact = account.contacts[someone(rng, account)]
        action = rng.choices(("sent", "opened", "clicked", "replied"), (30, 50, 8, 12))[0]
        fields: dict[str, object] = {
            "account_id": account.account_id,
            "contact_id": contact.contact_id,
            "email": contact.email,
            "action": action,
            "direction": "inbound" if action == "replied" else "outbound",
            "subject": rng.choice(self._words.subjects),
            "rep_id": account.owner.rep_id,
        }
        return [("email", fields)]

    def _intent(self) -> list[Step]:
        fields: dict[str, object] = {
            "account_id": self._rng.choice(self._lively).account_id,
            "topic": self._rng.choice(self._words.topics),
            "strength": round(self._rng.uniform(0.6, 1.4), 2),
        }
        return [("intent", fields)]

    def _chat(self) -> list[Step]:
        account = self._rng.choice(self._lively)
        who = browser(account, self._words, someone(self._rng, account))
        fields = visitor_fields(account, who, identified=True)
        steps = chat_steps(self._rng, fields, self._name("conv"))
        return [("chat", step) for _, step in steps]

    def _meeting(self) -> list[Step]:
        account = self._rng.choice(self._lively)
        fields = meeting_fields(self._rng, account, self._name("meet"))
        return [("meeting", {**fields, "action": "booked"})]
