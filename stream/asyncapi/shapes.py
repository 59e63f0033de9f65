"""What Surgeline produces, as the AsyncAPI document describes it.

Messages are not built from these: they are put together as plain values and encoded once. That
they agree is what the tests against the document are for.
"""

from typing import Annotated, Any, Final, Literal, TypeAlias

from pydantic import ConfigDict, Field

# pydantic needs typing_extensions' TypedDict below Python 3.12.
from typing_extensions import NotRequired, TypedDict

from scoring.alert_rules import AlertsModel
from scoring.funnel import STAGES
from stream.notify.policy import Outcome

Time: TypeAlias = Annotated[
    str, Field(json_schema_extra={"format": "date-time", "pattern": "^[0-9]{4}-.+Z$"})
]
Id: TypeAlias = Annotated[str, Field(pattern="^[0-9a-f]{32}$")]
Name: TypeAlias = Annotated[str, Field(min_length=1, max_length=512)]
Score: TypeAlias = Annotated[float, Field(ge=0, le=100)]
Minutes: TypeAlias = Annotated[float, Field(ge=0)]
Count: TypeAlias = Annotated[int, Field(ge=0)]
Tier: TypeAlias = Annotated[int, Field(ge=1, le=3)]
Stage: TypeAlias = Annotated[str, Field(json_schema_extra={"enum": [*STAGES]})]
Rule: TypeAlias = Annotated[str, Field(json_schema_extra={"enum": [*AlertsModel.model_fields]})]

RECORDED: Final = [each.value for each in Outcome if each is not Outcome.SKIPPED]
"""What is skipped is counted, and leaves no record."""
Settled: TypeAlias = Annotated[str, Field(json_schema_extra={"enum": [*RECORDED]})]


class Shape(TypedDict):
    """What all have: the texts below the fields are their descriptions."""

    __pydantic_config__ = ConfigDict(use_attribute_docstrings=True)  # type: ignore[misc]


class Transition(Shape):
    """A change of stage, or the start or end of a surge."""

    id: Id
    """The same however often it is announced: deduplicate by it."""
    rule: Literal["stage_changed", "surge_started", "surge_ended"]
    """What changed."""
    subject: str
    """The move (`target>engaged`; `none` is the outside of the funnel) or the intent topic."""
    at: Time
    """When, in event time."""


class ScoreChange(Shape):
    """The newest scores of an account, and what changed since the message before."""

    account_id: Name
    """The account."""
    as_of: Time
    """The moment for which the scores were computed."""
    engagement: Score
    """Engagement score."""
    engagement_minutes: Minutes
    """The decayed engagement minutes behind it."""
    intent_surge: Score
    """Intent-surge score: the highest of its topics."""
    surging: list[str]
    """Intent topics on which the account surges."""
    relationship: Score
    """Relationship score."""
    stage: Stage | None
    """Funnel stage, null for accounts that are no target."""
    target: bool
    """Whether the account is a target."""
    tier: Tier | None
    """Tier of the newest account record."""
    owner_id: Name | None
    """Owner by the newest account record."""
    transitions: list[Transition]
    """What changed, in order; often empty."""
    merged_into: NotRequired[Name]
    """Of an account that is no more: the one that it became part of."""


class Transfer(Shape):
    """Something waits for an account at another one, or an event came to it from there."""

    account_id: Name
    """The account that is told."""
    generation: str
    """When the scores were started that it comes from; of others it says nothing."""
    giver: NotRequired[Name]
    """The account in whose stored state the gift waits."""
    gift: NotRequired[Id]
    """The gift's id: it is taken once."""
    topic: NotRequired[str]
    """The topic that the event belongs to."""
    event: NotRequired[dict[str, Any]]
    """An event of an account that was merged into this one, or that a person has moved from."""


class ScoresAround(Shape):
    """Scores of an account at one moment."""

    engagement: Score
    """Engagement score."""
    engagement_minutes: Minutes
    """The decayed engagement minutes behind it."""
    intent_surge: Score
    """Intent-surge score."""
    relationship: Score
    """Relationship score."""


class Cause(Shape):
    """The event that raised an alert."""

    source: Name
    """Its source."""
    id: Name
    """Its id."""
    type: Name
    """Its type."""


class TopicCount(Shape):
    """How much an intent topic is read, and how much it usually is."""

    topic: str
    """The intent topic, `*` for all of them."""
    this_week: Count
    """Visits and signals of the last seven days."""
    usual: Minutes
    """How many a week would be usual for this account."""


class Why(TypedDict, total=False):
    """Facts that an alert rests on; which ones depends on its rule and its cause."""

    __pydantic_config__ = ConfigDict(use_attribute_docstrings=True)  # type: ignore[misc]

    contact_id: Name | None
    """Who caused it."""
    seniority: str | None
    """How senior they are."""
    url: str
    """The page that was read."""
    dwell_seconds: Minutes | None
    """How long."""
    opportunity_id: Name
    """The opportunity that moved."""
    action: str
    """What became of it."""
    topic: str
    """The intent topic that surges."""
    counts: list[TopicCount]
    """Counts of the intent topics that matter."""
    highest: Score
    """The best relationship score of the last midnights."""
    highest_at: Time
    """The midnight at which it was that high."""
    score: Score
    """The relationship score now."""
    days: Count
    """How many midnights were looked at."""
    customer: bool
    """Whether the account is a customer."""


class Alert(Shape):
    """What a salesperson is told about an account, and why."""

    id: Id
    """The same however often it is announced: deduplicate by it."""
    rule: Rule
    """The rule that raised it."""
    severity: Literal["low", "medium", "high"]
    """How urgent the scoring model calls it."""
    subject: str
    """The page, the intent topic or the move; empty for relationships."""
    account_id: Name
    """The account."""
    account_name: Name
    """Its name, or its id where the CRM gave none."""
    sentence: str
    """What happened, for people."""
    why: Why
    """The facts behind it; a move has `from` and `to` as well."""
    before: ScoresAround
    """Scores without the causing event."""
    after: ScoresAround
    """Scores with it."""
    stage: Stage | None
    """Funnel stage, null for accounts that are no target."""
    target: bool
    """Whether the account is a target."""
    tier: Tier | None
    """Tier of the newest account record."""
    owner_id: Name | None
    """Owner by the newest account record."""
    owner_email: Name | None
    """The owner's address by the newest account record."""
    notify: list[str]
    """Who gets it: `owner`, or names of routes."""
    next_step: Annotated[str, Field(max_length=500)]
    """What the scoring model proposes to do."""
    event_time: Time
    """Event time of the cause, or the instant at which the rule fell due."""
    at: Time
    """The account's instant at which the rule was evaluated, in event time."""
    detected_at: Time
    """When it was found, by the worker's clock."""
    cause: Cause | None
    """Null when no event but time itself raised it."""
    clock: Literal["wall", "event"]
    """`wall`: found as it happened; `event`: found in a replay of history."""
    link: Annotated[str, Field(json_schema_extra={"format": "uri"})] | None
    """The account on the board, null without a board."""


class Acknowledgement(Shape):
    """Somebody has taken an alert on."""

    kind: Literal["ack"]
    """Tells it from mutes."""
    alert_id: Id
    """The alert."""
    account_id: Name
    """Its account."""
    by: str
    """Who."""
    at: Time
    """When."""


class Mute(Shape):
    """Nobody wants to be told about an account, or by a rule, for a while."""

    kind: Literal["mute"]
    """Tells it from acknowledgements."""
    what: Literal["account", "rule"]
    """What is muted."""
    name: str
    """The account's id, or the rule's name."""
    until: Time
    """When people want to be told again."""
    by: str
    """Who."""
    at: Time
    """When."""


class Delivery(Shape):
    """What became of an alert on a route."""

    alert_id: Id
    """The alert."""
    route: str
    """The route, by its name in the file of routes."""
    account_id: Name
    """The alert's account."""
    outcome: Settled
    """What became of it."""
    at: Time
    """When."""
    detail: str | None
    """Why, where there is more to say."""
    digest: NotRequired[str]
    """Of what is held: the digest that it is part of, once that is fixed."""
    offset: NotRequired[Count]
    """Of what is held: its offset in `alerts`."""
    timestamp: NotRequired[int]
    """Of what is held: its time stamp in `alerts`, Unix milliseconds."""
    alert: NotRequired[Alert]
    """Of what is held: the whole alert."""
