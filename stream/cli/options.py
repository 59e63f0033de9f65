"""Options that several commands share."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated, TypeAlias

import typer


class Score(StrEnum):
    """The scores that accounts can be sorted by."""

    ENGAGEMENT = "engagement"
    INTENT_SURGE = "intent_surge"
    RELATIONSHIP = "relationship"


class Stage(StrEnum):
    """The funnel's stages; ``none`` for accounts that are no target."""

    TARGET = "target"
    ENGAGED = "engaged"
    OPPORTUNITY = "opportunity"
    CUSTOMER = "customer"
    RETAINED = "retained"
    EXPANDED = "expanded"
    NONE = "none"


AsOf: TypeAlias = Annotated[
    str | None,
    typer.Option(
        "--as-of",
        metavar="TIME",
        help="Evaluate at this time, like 2026-01-31T09:00:00Z or 2026-01-31 (UTC midnight).",
    ),
]
Json: TypeAlias = Annotated[
    bool, typer.Option("--json", help="Print JSON, one object a line, numbers in full precision.")
]
RedisUrl: TypeAlias = Annotated[
    str | None, typer.Option("--redis-url", metavar="URL", help="Instead of SURGELINE_REDIS_URL.")
]
KafkaUrl: TypeAlias = Annotated[
    str | None,
    typer.Option("--kafka-url", metavar="HOST:PORT", help="Instead of SURGELINE_KAFKA_URL."),
]
ModelFile: TypeAlias = Annotated[
    Path | None,
    typer.Option("--model", metavar="FILE", help="Scoring model, instead of SURGELINE_MODEL."),
]
By: TypeAlias = Annotated[Score, typer.Option("--by", help="Sort by this score, highest first.")]
Limit: TypeAlias = Annotated[
    int, typer.Option("--limit", min=1, max=100_000, help="List at most this many accounts.")
]


def as_of_seconds(text: str | None) -> float | None:
    """Return --as-of in Unix seconds; wrong usage (exit code 2) when it is no time."""
    from scoring.report import parse_time

    if text is None:
        return None
    try:
        return parse_time(text)
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="--as-of") from None
