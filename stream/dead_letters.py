"""Dead letters as values: what a record of their topic says, and what it was.

A letter is known by its origin, topic/partition/offset: the same bad record may lie in
`dead-letters` twice, since letters are produced at least once.
"""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Final

from scoring.report import rfc3339
from stream.micro_batch import Record
from stream.outputs import CUT, Headers, Message
from stream.replay import message_of
from stream.topics import ALERTS, DEAD_LETTERS, INPUTS

REPLAYED_FROM: Final = "surgeline-replayed-from"
"""Header of a record that was a dead letter: partition/offset of the letter."""
RECEIPT: Final = "surgeline-replayed"
"""Header of a receipt, a record of `dead-letters` without value: the origin that was replayed."""
FILES: Final = "replay"
"""Origin of letters that `surgeline replay` found no topic for: lines of files."""
BEGINNING_CHARACTERS: Final = 60

_OWN: Final = frozenset(
    f"surgeline-{name}"
    for name in ("reason", "detail", "topic", "partition", "offset", "timestamp", "cut")
)


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a bad record came from."""

    topic: str
    """Without the prefix."""
    partition: int | None
    offset: int | None
    timestamp_ms: int | None


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """One record of `dead-letters`."""

    origin: Origin
    reason: str
    detail: str
    key: bytes | None
    value: bytes | None
    headers: Headers
    """Those that the bad record came with."""
    partition: int | None
    """Of the letter itself."""
    offset: int | None
    time: float
    """When it was written, Unix seconds."""
    cut: bool = False
    """Whether it holds but the beginning of a record too large for its topic."""

    @property
    def identity(self) -> str:
        """Return what all letters of one bad record share."""
        origin = self.origin
        if origin.partition is None or origin.offset is None:
            return f"{DEAD_LETTERS}/{self.partition}/{self.offset}"
        return f"{origin.topic}/{origin.partition}/{origin.offset}"

    @property
    def beginning(self) -> str:
        """Return the first characters of the value, as far as it is text."""
        if self.value is None:
            return ""
        return self.value[: 4 * BEGINNING_CHARACTERS].decode("utf-8", "replace")[
            :BEGINNING_CHARACTERS
        ]


@dataclass(frozen=True, slots=True)
class Chosen:
    """Which letters are meant; an empty set means all."""

    reasons: frozenset[str] = frozenset()
    topics: frozenset[str] = frozenset()
    since: float | None = None
    """Unix seconds; of when the letter was written."""

    def __contains__(self, letter: DeadLetter) -> bool:
        return (
            (not self.reasons or letter.reason in self.reasons)
            and (not self.topics or letter.origin.topic in self.topics)
            and (self.since is None or letter.time >= self.since)
        )


def letter_of(record: Record) -> DeadLetter | None:
    """Return the letter in a *record* of `dead-letters`, None when it is none."""
    ours = {name: value for name, value in record.headers if name in _OWN}
    if "surgeline-topic" not in ours or "surgeline-reason" not in ours:
        return None
    return DeadLetter(
        origin=Origin(
            _text(ours["surgeline-topic"]),
            _number(ours.get("surgeline-partition")),
            _number(ours.get("surgeline-offset")),
            _number(ours.get("surgeline-timestamp")),
        ),
        reason=_text(ours["surgeline-reason"]),
        detail=_text(ours.get("surgeline-detail")),
        key=record.key,
        value=record.value,
        headers=_foreign(record.headers, len(ours)),
        partition=record.partition,
        offset=record.offset,
        time=record.timestamp / 1_000,
        cut=CUT in ours,
    )


def _foreign(headers: Headers, ours: int) -> Headers:
    """Return what the bad record came with: *ours* stand last, so of equal names only those."""
    return tuple(headers)[: len(headers) - ours]


def receipt_of(record: Record) -> str | None:
    """Return the identity that a *record* of `dead-letters` says was replayed, None of a letter."""
    if len(record.headers) != 1 or record.headers[0][0] != RECEIPT:
        return None
    return _text(record.headers[0][1])


def receipt(letter: DeadLetter) -> Message:
    """Return the record that says that *letter* was replayed.

    It goes to the partition of the letter, so that retention removes it later than the letter.
    """
    identity = letter.identity.encode()
    return Message(DEAD_LETTERS, identity, None, letter.partition, ((RECEIPT, identity),))


def replayed(letter: DeadLetter) -> Message | None:
    """Return the record that *letter* was, to be produced again; None when no topic takes it.

    Its key decides the partition, as it did at first.
    """
    origin = letter.origin
    at = f"{letter.partition}/{letter.offset}".encode()
    kept = [(name, value) for name, value in letter.headers if name != REPLAYED_FROM]
    headers = [*kept, (REPLAYED_FROM, at)]
    if origin.topic == FILES:
        found = message_of((letter.value or b"").strip())
        return None if found.topic == DEAD_LETTERS else found._replace(headers=headers)
    if origin.topic not in (*INPUTS, ALERTS) or letter.cut:
        return None
    stamp = origin.timestamp_ms
    known = stamp if stamp is not None and stamp >= 0 else None
    return Message(origin.topic, letter.key, letter.value, None, headers, known)


@dataclass
class Summary:
    """How many letters there are by topic and reason, and how many of them were replayed."""

    letters: Counter[tuple[str, str]] = field(default_factory=Counter)
    replayed: Counter[tuple[str, str]] = field(default_factory=Counter)
    newest: dict[tuple[str, str], float] = field(default_factory=dict)

    def add(self, letter: DeadLetter, *, was_replayed: bool) -> None:
        """Count *letter*."""
        at = letter.origin.topic, letter.reason
        self.letters[at] += 1
        self.replayed[at] += was_replayed
        self.newest[at] = max(letter.time, self.newest.get(at, letter.time))

    def rows(self) -> Iterable[dict[str, Any]]:
        """Yield one row per topic and reason, the most frequent first."""
        for (topic, reason), count in self.letters.most_common():
            yield {
                "topic": topic,
                "reason": reason,
                "letters": count,
                "replayed": self.replayed[topic, reason],
                "newest": rfc3339(self.newest[topic, reason]),
            }


def _text(value: bytes | None) -> str:
    return "" if value is None else value.decode("utf-8", "replace")


def _number(value: bytes | None) -> int | None:
    try:
        return None if value is None else int(value)
    except ValueError:
        return None
