"""One period over the facts: everything that several KPIs need, computed once."""

from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Executor
from functools import cached_property
from math import inf
from typing import NamedTuple

import numpy as np

from scoring.kpis.attention import surge_scores, surging
from scoring.kpis.codes import LAST_ENGAGEMENT, TARGET, TIER_SHIFT, TOUCH, Code
from scoring.kpis.columns import Array, Facts, Log, different, paired, starts_of
from scoring.kpis.deals import Deal, churned_at, deals_of, depths
from scoring.kpis.people import People, exchanges, people_of, relationship
from scoring.kpis.view_through import viewed_through
from scoring.kpis.warmth import Warmth, engaged_at, warmth
from scoring.model import SECONDS_PER_DAY
from scoring.rules import Rules

MONTH_SECONDS = 30 * SECONDS_PER_DAY
YEAR_SECONDS = 365 * SECONDS_PER_DAY
ALL = "all"
NO_TIER = "none"
_BESIDE_WARMTH = (
    "intent_surge", "relationship", "relationship_before", "visitors_known", "viewed_through",
    "touches", "touched_people", "first_touch",
)  # fmt: skip
"""Other slow properties of a period, which do not rest on ``warmth``."""


class Measured(NamedTuple):
    """One figure, as the function of a KPI yields it."""

    kpi: str
    measure: str
    labels: Mapping[str, str]
    value: float | None
    accounts: int


class Record(NamedTuple):
    """The newest account records, per account."""

    target: Array
    tier: Array
    """0 for none."""
    fit: Array
    """nan for unknown."""


class Period:
    """What the facts say of [start, end) of event time (Unix seconds)."""

    def __init__(self, facts: Facts, rules: Rules, start: float, end: float) -> None:
        self.facts = facts
        self.rules = rules
        self.start = start
        self.end = end
        self.accounts = len(facts.accounts)

    def prepare(self, pool: Executor) -> None:
        """Compute what takes longest in *pool* and here, side by side: numpy needs no lock."""
        self._compute("before", "records")  # both need them
        warm = pool.submit(self._compute, "warmth")
        self._compute(*_BESIDE_WARMTH)
        warm.result()

    def _compute(self, *names: str) -> None:
        for name in names:
            getattr(self, name)

    @cached_property
    def before(self) -> Log:
        """Return all events before the end."""
        log = self.facts.events
        return log if (log.time < self.end).all() else log.where(log.time < self.end)

    @cached_property
    def starts(self) -> Array:
        """Return where the rows of each account begin in ``before``, and the end of the last."""
        return starts_of(self.before.account, self.accounts)

    @cached_property
    def viewed_through(self) -> tuple[Array, Array]:
        """Return the account of each visit, and of each conversion, after an ad not clicked."""
        visits, conversions = viewed_through(self.before, self.start)
        return self.before.account[visits], self.before.account[conversions]

    @cached_property
    def visitors_known(self) -> Array:
        """Return the (account, anonymous visitor) pairs that are known to be somebody."""
        log = self.before
        with_visitors = log.code <= Code.CHAT_ENDED
        named = (log.code == Code.IDENTIFY) | (with_visitors & (log.contact != 0))
        rows = np.flatnonzero(named & (log.other != 0))
        return different(paired(log.account[rows], log.other[rows]))

    @cached_property
    def touched_people(self) -> Array:
        """Return the people with a touch in the period; a held meeting touches its attendees."""
        log = self.events
        rows = (_touches(log) | log.has(Code.ATTENDED)) & (log.contact != 0)
        return different(paired(log.account[rows], log.contact[rows]))

    @cached_property
    def events(self) -> Log:
        """Return the events of the period."""
        return self.before.where(self.before.time >= self.start)

    @cached_property
    def records(self) -> Log:
        """Return the records before the end."""
        return self.facts.records.where(self.facts.records.time < self.end)

    @cached_property
    def touches(self) -> Log:
        """Return the touches of the period."""
        return self.events.where(_touches(self.events))

    @cached_property
    def record(self) -> Record:
        """Return the newest account records before the end."""
        log = self.records.where(self.records.code == Code.ACCOUNT)
        tier, target = np.zeros(self.accounts, dtype=np.int64), np.zeros(self.accounts, dtype=bool)
        fit = np.full(self.accounts, np.nan)
        # Rows come by time: of several for one account the last is what stays.
        target[log.account] = log.flags & TARGET > 0
        tier[log.account] = log.flags >> TIER_SHIFT
        fit[log.account] = np.where(log.number < 0, np.nan, log.number)
        return Record(target, tier, fit)

    @cached_property
    def slices(self) -> dict[str, Array]:
        """Return tier -> which accounts it has, ``all`` first."""
        tiers = self.record.tier
        names = {0: NO_TIER} | {tier: str(tier) for tier in (1, 2, 3)}
        found = {ALL: np.ones(self.accounts, dtype=bool)}
        return found | {names[int(tier)]: tiers == tier for tier in np.unique(tiers)}

    @cached_property
    def people(self) -> People:
        """Return the people known before the end."""
        return people_of(self.records)

    @cached_property
    def warmth(self) -> Warmth:
        """Return the engagement as of the end."""
        return warmth(self.before, self.records, self.end, self.rules, self.accounts)

    @cached_property
    def engagement(self) -> Array:
        """Return the engagement scores as of the end."""
        saturation = self.rules.model.engagement.saturation_minutes
        return 100.0 * (1.0 - np.exp2(-self.warmth.minutes / saturation))

    @cached_property
    def exchanges(self) -> Log:
        """Return the exchanges with contacts before the end."""
        return exchanges(self.before)

    @cached_property
    def relationship(self) -> Array:
        """Return the relationship scores as of the end."""
        return relationship(self.exchanges, self.people, self.end, self.rules, self.accounts)

    @cached_property
    def relationship_before(self) -> Array:
        """Return the relationship scores as of 30 days before the end."""
        then = self.end - MONTH_SECONDS
        log = self.exchanges.where(self.exchanges.time < then)
        people = people_of(self.records.where(self.records.time < then))
        return relationship(log, people, then, self.rules, self.accounts)

    @cached_property
    def intent_surge(self) -> Array:
        """Return the intent surge scores as of the end."""
        return surge_scores(self.before, self.facts.names, self.end, self.rules, self.accounts)

    @cached_property
    def surging(self) -> tuple[Array, Sequence[str]]:
        """Return the account and the topic of every surge as of the end."""
        account, topic = surging(self.before)
        names = self.facts.names
        return account, [names.get(each, f"{each:x}") for each in topic.tolist()]

    @cached_property
    def deals(self) -> list[Deal]:
        """Return the opportunities as of the end."""
        return deals_of(self.records, self.facts.names)

    @cached_property
    def depth(self) -> Array:
        """Return the stage as of the end, 1 (target) to 6, as if every account were a target."""
        found = depths(self.deals, churned_at(self.records, self.accounts))
        return np.maximum(found, np.where(self.warmth.engaged, 2, 1))

    @cached_property
    def customer(self) -> Array:
        """Return whether the account is a customer as of the end."""
        return depths(self.deals, churned_at(self.records, self.accounts)) >= 4

    @cached_property
    def first_touch(self) -> Array:
        """Return the time of the first touch ever, inf for none."""
        found = self.facts.first_touch.copy()
        log = self.before
        rows = _touches(log)
        np.minimum.at(found, log.account[rows], log.time[rows])
        return found

    @cached_property
    def wins(self) -> list[Deal]:
        """Return the wins of the period."""
        return [d for d in self.deals if d.is_win and self.start <= d.won_at < self.end]

    @cached_property
    def new_wins(self) -> list[Deal]:
        """Return the new wins of the period."""
        return [deal for deal in self.wins if deal.kind == "new"]

    @cached_property
    def spend(self) -> dict[str, float]:
        """Return currency -> spend in the period."""
        found: dict[str, float] = {}
        for each in self.facts.spend:
            if self.start <= each.time < self.end:
                found[each.currency] = found.get(each.currency, 0.0) + each.amount
        return found

    @cached_property
    def first_deep(self) -> Array:
        """Return when the account first was in stage engaged or deeper, as a target; inf: never."""
        first = self.warmth.entered.copy()
        for deal in self.deals:
            first[deal.account] = min(first[deal.account], deal.entered_at)
        since = self._target_since
        # Deep before it became a target: it enters with that, if it still is, or later.
        for account in np.flatnonzero((first < since) & (since < inf)):
            first[account] = self._deep_from(int(account), float(since[account]))
        first[since == inf] = inf
        return first

    @cached_property
    def _target_since(self) -> Array:
        log = self.records
        rows = (log.code == Code.ACCOUNT) & (log.flags & TARGET > 0)
        since = np.full(self.accounts, inf)
        np.minimum.at(since, log.account[rows], log.time[rows])
        return since

    @cached_property
    def _record_starts(self) -> Array:
        return starts_of(self.records.account, self.accounts)

    def _deep_from(self, account: int, at: float) -> float:
        start, stop = self._record_starts[account : account + 2]
        rows = np.arange(start, stop)
        own = self.records.where(rows[self.records.time[rows] <= at])
        deals = deals_of(own, self.facts.names)
        depth = depths(deals, churned_at(own, self.accounts))[account] if deals else 1
        if depth > 1 or engaged_at(self.warmth, account, at, self.rules):
            return at
        later = [d.entered_at for d in self.deals if d.account == account and d.entered_at > at]
        warm = self.warmth
        start, stop = warm.starts[account : account + 2]
        enters = warm.time[start:stop][warm.enters[start:stop] & (warm.time[start:stop] > at)]
        return float(min([inf, *later, *enters[:1].tolist()]))

    def by_currency(self, deals: Sequence[Deal]) -> Iterator[tuple[str, list[Deal]]]:
        """Yield (currency, those of *deals* that state an amount in it)."""
        priced = [deal for deal in deals if deal.amount is not None]
        for currency in sorted({deal.currency for deal in priced}):
            yield currency, [deal for deal in priced if deal.currency == currency]


def _touches(log: Log) -> Array:
    return (log.flags & TOUCH > 0) & (log.code <= LAST_ENGAGEMENT)


def ratio(part: float, whole: float) -> float | None:
    """Return *part* / *whole*, None when there is nothing to divide by."""
    return float(part) / float(whole) if whole else None


def distinct(accounts: Array) -> int:
    """Return how many different accounts there are among rows."""
    return int(np.count_nonzero(np.bincount(accounts))) if len(accounts) else 0
