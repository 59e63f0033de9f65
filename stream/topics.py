"""The topics: names, retention and the order of inputs."""

from dataclasses import dataclass
from typing import Final

from scoring.events import TOPIC_TYPES

WEEK_MS: Final = 7 * 86_400_000
FOREVER: Final = "-1"
BIG_RECORD_BYTES: Final = str(96 * 2**20)

TRANSFERS: Final = "transfers"
"""What accounts tell each other when they merge and people move; workers alone write it."""
INPUTS: Final = (*TOPIC_TYPES, TRANSFERS)
"""Topics that workers read, all with the same number of partitions; none is compacted."""

SCORE_CHANGES: Final = "score-changes"
ALERTS: Final = "alerts"
ALERT_ACTIONS: Final = "alert-actions"
"""What people did about alerts: acknowledged them, muted an account or a rule for a while."""
DELIVERIES: Final = "deliveries"
DEAD_LETTERS: Final = "dead-letters"
UNRESOLVED: Final = "unresolved"
OUTPUTS: Final = (SCORE_CHANGES, ALERTS, ALERT_ACTIONS, DELIVERIES, DEAD_LETTERS, UNRESOLVED)

KEPT_FOREVER: Final = frozenset({"accounts", "contacts", "opportunities"})
COMPACTED: Final = frozenset({SCORE_CHANGES, ALERT_ACTIONS, DELIVERIES})


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
    if name in COMPACTED:
        return {"cleanup.policy": "compact"}
    kept = FOREVER if name in KEPT_FOREVER else str(14 * WEEK_MS)
    config = {"cleanup.policy": "delete", "retention.ms": kept}
    if name in (DEAD_LETTERS, UNRESOLVED, TRANSFERS):
        # They carry whole records and more: larger than any record let in.
        config["max.message.bytes"] = BIG_RECORD_BYTES
    return config
