"""A scoring model made ready for the fold: looked up once, not at every event."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import ceil
from typing import Self

from scoring.account import CHANNEL_CODES, SENIORITIES
from scoring.decay import MAX_HALF_LIVES
from scoring.engagement import PointsOf, caps_by_channel, engagement_score, points_by_type
from scoring.events import ENGAGEMENT_TYPES, TOPIC_TYPES
from scoring.model import SECONDS_PER_DAY, ScoringModel
from scoring.noise import LabelOf, labels_by_type
from scoring.pages import Page, page_reader
from scoring.sections import plain
from scoring.surge import Window, remembered_scores, remembered_starts

_EXCHANGES = frozenset({"chat", "email", "meeting"})


@dataclass(frozen=True, slots=True)
class Kind:
    """What the fold asks of an event's type, found by one look."""

    code: int
    engages: bool
    """Whether events of this type add points."""
    exchanges: bool
    """Whether they are exchanged between people of theirs and ours."""
    visits: bool
    """Whether they are visits to a page."""
    points: PointsOf | None
    """None for types that add none."""
    cap: float
    """Most minutes of the type on one day."""
    label: LabelOf | None
    """Finds noise; None where the model has no rule that looks at the type."""


@dataclass(frozen=True, slots=True)
class Rules:
    """Derived values of one model; functions in it remember results, and nothing else."""

    model: ScoringModel
    """The values of its fields and properties, and nothing else of it."""
    half_life_seconds: float
    exchange_half_life_seconds: float
    horizon_seconds: float
    cap_days: int
    days_before: int
    """UTC days before the newest of a type in which repeats are recognised."""
    ids_per_day: int
    landmark_seconds: float
    """How far a landmark may lie back before masses grow too large."""
    codes: Mapping[str, int]
    kinds: Mapping[str, Kind]
    """By event type."""
    weights: Mapping[int | None, float]
    """Seniority code -> factor on a person's minutes; None for unknown."""
    read_page: Callable[[str], Page]
    surge_start: Callable[[int, int], int]
    """From (baseline, weeks) to the least count that starts a surge."""
    surge_score: Callable[[Window], float]

    def engagement_score(self, minutes: float) -> float:
        """Return the score from 0 to 100 of *minutes* decayed engagement minutes."""
        saturation = self.model.engagement.saturation_minutes
        return engagement_score(minutes, saturation_minutes=saturation)

    @classmethod
    def of(cls, model: ScoringModel) -> Self:
        """Return the rules of *model*."""
        engagement = model.engagement
        by_name = engagement.seniority_weight.model_dump()
        weights: dict[int | None, float] = {None: by_name["unknown"]}
        weights.update({code: by_name[name] for code, name in enumerate(SENIORITIES)})
        read_page = page_reader(model)
        half_lives = engagement.half_life_days, model.relationship.half_life_days
        return cls(
            model=plain(model),
            half_life_seconds=half_lives[0] * SECONDS_PER_DAY,
            exchange_half_life_seconds=half_lives[1] * SECONDS_PER_DAY,
            landmark_seconds=MAX_HALF_LIVES * min(half_lives) * SECONDS_PER_DAY,
            horizon_seconds=engagement.horizon_days * SECONDS_PER_DAY,
            # The horizon may begin in the middle of a day, which counts too.
            cap_days=ceil(engagement.horizon_days) + 1,
            days_before=engagement.dedupe_days_before,
            ids_per_day=engagement.dedupe_ids_per_day,
            codes=CHANNEL_CODES,
            kinds=_kinds(model, read_page),
            weights=weights,
            read_page=read_page,
            surge_start=remembered_starts(model.surge),
            surge_score=remembered_scores(model.surge),
        )


def _kinds(model: ScoringModel, read_page: Callable[[str], Page]) -> dict[str, Kind]:
    points = points_by_type(model)
    caps = caps_by_channel(model.engagement.daily_cap_minutes)
    labels = labels_by_type(model.noise, read_page)
    return {
        type_: Kind(
            # Spend belongs to no account, and nothing is stored of it.
            code=CHANNEL_CODES.get(type_, -1),
            engages=type_ in ENGAGEMENT_TYPES,
            exchanges=type_ in _EXCHANGES,
            visits=type_ == "page_visit",
            points=points.get(type_),
            cap=caps.get(type_, 0.0),
            label=labels.get(type_),
        )
        for type_ in TOPIC_TYPES.values()
    }
