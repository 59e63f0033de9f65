"""What KPIs say of single accounts."""

from collections.abc import Iterator
from typing import Any

import numpy as np

from scoring.funnel import STAGES
from scoring.kpis.codes import HAS_EMAIL, HAS_ROLE, SENIORITY_SHIFT
from scoring.kpis.period import Period, ratio
from scoring.kpis.reach import CHANNELS, channel_rows


def per_account(period: Period) -> Iterator[dict[str, Any]]:
    """Yield one row per account: scores, contacts, penetration, minutes per channel."""
    people, record = period.people, period.record
    known = people.account[people.known]
    flags = people.flags[people.known]
    touched = np.isin(people.person[people.known], period.touched_people)

    def counted(rows: Any = None) -> list[int]:
        chosen = known if rows is None else known[rows]
        counts: list[int] = np.bincount(chosen, minlength=period.accounts).tolist()
        return counts

    contacts, reached = counted(), counted(touched)
    email, role = counted(flags & HAS_EMAIL > 0), counted(flags & HAS_ROLE > 0)
    seniority = counted(flags >> SENIORITY_SHIFT > 0)
    minutes = _minutes(period)
    for at, account_id in enumerate(period.facts.accounts):
        target, fit = bool(record.target[at]), float(record.fit[at])
        yield {
            "account_id": account_id,
            "target": target,
            "tier": int(record.tier[at]) or None,
            "stage": STAGES[int(period.depth[at]) - 1] if target else None,
            "icp_fit": None if np.isnan(fit) else fit,
            "engagement": float(period.engagement[at]),
            "intent_surge": float(period.intent_surge[at]),
            "relationship": float(period.relationship[at]),
            "relationship_30_days_before": float(period.relationship_before[at]),
            "contacts": contacts[at],
            "with_email": ratio(email[at], contacts[at]),
            "with_role": ratio(role[at], contacts[at]),
            "with_seniority": ratio(seniority[at], contacts[at]),
            "penetration": ratio(reached[at], contacts[at]),
            "minutes": {channel: own[at] for channel, own in minutes.items()},
        }


def _minutes(period: Period) -> dict[str, list[float]]:
    log, found = period.events, {}
    for channel in CHANNELS:
        rows = channel_rows(log, channel)
        sums = np.bincount(log.account[rows], log.minutes[rows], period.accounts)
        found[channel] = sums.tolist()
    return found
