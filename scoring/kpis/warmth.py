"""Engagement over time: decayed minutes after every event, and when accounts became engaged."""

from dataclasses import dataclass
from itertools import pairwise
from math import inf
from typing import NamedTuple

import numpy as np

from scoring.kpis.codes import SENIORITY_SHIFT, Code
from scoring.kpis.columns import Array, Log, paired, starts_of
from scoring.rules import Rules

_HALF_LIVES = 900.0
"""What is older adds nothing that a double could hold."""


@dataclass(frozen=True, slots=True)
class Warmth:
    """Decayed engagement minutes of all accounts as of one moment, and how they came about."""

    minutes: Array
    """Per account at that moment."""
    engaged: Array
    """Whether it is engaged at that moment."""
    entered: Array
    """When it first became engaged, inf for never."""
    starts: Array
    """Where the rows of each account begin, and the end of the last."""
    account: Array
    """Per row (an event that added minutes, or a change of title), by account and time."""
    time: Array
    after: Array
    """Minutes after the row."""
    engaged_after: Array
    enters: Array
    """Whether the account became engaged with the row."""


def seniority_weights(rules: Rules) -> Array:
    """Return the factor on a person's minutes by the number in a contact's flags; 0: unknown."""
    return np.array([rules.weights[None], *(rules.weights[code] for code in range(5))])


def warmth(events: Log, records: Log, now: float, rules: Rules, accounts: int) -> Warmth:
    """Return the engagement of *accounts* accounts as of *now*.

    *events* and *records* are the facts before *now*. A contact's minutes weigh what its title
    says at the time looked at: a record of a contact is a step in its account's minutes.
    """
    half_life = rules.half_life_seconds
    rows = np.flatnonzero((events.added > 0) & (events.time > now - _HALF_LIVES * half_life))
    account, time = events.account[rows], events.time[rows]
    raw = events.added[rows].astype(np.float64) * np.exp2((time - now) / half_life)
    added = _Added(account, time, paired(account, events.contact[rows]), raw)
    mass, steps = _weighted(added, records, rules)
    mass *= raw
    del added, raw, rows  # millions of rows that are not wanted beside what follows
    if steps:
        starts = starts_of(account, accounts)
        at = [_place(starts, time, each[0], each[1]) for each in steps]
        account = np.insert(account, at, [each[0] for each in steps])
        time = np.insert(time, at, [each[1] for each in steps])
        mass = np.insert(mass, at, [each[2] for each in steps])
    return _evaluated(account, time, mass, now, rules, accounts)


def _place(starts: Array, time: Array, account: int, at: float) -> int:
    start, stop = starts[account], starts[account + 1]
    return int(start + np.searchsorted(time[start:stop], at))


class _Added(NamedTuple):
    """What added minutes: columns of the events that did."""

    account: Array
    time: Array
    person: Array
    raw: Array
    """Minutes as they are left at the moment, before the person's weight."""


Step = tuple[int, float, float]
"""Account, time, and by how much its mass changes."""


def _weighted(log: _Added, records: Log, rules: Rules) -> tuple[Array, list[Step]]:
    """Return each event's weight as of its own time, and the steps by later changes of title."""
    by_title = seniority_weights(rules)
    said = records.where(records.code == Code.CONTACT)
    people = said.person
    order = np.lexsort((said.time, people))
    people, times = people[order], said.time[order]
    titles = by_title[said.flags[order] >> SENIORITY_SHIFT]
    known, first, counts = np.unique(people, return_index=True, return_counts=True)
    weights = np.full(len(log.raw), by_title[0])
    person = log.person
    rows = np.flatnonzero(person != 0)
    place = np.searchsorted(known, person[rows])
    found = place < len(known)
    rows, place = rows[found], place[found]
    same = known[place] == person[rows]
    rows, place = rows[same], place[same]
    after = log.time[rows] >= times[first[place]]
    weights[rows[after]] = titles[first[place[after]]]
    lowest, highest = (f.reduceat(titles, first) for f in (np.minimum, np.maximum))
    changing = np.zeros(len(known), dtype=bool)
    if len(known):
        changing = lowest != highest
        changing[place[~after]] = True
    steps: list[Step] = []
    rows, place = rows[changing[place]], place[changing[place]]
    by_person = np.argsort(place, kind="stable")
    rows, place = rows[by_person], place[by_person]
    for group in np.split(np.arange(len(rows)), np.flatnonzero(np.diff(place)) + 1):
        if not len(group):
            continue
        own, who = rows[group], place[group[0]]
        at = slice(first[who], first[who] + counts[who])
        seen = np.concatenate(([by_title[0]], titles[at]))
        weights[own] = seen[np.searchsorted(times[at], log.time[own], side="right")]
        for number, time in enumerate(times[at]):
            gain = (seen[number + 1] - seen[number]) * log.raw[own][log.time[own] < time].sum()
            if gain:
                steps.append((int(log.account[own[0]]), float(time), float(gain)))
    return weights, sorted(steps)


def _evaluated(
    account: Array, time: Array, mass: Array, now: float, rules: Rules, accounts: int
) -> Warmth:
    half_life, funnel = rules.half_life_seconds, rules.model.funnel
    starts = starts_of(account, accounts)
    total = np.empty(len(mass))
    for start, stop in pairwise(starts):
        if stop > start:
            np.cumsum(mass[start:stop], out=total[start:stop])
    grown = np.exp2((now - time) / half_life)  # from what is left now to what there was
    first = np.empty(len(mass), dtype=bool)
    first[:1], first[1:] = True, account[1:] != account[:-1]
    before = np.zeros(len(mass))
    before[1:] = total[:-1] * grown[1:]
    before[first] = 0.0
    minutes, filled = np.zeros(accounts), np.flatnonzero(starts[1:] > starts[:-1])
    minutes[filled] = total[starts[1:][filled] - 1]
    after = np.multiply(total, grown, out=total)
    on = after >= funnel.engaged_minutes
    off = (before < funnel.disengaged_minutes) | (after < funnel.disengaged_minutes)
    decided = np.maximum.accumulate(np.where(on | off, np.arange(len(mass), dtype=np.int32), 0))
    engaged_after = on[decided] if len(mass) else on
    was = np.zeros(len(mass), dtype=bool)
    was[1:] = engaged_after[:-1]
    enters = engaged_after & ~(was & (before >= funnel.disengaged_minutes))
    engaged = np.zeros(accounts, dtype=bool)
    engaged[filled] = engaged_after[starts[1:][filled] - 1]
    engaged &= minutes >= funnel.disengaged_minutes
    entered = np.full(accounts, inf)
    np.minimum.at(entered, account[enters], time[enters])
    return Warmth(minutes, engaged, entered, starts, account, time, after, engaged_after, enters)


def engaged_at(found: Warmth, account: int, at: float, rules: Rules) -> bool:
    """Tell whether *account* was engaged at the time *at*, after the events of that moment."""
    start, stop = found.starts[account : account + 2]
    row = start + np.searchsorted(found.time[start:stop], at, side="right") - 1
    if row < start or not found.engaged_after[row]:
        return False
    left = found.after[row] * np.exp2((found.time[row] - at) / rules.half_life_seconds)
    return bool(left >= rules.model.funnel.disengaged_minutes)
