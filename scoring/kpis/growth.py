"""Stages 5 and 6 and what influences them: retention, expansion, cost, reps."""

from collections.abc import Iterator

import numpy as np

from scoring.kpis.codes import INBOUND, Code
from scoring.kpis.columns import Array, run_ends
from scoring.kpis.deals import Deal, churned_at, deals_of, depths
from scoring.kpis.period import YEAR_SECONDS, Measured, Period, distinct, ratio
from scoring.kpis.sales import cycles
from scoring.model import SECONDS_PER_DAY

COOLED_POINTS = 20.0
ETERNAL_YEARS = 5.0
"""Lifetime of customers none of whom churns."""
LEAST_ACCOUNTS = 8
"""Below this many, quarters say nothing."""
PROMOTER, DETRACTOR = 9.0, 6.0


def growth(period: Period, mask: Array) -> Iterator[Measured]:
    """Yield the KPIs of stages 5 and 6, and the effect of engagement, of accounts in *mask*."""
    yield from _customers(period, mask)
    yield from _renewals(period, mask)
    yield from _revenue(period, mask)
    yield from _survey(period, mask)
    yield from _quarters(period, mask)


def _customers(period: Period, mask: Array) -> Iterator[Measured]:
    customer = period.customer & mask
    count = int(customer.sum())
    watched = set(period.rules.model.alerts.competitor_research.topics)
    pairs = zip(*period.surging, strict=True)
    surging = {int(account) for account, topic in pairs if topic in watched and customer[account]}
    yield Measured("competitor_surges", "", {}, float(len(surging)), count)
    fallen = period.relationship_before - period.relationship >= COOLED_POINTS
    cooling = float((customer & fallen).sum())
    yield Measured("relationship_cooling", "", {}, cooling, count)


def _renewals(period: Period, mask: Array) -> Iterator[Measured]:
    decided = [
        d
        for d in period.deals
        if d.kind == "renewal" and d.state != "open" and period.start <= d.since < period.end
    ]
    decided = [d for d in decided if mask[d.account]]
    won = sum(d.state == "won" for d in decided)
    accounts = len({d.account for d in decided})
    yield Measured("renewal_rate", "", {}, ratio(won, len(decided)), accounts)


def _revenue(period: Period, mask: Array) -> Iterator[Measured]:
    wins = [win for win in period.wins if mask[win.account]]
    years = _lifetime(period, mask)
    for currency, own in period.by_currency(wins):
        labels, accounts = {"currency": currency}, len({win.account for win in own})
        revenue, acv = sum(w.amount or 0.0 for w in own), _annual(own)
        yield Measured("revenue_won", "", labels, float(revenue), accounts)
        yield Measured("acv", "", labels, acv, accounts)
        clv = None if years is None or acv is None else acv * years
        yield Measured("clv", "", labels, clv, accounts)


def _annual(wins: list[Deal]) -> float | None:
    values = [win.annual for win in wins if win.annual is not None]
    return float(np.mean(values)) if values else None


def _lifetime(period: Period, mask: Array) -> float | None:
    """Return the customer lifetime in years, None where it cannot be told."""
    then = period.end - YEAR_SECONDS
    churned = churned_at(period.records, period.accounts)
    leaving = int(((churned >= then) & mask).sum())
    if not leaving:
        return ETERNAL_YEARS
    records = period.records.where(period.records.time < then)
    before = depths(deals_of(records, period.facts.names), churned_at(records, period.accounts))
    return ratio(int(((before >= 4) & mask).sum()), leaving) or None


def _survey(period: Period, mask: Array) -> Iterator[Measured]:
    log = period.events
    rows = (log.code == Code.SURVEY) & mask[log.account]
    scores, accounts = log.minutes[rows], distinct(log.account[rows])
    net = (scores >= PROMOTER).sum() - (scores <= DETRACTOR).sum()
    share = ratio(float(net), len(scores))
    yield Measured("nps", "", {}, None if share is None else 100.0 * share, accounts)
    yield Measured("nps", "answers", {}, float(len(scores)), accounts)


def _quarters(period: Period, mask: Array) -> Iterator[Measured]:
    members = np.flatnonzero(period.record.target & mask)
    # Accounts are sorted by id, and sorting is stable.
    ordered = members[np.argsort(-period.engagement[members], kind="stable")]
    size = len(ordered) // 4
    for name, own in (("top", ordered[:size]), ("bottom", ordered[len(ordered) - size :])):
        enough = len(ordered) >= LEAST_ACCOUNTS
        yield from _quarter(period, set(own.tolist()) if enough else set(), name)


def _quarter(period: Period, own: set[int], name: str) -> Iterator[Measured]:
    id_, labels = "quartile_effect", {"quarter": name}
    wins = [win for win in period.new_wins if win.account in own]
    days, accounts = cycles(period, wins)
    cycle = float(np.median(days)) if days else None
    yield Measured(id_, "deal_cycle", labels, cycle, accounts)
    winners = len({win.account for win in wins})
    yield Measured(id_, "win_rate", labels, ratio(winners, len(own)), len(own))
    for currency, priced in period.by_currency([w for w in period.wins if w.account in own]):
        value, accounts = _annual(priced), len({win.account for win in priced})
        yield Measured(id_, "acv", labels | {"currency": currency}, value, accounts)
    mean = float(period.relationship[sorted(own)].mean()) if own else None
    yield Measured(id_, "relationship", labels, mean, len(own))


def cost(period: Period) -> Iterator[Measured]:
    """Yield the KPIs of cost, in total: spend has no tier."""
    first = period.first_deep
    entered = period.record.target & (first >= period.start) & (first < period.end)
    log = period.records
    opened = distinct(log.account[log.has(Code.OPENED) & (log.time >= period.start)])
    won = len({win.account for win in period.new_wins})
    everybody = np.ones(period.accounts, dtype=bool)
    clv = {m.labels["currency"]: m.value for m in _revenue(period, everybody) if m.kpi == "clv"}
    for currency, spend in sorted(period.spend.items()):
        labels = {"currency": currency}
        for kpi, count in (
            ("cost_per_engaged_account", int(entered.sum())),
            ("cost_per_opportunity_account", opened),
            ("cost_per_won_account", won),
            ("cac", won),
        ):
            yield Measured(kpi, "", labels, ratio(spend, count), count)
        value, cac = clv.get(currency), ratio(spend, won)
        share = ratio(value, cac) if value is not None and cac else None
        yield Measured("ltv_to_cac", "", labels, share, won)


def reps(period: Period, mask: Array) -> Iterator[Measured]:
    """Yield what each rep did on each UTC day of the period, to the accounts in *mask*."""
    log = period.events
    mail = log.has(Code.EMAIL_SENT, Code.EMAIL_REPLIED) & (log.flags & INBOUND == 0)
    met = log.has(Code.MEETING_BOOKED, Code.MEETING_HELD)
    log = log.where((mail | met) & (log.other != 0) & mask[log.account])
    day = np.floor_divide(log.time, SECONDS_PER_DAY).astype(np.int64)
    order = np.lexsort((day, log.other))
    log, day = log.where(order), day[order]
    ends = np.flatnonzero(run_ends(log.other, day)) if len(day) else np.zeros(0, np.int64)
    groups = len(ends)
    group = np.searchsorted(ends, np.arange(len(day)))
    mail = log.has(Code.EMAIL_SENT, Code.EMAIL_REPLIED)
    written, accounts = mail & (log.contact != 0), _different(group, log.account, groups)
    measured = {
        "emails": np.bincount(group[mail], minlength=groups),
        "contacts": _different(group[written], log.person[written], groups),
        "accounts": _different(group[mail], log.account[mail], groups),
        "meetings_booked": np.bincount(group[log.has(Code.MEETING_BOOKED)], minlength=groups),
        "meetings_held": np.bincount(group[log.has(Code.MEETING_HELD)], minlength=groups),
    }
    for place, end in enumerate(ends):
        rep, when = int(log.other[end]), str(np.datetime64(int(day[end]), "D"))
        labels = {"rep": period.facts.names.get(rep, f"{rep:x}"), "day": when}
        for measure, counts in measured.items():
            value, behind = float(counts[place]), int(accounts[place])
            yield Measured("sdr_activity", measure, labels, value, behind)


def _different(group: Array, values: Array, groups: int) -> Array:
    """Return how many different *values* each of *groups* groups has."""
    order = np.lexsort((values, group))
    ends = run_ends(group[order], values[order]) if len(order) else np.zeros(0, dtype=bool)
    return np.bincount(group[order][ends], minlength=groups)
