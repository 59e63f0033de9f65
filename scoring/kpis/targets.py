"""Stage 1, target accounts."""

from collections.abc import Iterator

import numpy as np

from scoring.kpis.columns import Array
from scoring.kpis.period import Measured, Period, ratio

LOW_RELATIONSHIP = 20.0
CHANGED_POINTS = 1.0
FITS = ("high", "medium", "low", "unknown")
WARM = ("high", "medium", "low")
GOOD_FIT, FAIR_FIT = 0.8, 0.5
HOT_SCORE, WARM_SCORE = 50.0, 10.0
BANDS = tuple(range(0, 100, 10))


def targets(period: Period, mask: Array) -> Iterator[Measured]:
    """Yield the KPIs of stage 1 for the accounts in *mask*."""
    target = period.record.target & mask
    count = int(target.sum())
    yield Measured("target_accounts", "", {}, float(count), count)
    yield from _relationship(period, target)
    yield from _surges(period, mask)
    yield from _fit(period, target)
    yield from _market(period, mask)
    yield from _distribution(period, mask)


def _relationship(period: Period, target: Array) -> Iterator[Measured]:
    scores, id_ = period.relationship[target], "relationship_score"
    change = scores - period.relationship_before[target]
    count = len(scores)
    yield Measured(id_, "median", {}, float(np.median(scores)) if count else None, count)
    low = (scores < LOW_RELATIONSHIP).sum()
    yield Measured(id_, "under_20", {}, ratio(low, count), count)
    yield Measured(id_, "improving", {}, float((change >= CHANGED_POINTS).sum()), count)
    yield Measured(id_, "degrading", {}, float((change <= -CHANGED_POINTS).sum()), count)


def _surges(period: Period, mask: Array) -> Iterator[Measured]:
    accounts, topics = period.surging
    own = [(a, topic) for a, topic in zip(accounts.tolist(), topics, strict=True) if mask[a]]
    count = int(mask.sum())
    for topic in sorted({topic for _, topic in own}):
        number = sum(topic == other for _, other in own)
        yield Measured("intent_surges", "", {"topic": topic}, float(number), count)
    yield Measured("intent_surges", "any", {}, float(len({a for a, _ in own})), count)
    first_party = set(period.rules.model.surge.topics)
    spiking = {a for a, topic in own if topic in first_party}
    yield Measured("engagement_spikes", "", {}, float(len(spiking)), count)


def _fit(period: Period, target: Array) -> Iterator[Measured]:
    fit, score = period.record.fit, period.engagement
    unknown = np.isnan(fit)
    bands = (fit >= GOOD_FIT, (fit >= FAIR_FIT) & (fit < GOOD_FIT), fit < FAIR_FIT, unknown)
    warmth = (
        score >= HOT_SCORE, (score >= WARM_SCORE) & (score < HOT_SCORE), score < WARM_SCORE,
    )  # fmt: skip
    count = int(target.sum())
    for name, band in zip(FITS, bands, strict=True):
        share = ratio((band & target).sum(), count)
        yield Measured("icp_fit", "share", {"fit": name}, share, count)
        for heat, warm in zip(WARM, warmth, strict=True):
            labels = {"fit": name, "engagement": heat}
            value = float((band & warm & target).sum())
            yield Measured("icp_fit", "matrix", labels, value, count)


def _market(period: Period, mask: Array) -> Iterator[Measured]:
    fitting = int(((period.record.fit >= GOOD_FIT) & mask).sum())
    wins = [win for win in period.new_wins if mask[win.account]]
    for currency, own in period.by_currency(wins):
        mean = sum(win.amount or 0.0 for win in own) / len(own)
        yield Measured("tam", "", {"currency": currency}, mean * fitting, fitting)


def _distribution(period: Period, mask: Array) -> Iterator[Measured]:
    active = np.zeros(period.accounts, dtype=bool)
    active[period.before.account] = True
    active &= mask
    scores = {
        "engagement": period.engagement,
        "intent_surge": period.intent_surge,
        "relationship": period.relationship,
    }
    for name, score in scores.items():
        counts, _ = np.histogram(score[active], bins=[*BANDS, 100.000001])
        for band, count in zip(BANDS, counts.tolist(), strict=True):
            labels = {"score": name, "band": str(band)}
            yield Measured("score_distribution", "", labels, float(count), int(active.sum()))
