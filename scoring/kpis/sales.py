"""Stages 2 to 4: how deep target accounts are, opportunities, and deals won."""

from collections.abc import Iterator, Sequence
from math import inf

import numpy as np

from scoring.kpis.codes import HAS_EMAIL, HAS_ROLE, INBOUND, SENIORITY_SHIFT, TOUCH, Code
from scoring.kpis.columns import Array
from scoring.kpis.deals import Deal
from scoring.kpis.period import Measured, Period, distinct, ratio
from scoring.model import SECONDS_PER_DAY

COMMITTEE = 3


def median_and_mean(kpi: str, values: Sequence[float], accounts: int) -> Iterator[Measured]:
    """Yield both averages of *values*, None where there are none."""
    for measure, average in (("median", np.median), ("mean", np.mean)):
        value = float(average(values)) if len(values) else None
        yield Measured(kpi, measure, {}, value, accounts)


def sales(period: Period, mask: Array) -> Iterator[Measured]:
    """Yield the KPIs of stages and deals of the accounts in *mask*."""
    target = period.record.target & mask
    yield from _stages(period, target)
    yield from _people(period, target)
    yield from _pipeline(period, target)
    yield from _to_opportunity(period, mask)
    yield from _conversations(period, mask)
    yield from _wins(period, mask, target)
    yield from _way_to_wins(period, mask)


def _stages(period: Period, target: Array) -> Iterator[Measured]:
    count, deep = int(target.sum()), int((target & (period.depth >= 2)).sum())
    yield Measured("engaged_rate", "", {}, ratio(deep, count), count)
    yield Measured("not_engaged_rate", "", {}, ratio(count - deep, count), count)


def _people(period: Period, target: Array) -> Iterator[Measured]:
    people, count = period.people, int(target.sum())
    rows = people.known & target[people.account]
    flags, total = people.flags[rows], int(rows.sum())
    per_account = np.bincount(people.account[rows], minlength=period.accounts)[target]
    for measure, has in (
        ("with_email", flags & HAS_EMAIL),
        ("with_role", flags & HAS_ROLE),
        ("with_seniority", flags >> SENIORITY_SHIFT),
    ):
        yield Measured("coverage", measure, {}, ratio((has > 0).sum(), total), count)
    enough = ratio((per_account >= COMMITTEE).sum(), count)
    yield Measured("coverage", "three_or_more", {}, enough, count)
    for measure, average in (("mean", np.mean), ("median", np.median)):
        value = float(average(per_account)) if count else None
        yield Measured("stakeholders", measure, {}, value, count)
    touched = np.isin(people.person[rows], period.touched_people)
    yield Measured("account_penetration", "", {}, ratio(touched.sum(), total), count)


def _pipeline(period: Period, target: Array) -> Iterator[Measured]:
    count = int(target.sum())
    chosen = {d.account for d in period.deals if d.state in ("open", "won")}
    having = sum(bool(target[account]) for account in chosen)
    yield Measured("opportunity_rate", "", {}, ratio(having, count), count)
    still_open = [d for d in period.deals if d.state == "open" and target[d.account]]
    for currency, own in period.by_currency(still_open):
        labels = {"currency": currency}
        total = _sum(own)
        warm = [d for d in own if period.warmth.entered[d.account] < d.first_at]
        accounts = len({d.account for d in own})
        yield Measured("pipeline", "", labels, total, accounts)
        yield Measured(
            "influenced_pipeline", "", labels, _sum(warm), len({d.account for d in warm})
        )
        yield Measured("influenced_pipeline", "share", labels, ratio(_sum(warm), total), accounts)


def _sum(deals: Sequence[Deal]) -> float:
    return float(sum(deal.amount or 0.0 for deal in deals))


def _to_opportunity(period: Period, mask: Array) -> Iterator[Measured]:
    first = np.full(period.accounts, inf)
    for deal in period.deals:
        first[deal.account] = min(first[deal.account], deal.opened_at)
    touch = period.first_touch
    rows = mask & (first >= period.start) & (first < period.end) & (touch < first)
    days = ((first[rows] - touch[rows]) / SECONDS_PER_DAY).tolist()
    yield from median_and_mean("days_first_touch_to_opportunity", days, len(days))


def _conversations(period: Period, mask: Array) -> Iterator[Measured]:
    id_, log = "conversations_to_meetings", period.events
    inbound = log.flags & INBOUND > 0

    def having(rows: Array) -> Array:
        return np.flatnonzero(np.bincount(log.account[rows], minlength=len(mask)) * mask)

    reply = log.has(Code.EMAIL_REPLIED, Code.CHAT_MESSAGE) & inbound
    talking, met = having(reply), having(log.code == Code.MEETING_HELD)
    asked = having((log.code == Code.EMAIL_SENT) & ~inbound)
    share = ratio(np.isin(talking, met).sum(), len(talking))
    yield Measured(id_, "meetings", {}, share, len(talking))
    share = ratio(np.isin(asked, talking).sum(), len(asked))
    yield Measured(id_, "conversations", {}, share, len(asked))


def _wins(period: Period, mask: Array, target: Array) -> Iterator[Measured]:
    wins = [win for win in period.new_wins if mask[win.account]]
    winners = {win.account for win in wins}
    count = int(target.sum())
    won = sum(bool(target[account]) for account in winners)
    yield Measured("win_rate", "", {}, ratio(won, count), count)
    lost = [
        d
        for d in period.deals
        if d.kind == "new" and d.state == "lost" and period.start <= d.since < period.end
    ]
    lost = [d for d in lost if mask[d.account]]
    decided = len({d.account for d in (*wins, *lost)})
    yield Measured("win_rate", "of_decided", {}, ratio(len(wins), len(wins) + len(lost)), decided)
    engaged = mask & (period.depth >= 2)
    touches = engaged[period.touches.account]
    of_engaged = sum(bool(engaged[win.account]) for win in wins)
    accounts = distinct(period.touches.account[touches])
    yield Measured("conversion_rate", "", {}, ratio(of_engaged, touches.sum()), accounts)
    for currency, own in period.by_currency(wins):
        labels, accounts = {"currency": currency}, len({d.account for d in own})
        yield Measured("new_revenue_won", "", labels, _sum(own), accounts)


def _way_to_wins(period: Period, mask: Array) -> Iterator[Measured]:
    wins = [win for win in period.new_wins if mask[win.account]]
    yield from median_and_mean("deal_cycle_days", *cycles(period, wins))
    first: dict[int, float] = {}
    for win in wins:
        first[win.account] = min(win.won_at, first.get(win.account, inf))
    counts = [_touches_before(period, account, at) for account, at in first.items()]
    known = [count for count in counts if count >= 0]
    mean = float(np.mean(known)) if known else None
    yield Measured("touches_per_won_account", "", {}, mean, len(known))


def cycles(period: Period, wins: Sequence[Deal]) -> tuple[list[float], int]:
    """Return the days from first touch to each of *wins*, and the accounts behind them."""
    touch = period.first_touch
    counted = [win for win in wins if touch[win.account] < win.won_at]
    days = [float(win.won_at - touch[win.account]) / SECONDS_PER_DAY for win in counted]
    return days, len({win.account for win in counted})


def _touches_before(period: Period, account: int, at: float) -> float:
    """Return the number of touches ever before *at*; -1 where too many are forgotten to tell."""
    facts, log = period.facts, period.before
    if facts.cut_at[account] >= at:
        return -1.0
    start, stop = period.starts[account : account + 2]
    rows = slice(int(start), int(start + np.searchsorted(log.time[start:stop], at)))
    touches = (log.flags[rows] & TOUCH > 0) & (log.code[rows] <= Code.INTENT)
    return float(touches.sum() + facts.touches[account])
