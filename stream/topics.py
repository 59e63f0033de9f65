"""The topics: names, retention and the order of inputs."""

from dataclasses import dataclass
from typing import Final

from scoring.events import TOPIC_TYPES

WEEK_MS: Final = 7 * 86_400_000
FOREVER: Final = "-1"
BIG_RECORD_BYTES: Final = str(96 * 2**20)

INPUTS: Final = tuple(TOPIC_TYPES)
"""Input topics, all with the same number of partitions; none is compacted."""

SCORE_CHANGES: Final = "score-changes"
ALERTS: Final = "alerts"
DELIVERIES: Final = "deliveries"
DEAD_LETTERS: Final = "dead-letters"
UNRESOLVED: Final = "unresolved"
OUTPUTS: Final = (SCORE_CHANGES, ALERTS, DELIVERIES, DEAD_LETTERS, UNRESOLVED)

_KEPT_FOREVER: Final = frozenset({"accounts", "contacts", "opportunities"})
_COMPACTED: Final = frozenset({SCORE_CHANGES, DELIVERIES})


@dataclass(frozen=True, slots=True)
class TopicSpec:
    """One topic as it is declared when it is missing."""

    name: str
    """Without the prefix."""
    config: dict[str, str]


def topic_specs() -> list[TopicSpec]:
    """Return every topic of Surgeline: inputs first."""
    return [TopicSpec(name, _config(name)) for name in (*INPUTS, *OUTPUTS)]


def _config(name: str) -> dict[str, str]:
    if name in _COMPACTED:
        return {"cleanup.policy": "compact"}
    kept = FOREVER if name in _KEPT_FOREVER else str(14 * WEEK_MS)
    config = {"cleanup.policy": "delete", "retention.ms": kept}
    if name == DEAD_LETTERS:
        # A dead letter carries the raw bytes and headers: larger than any record let in.
        config["max.message.bytes"] = BIG_RECORD_BYTES
    return config
