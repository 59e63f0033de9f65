"""The rules of alerts as data: when each is raised, how often at most, who is told, what to do.

``default_model.toml`` documents each field; `scoring.alerts` evaluates them.
"""

from typing import Annotated, Final, Literal

from pydantic import Field, Strict, StringConstraints

from scoring.sections import NotNegative, Score, Section, TopicName

SECONDS_PER_MINUTE: Final = 60.0

Recipient = Annotated[str, StringConstraints(min_length=1, max_length=64)]
Text = Annotated[str, StringConstraints(max_length=500)]


class AlertRule(Section):
    """What all rules have."""

    enabled: bool
    severity: Literal["low", "medium", "high"]
    cooldown_minutes: Annotated[float, Field(ge=0, le=525_600, allow_inf_nan=False)]
    """After an alert of the rule about an account, for which no other is raised."""
    notify: Annotated[tuple[Recipient, ...], Strict(strict=False), Field(max_length=20)]
    """``owner``, or names of routes."""
    next_step: Text

    @property
    def cooldown_seconds(self) -> float:
        """Return the cooldown in seconds."""
        return self.cooldown_minutes * SECONDS_PER_MINUTE


class HighValuePage(AlertRule):
    """A target account on a page of value high."""

    min_dwell_seconds: NotNegative


class RelationshipCooling(AlertRule):
    """A customer, or an open opportunity, whose relationship score has fallen."""

    drop_points: Score
    midnights: Annotated[int, Field(ge=1, le=90)]


class CompetitorResearch(AlertRule):
    """A customer surging on a topic about competitors."""

    topics: Annotated[tuple[TopicName, ...], Strict(strict=False)]


class AlertsModel(Section):
    """The five rules."""

    high_value_page: HighValuePage
    surge_started: AlertRule
    stage_changed: AlertRule
    relationship_cooling: RelationshipCooling
    competitor_research: CompetitorResearch
