"""The dead-letter limit: when a worker stops rather than drain a topic into the bin.

A few bad records are the business of `dead-letters`. Many mean that a producer or this version
is wrong, and then it is better that the records stay where they are, in front of the fence.
"""

from collections import Counter, deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

NO_DEAD: Counter[str] = Counter()


class HasOffset(Protocol):
    """A record, as far as counting looks at it."""

    @property
    def offset(self) -> int:
        """Return its offset in its partition."""


@dataclass(slots=True)
class Run:
    """Dead letters of one partition without a good record between them."""

    length: int = 0
    reasons: Counter[str] = field(default_factory=Counter)


@dataclass(frozen=True, slots=True)
class Excess:
    """More dead letters than the limit allows."""

    dead: int
    records: int
    """Of how many records."""
    in_a_row: bool
    reason: str
    """The most frequent one."""
    times: int
    """How many of the dead letters have this reason."""
    partition: int
    offset: int
    """The newest record with this reason."""


class DeadLetterCount:
    """Counts the records of one input topic and the dead letters among them.

    The share is taken over the newest micro-batches of all partitions that together hold
    *window* records; rows over one partition each, since only there records have an order.
    Records that were counted before, and are read again after a rebalance, are passed over.
    """

    def __init__(self, window: int) -> None:
        self._window = window
        self._batches: deque[tuple[int, Counter[str]]] = deque()
        self._next: dict[int, int] = {}
        self._runs: dict[int, Run] = {}
        self.records = 0
        self.reasons: Counter[str] = Counter()
        """Dead letters within the window, by reason."""
        self.newest: dict[str, tuple[int, int]] = {}
        """Reason -> partition and offset of the newest dead letter."""

    def note(self, partition: int, records: Sequence[HasOffset], dead: Mapping[int, str]) -> Run:
        """Count a micro-batch of *partition*; return its longest run, earlier ones continued.

        *dead* is offset -> reason of the dead letters among *records*.
        """
        first = self._next.get(partition, 0)
        offsets = [each.offset for each in records if each.offset >= first]
        if not offsets:
            return Run()
        self._next[partition] = offsets[-1] + 1
        if not dead:
            self._runs.pop(partition, None)
            self._push(len(offsets), NO_DEAD)
            return Run()
        self.newest |= {reason: (partition, at) for at, reason in dead.items() if at >= first}
        self._push(len(offsets), Counter(dead[at] for at in offsets if at in dead))
        return self._longest_run(partition, offsets, dead)

    def _longest_run(self, partition: int, offsets: Sequence[int], dead: Mapping[int, str]) -> Run:
        run = longest = self._runs.pop(partition, None) or Run()
        for at in offsets:
            reason = dead.get(at)
            if reason is None:
                run = Run()
                continue
            run.length += 1
            run.reasons[reason] += 1
            if run.length > longest.length:
                longest = run
        self._runs[partition] = run
        return longest

    def _push(self, records: int, reasons: Counter[str]) -> None:
        self._batches.append((records, reasons))
        self.records += records
        self.reasons.update(reasons)
        while self.records - self._batches[0][0] >= self._window:
            gone, forgotten = self._batches.popleft()
            self.records -= gone
            self.reasons.subtract(forgotten)


@dataclass(frozen=True, slots=True)
class DeadLetterLimit:
    """How many dead letters are too many; a 0 switches its rule off."""

    share: float
    """Of the records of a window, 0 to 1."""
    window: int
    """Records without which the share says nothing."""
    in_a_row: int

    def excess(self, count: DeadLetterCount, run: Run) -> Excess | None:
        """Tell what of *count*, or of *run*, the newest of its runs, is too much.

        >>> limit = DeadLetterLimit(share=0.5, window=1_000, in_a_row=2)
        >>> limit.excess(DeadLetterCount(1_000), Run(2)) is None
        True
        """
        if self.in_a_row and run.length > self.in_a_row:
            return _excess(count, run.reasons, run.length, in_a_row=True)
        dead = count.reasons.total()
        if self.share and count.records >= self.window and dead > self.share * count.records:
            return _excess(count, count.reasons, count.records, in_a_row=False)
        return None


def _excess(
    count: DeadLetterCount, reasons: Counter[str], records: int, *, in_a_row: bool
) -> Excess:
    reason, times = reasons.most_common(1)[0]
    partition, offset = count.newest[reason]
    return Excess(
        dead=reasons.total(),
        records=records,
        in_a_row=in_a_row,
        reason=reason,
        times=times,
        partition=partition,
        offset=offset,
    )


def sentence(excess: Excess, topic: str, limit: DeadLetterLimit) -> str:
    """Return what a worker says of *excess* in *topic* when it stops."""
    if excess.in_a_row:
        counted = f"{excess.dead:,} of {excess.records:,} records in a row"
        setting, value = "SURGELINE_DEAD_LETTERS_IN_A_ROW", str(limit.in_a_row)
    else:
        counted = f"{excess.dead:,} of its last {excess.records:,} records"
        setting, value = "SURGELINE_DEAD_LETTER_SHARE", f"{limit.share:g}"
    return (
        f"Topic {topic}: {counted} are bad, most often {excess.reason} ({excess.times:,} times, "
        f"the newest {topic}/{excess.partition} at offset {excess.offset}), more than "
        f"{setting}={value} allows. They stay in their topic. Repair what produces them, or let "
        f"them pass into dead-letters by one start with {setting}=0; `surgeline dead-letters "
        "replay` brings them back from there."
    )
