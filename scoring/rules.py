"""A scoring model made ready for the fold: looked up once, not at every event."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Self

from scoring.account import CHANNEL_CODES
from scoring.engagement import PointsOf, caps_by_channel, points_by_type
from scoring.model import SECONDS_PER_DAY, ScoringModel
from scoring.pages import Page, page_reader
from scoring.surge import Thresholds, Window, remembered_scores, remembered_thresholds


@dataclass(frozen=True, slots=True)
class Rules:
    """Derived values of one model; functions in it remember results, and nothing else."""

    model: ScoringModel
    half_life_seconds: float
    exchange_half_life_seconds: float
    horizon_seconds: float
    cap_days: int
    days_before: int
    """UTC days before the newest of a type in which repeats are recognised."""
    ids_per_day: int
    points: Mapping[str, PointsOf]
    caps: Mapping[str, float]
    codes: Mapping[str, int]
    weights: Mapping[str | None, float]
    read_page: Callable[[str], Page]
    thresholds: Callable[[int, int], Thresholds]
    surge_score: Callable[[Window], float]

    @classmethod
    def of(cls, model: ScoringModel) -> Self:
        """Return the rules of *model*."""
        engagement = model.engagement
        weights: dict[str | None, float] = {None: engagement.seniority_weight.unknown}
        weights.update(engagement.seniority_weight.model_dump())
        read_page = page_reader(model)
        return cls(
            model=model,
            half_life_seconds=engagement.half_life_days * SECONDS_PER_DAY,
            exchange_half_life_seconds=model.relationship.half_life_days * SECONDS_PER_DAY,
            horizon_seconds=engagement.horizon_days * SECONDS_PER_DAY,
            # The horizon may begin in the middle of a day; that day and today count too.
            cap_days=int(engagement.horizon_days) + 2,
            days_before=engagement.dedupe_days_before,
            ids_per_day=engagement.dedupe_ids_per_day,
            points=points_by_type(model, read_page),
            caps=caps_by_channel(engagement.daily_cap_minutes),
            codes=CHANNEL_CODES,
            weights=weights,
            read_page=read_page,
            thresholds=remembered_thresholds(model.surge),
            surge_score=remembered_scores(model.surge),
        )
