"""The scoring model: every number of the formulas as a named field, read from TOML."""

import hashlib
import importlib.resources
import json
import tomllib
from collections.abc import Mapping
from functools import lru_cache
from typing import Annotated, Any, Final, Literal, Self

from pydantic import Field, StringConstraints, ValidationError, model_validator

from scoring.alert_rules import AlertsModel
from scoring.errors import InvalidModel
from scoring.noise_model import NoiseModel
from scoring.resolution_rules import ResolutionModel
from scoring.sections import (
    HalfLife,
    NotNegative,
    Positive,
    Score,
    Section,
    Share,
    TopicName,
    Words,
)

SECONDS_PER_DAY: Final = 86_400.0


class Points(Section):
    """Base minutes per event."""

    ad_impression: NotNegative
    ad_click: NotNegative
    page_visit: NotNegative
    page_visit_per_minute: NotNegative
    page_visit_max_dwell_seconds: NotNegative
    chat_started: NotNegative
    chat_message_inbound: NotNegative
    chat_message_outbound: NotNegative
    chat_ended_per_minute: NotNegative
    chat_ended_max_minutes: NotNegative
    email_inbound: NotNegative
    email_outbound: NotNegative
    email_opened: NotNegative
    email_clicked: NotNegative
    email_bounced: NotNegative
    email_unsubscribed: NotNegative
    meeting_booked: NotNegative
    meeting_held_per_minute: NotNegative
    meeting_held_default_minutes: NotNegative
    meeting_held_max_minutes: NotNegative
    meeting_cancelled: NotNegative
    meeting_no_show: NotNegative
    intent_per_strength: NotNegative


class DailyCaps(Section):
    """Minutes per account, channel and UTC day."""

    ad: NotNegative
    page_visit: NotNegative
    chat: NotNegative
    email: NotNegative
    meeting: NotNegative
    intent: NotNegative


class SeniorityWeights(Section):
    """How many times a person's minutes count."""

    c_level: NotNegative
    vp: NotNegative
    director: NotNegative
    manager: NotNegative
    other: NotNegative
    unknown: NotNegative


class EngagementModel(Section):
    """Engagement: decayed, capped, weighted minutes."""

    half_life_days: HalfLife
    saturation_minutes: Positive
    horizon_days: Annotated[float, Field(gt=0, le=84)]
    dedupe_days_before: Annotated[int, Field(ge=0, le=6)]
    dedupe_ids_per_day: Annotated[int, Field(ge=1, le=65_536)]
    points: Points
    daily_cap_minutes: DailyCaps
    seniority_weight: SeniorityWeights


class PageValues(Section):
    """Factor on the points of a visit, per class of page."""

    excluded: NotNegative
    high: NotNegative
    medium: NotNegative
    normal: NotNegative


class PagesModel(Section):
    """Words that decide the class of a page."""

    excluded: Words
    high: Words
    medium: Words
    value: PageValues


class SurgeModel(Section):
    """Intent surge: this week's count against the account's own usual."""

    window_days: Annotated[int, Field(ge=1, le=28)]
    baseline_days: Annotated[int, Field(ge=7, le=364)]
    prior_shape: Positive
    prior_weeks: Positive
    min_events: Positive
    start_score: Score
    end_score: Score
    max_topics: Annotated[int, Field(ge=2, le=1024)]
    topics: dict[TopicName, Words]

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.end_score > self.start_score:
            raise ValueError("end_score must not be above start_score")
        if self.baseline_days % self.window_days:
            raise ValueError("baseline_days must be a multiple of window_days")
        if len(self.topics) >= self.max_topics:
            raise ValueError("max_topics must be larger than the number of topics")
        if "*" in self.topics:
            raise ValueError("topic * is built in: it counts every visit and signal")
        return self


class RelationshipModel(Section):
    """Relationship: how well the account's people and ours know each other."""

    half_life_days: HalfLife
    email_weight: NotNegative
    chat_message_weight: NotNegative
    meeting_weight: NotNegative
    outbound_share: Share
    saturation: Positive
    reciprocity_floor: Share
    full_seniority_weight: Positive
    contact_share: Share
    max_contacts: Annotated[int, Field(ge=1, le=100_000)]


class ContactsModel(Section):
    """What becomes of people who change."""

    on_move: Literal["leave", "take_along"]


class FunnelModel(Section):
    """Hysteresis of the engaged stage, in decayed minutes."""

    engaged_minutes: Positive
    disengaged_minutes: Positive

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.disengaged_minutes > self.engaged_minutes:
            raise ValueError("disengaged_minutes must not be above engaged_minutes")
        return self


class KpisModel(Section):
    """How much is remembered for the KPIs."""

    keep_days: Annotated[float, Field(ge=1, le=3650)]
    most_facts: Annotated[int, Field(ge=16, le=200_000)]

    @property
    def keep_seconds(self) -> float:
        """Return the same in seconds."""
        return self.keep_days * SECONDS_PER_DAY


class ScoringModel(Section):
    """All numbers of the scores; ``default_model.toml`` documents each with its unit."""

    name: Annotated[str, StringConstraints(min_length=1, max_length=64)]
    engagement: EngagementModel
    pages: PagesModel
    surge: SurgeModel
    relationship: RelationshipModel
    contacts: ContactsModel
    funnel: FunnelModel
    alerts: AlertsModel
    noise: NoiseModel
    kpis: KpisModel
    resolution: ResolutionModel

    @property
    def digest(self) -> str:
        """Return a digest of the fields that stored state depends on (16 hex digits)."""
        stored = self.model_dump(
            mode="json",
            exclude={
                "name": True,
                "contacts": True,  # of moves to come
                "funnel": True,
                "alerts": True,
                "noise": True,  # decides of each event once, when it is folded
                "kpis": True,
                "resolution": True,
                "engagement": {"saturation_minutes"},
                "surge": {"prior_shape", "prior_weeks", "min_events", "start_score", "end_score"},
                "relationship": {
                    "outbound_share",
                    "saturation",
                    "reciprocity_floor",
                    "full_seniority_weight",
                    "contact_share",
                },
            },
        )
        text = json.dumps(stored, sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()[:16]


def parse_model(text: str, *, source: str = "model") -> ScoringModel:
    """Return the model that the TOML *text* describes; absent fields keep their defaults.

    Raises InvalidModel: one sentence with *source*, the field, its value and what it must be.
    """
    try:
        given = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise InvalidModel(f"{source} is not valid TOML: {error}") from error
    return _validated(_overlaid(_default_table(), given), source=source)


@lru_cache(maxsize=1)
def default_model() -> ScoringModel:
    """Return the model of ``default_model.toml``."""
    return _validated(_default_table(), source="default model")


def _default_table() -> dict[str, Any]:
    resource = importlib.resources.files("scoring") / "default_model.toml"
    return tomllib.loads(resource.read_text(encoding="utf-8"))


def _overlaid(base: Mapping[str, Any], given: Mapping[str, Any]) -> dict[str, Any]:
    # Topics replace the default ones as a whole: a merged list could never drop one.
    merged = dict(base)
    for key, value in given.items():
        old = base.get(key)
        both = isinstance(old, Mapping) and isinstance(value, Mapping)
        merged[key] = _overlaid(old, value) if both and key != "topics" else value  # type: ignore[arg-type]
    return merged


def _validated(table: Mapping[str, Any], *, source: str) -> ScoringModel:
    try:
        return ScoringModel.model_validate(table)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        field = ".".join(str(part) for part in first["loc"]) or "the file"
        rule = first["msg"].removeprefix("Value error, ").replace("a valid tuple", "a list")
        value = first.get("input")
        shown = "" if isinstance(value, Mapping) or first["type"] == "missing" else f" = {value!r}"
        raise InvalidModel(f"{source}: {field}{shown[:120]}: {rule}.") from error
