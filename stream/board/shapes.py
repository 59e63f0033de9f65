"""What the API answers, as the OpenAPI document describes it.

Answers are not built from these: they are put together as plain values and encoded once. That
they agree is what the tests against the document are for.
"""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

Time = Annotated[
    str, Field(examples=["2026-01-31T09:00:00Z"], json_schema_extra={"format": "date-time"})
]
Score = Annotated[float, Field(ge=0, le=100)]
Stage = Literal["target", "engaged", "opportunity", "customer", "retained", "expanded"]
Severity = Literal["high", "medium", "low"]
What = Literal["account", "rule"]
Counts = dict[str, int]


class Shape(BaseModel):
    """What all have: fields may be added, none is left out."""

    model_config = ConfigDict(extra="allow")


class Wrong(BaseModel):
    """One value that is not as it must be."""

    where: str
    problem: str


class ProblemDetails(Shape):
    """RFC 9457 problem details."""

    type: str
    title: str
    status: int
    detail: str
    errors: list[Wrong] = []


class AlertScores(Shape):
    """The scores around an alert."""

    engagement: float
    engagement_minutes: float
    intent_surge: float
    relationship: float


class Acknowledgement(Shape):
    """Who has taken it on, and when."""

    by: str | None
    at: str | None


class Delivery(Shape):
    """What became of it on one route."""

    route: str
    outcome: str | None
    at: str | None


class Alert(Shape):
    """What a salesperson is told, as on the topic `alerts`, and what was done about it."""

    id: str
    rule: str
    severity: str
    subject: str
    account_id: str
    account_name: str
    sentence: str
    why: dict[str, Any]
    before: AlertScores
    after: AlertScores
    stage: str | None
    target: bool
    tier: int | None
    owner_id: str | None
    owner_email: str | None
    notify: list[str]
    next_step: str
    link: str | None
    event_time: Time
    at: Time
    detected_at: Time
    cause: dict[str, str] | None
    clock: Literal["wall", "event"]
    acknowledged: Acknowledgement | None
    deliveries: list[Delivery]


class AccountRow(Shape):
    """An account in a list."""

    account_id: str
    name: str
    engagement: Score
    intent_surge: Score
    relationship: Score
    engagement_minutes: Annotated[float, Field(ge=0)]
    surging: list[str]
    stage: Stage | None
    target: bool
    tier: int | None
    owner_id: str | None
    last_event_at: Time | None
    events: int
    reason: str
    sparkline: list[float | None]
    """Engagement on each of the last 28 days; null before the first that is known."""
    alert: Alert | None
    """The newest of the last 14 days that nobody acknowledged or muted."""


class Accounts(Shape):
    """A page of accounts."""

    as_of: Time
    total: int
    next: str | None
    accounts: list[AccountRow]


class TodayRow(AccountRow):
    """An account to act on."""

    next_step: str | None
    alerts: list[Alert]


class Today(Shape):
    """The accounts to act on now."""

    as_of: Time
    accounts: list[TodayRow]


class Contact(Shape):
    """A person of the account, and how well they and we know each other."""

    contact_id: str
    seniority: str | None
    strength: Annotated[float, Field(ge=0, le=1)]
    inbound: float
    outbound: float
    direction: Literal["mutual", "theirs", "ours", "none"]
    minutes: float


class HistoryDay(Shape):
    """Scores at the end of a UTC day."""

    day: str
    engagement: float | None
    intent_surge: float | None
    relationship: float | None


class Touch(Shape):
    """One thing that happened."""

    time: Time
    channel: str
    contact_id: str | None
    label: str
    minutes: float


class Opportunity(Shape):
    """Where one opportunity stands."""

    opportunity_id: str
    kind: str
    state: str
    since: Time | None


class Account(AccountRow):
    """One account in full."""

    as_of: Time
    first_event_at: Time | None
    owner_email: str | None
    industry: str | None
    employees: int | None
    domains: list[str]
    parent_account_id: str | None
    icp_fit: float | None
    surge: dict[str, float]
    contacts: list[Contact]
    contacts_total: int
    history: list[HistoryDay]
    touches: list[Touch]
    alerts: list[Alert]
    opportunities: list[Opportunity]


class Explanation(Shape):
    """Why an account scores what it does; parts add up to each score."""

    account_id: str
    as_of: Time
    because: list[str]
    engagement: dict[str, Any]
    surge: dict[str, Any]
    relationship: dict[str, Any]
    stage: dict[str, Any]


class Moves(Shape):
    """How many accounts moved from where to where."""

    total: Counts
    last_7_days: Counts
    last_30_days: Counts


class FunnelNow(Shape):
    """How many accounts are in each stage."""

    as_of: Time
    stages: Counts
    tiers: dict[str, Counts]
    moves: Moves
    moves_since: Time | None
    """Moves of the last days are missing before this instant; null when none are."""
    surging: int


class Alerts(Shape):
    """A page of alerts, the newest first."""

    alerts: list[Alert]
    next: str | None


class Mute(Shape):
    """What nobody is told about for a while."""

    what: What
    name: str
    until: Time
    by: str | None
    at: str | None


class Mutes(Shape):
    """Everything that is muted now."""

    mutes: list[Mute]


class Owners(Shape):
    """Who owns accounts."""

    owners: list[str]


class Session(Shape):
    """Who asks, and what answers."""

    role: Literal["reader", "operator"]
    name: str
    version: str
    clock: Literal["wall", "event"]
