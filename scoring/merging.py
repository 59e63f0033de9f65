"""Merging: what an account takes over from another one, so that the scores add up.

Masses are brought to one landmark and added, days and counts too; of what stands alone (an
opportunity, a person's title) the newest counts. Scores are those of an account that had done
all of it itself, as far as daily caps, the horizon and repeats do not meet: those were looked at
in each account by itself. Transitions follow from what stands after it.
"""

from collections.abc import Iterable, Mapping
from math import inf
from typing import Any, Final

from scoring.account import (
    CHANNEL_CODES,
    AccountState,
    Contact,
    DaySeries,
    Ledger,
    add_on_day,
    on_day,
    utc_day,
)
from scoring.alerts import look_for_cooling, scored, tell
from scoring.dedupe import DayKey
from scoring.digests import digest_of
from scoring.erasing import freeze, ledger_of
from scoring.events import Event
from scoring.fold import Account, Outcome, bound_contacts, keep_touch, move_landmark
from scoring.gifts import Gift
from scoring.live import Errand
from scoring.rules import Rules
from scoring.scores import scores_at
from scoring.transitions import advance, decide_engaged, decide_stage, recount_topics, reweigh

TRANSFERS_REMEMBERED: Final = 1_000

_RECORDS: Final = CHANNEL_CODES["account"]
"""Records of the giving account are its own: they say nothing of the one that takes."""


def seen_days(given: AccountState, rules: Rules) -> list[DayKey]:
    """Return under which days the ids lie that a giver has seen and a repeat could bring again."""
    return [
        (code, day)
        for code, newest in sorted(given.newest.items())
        if code != _RECORDS
        for day in range(utc_day(newest) - rules.days_before, utc_day(newest) + 1)
    ]


def take_over(
    account: Account, gift: Gift, seen: Mapping[DayKey, Iterable[int]], rules: Rules
) -> Outcome:
    """Add *gift* to *account* once; say what became of it.

    *seen* are the ids that the giver has seen; the account's own of the same days must be loaded.
    A gift for an account that was itself merged into another goes on to that one.
    """
    state, live, ledger = account.state, account.live, ledger_of(account.state)
    if gift.id in ledger.taken:
        return Outcome.DUPLICATE
    given = gift.read_state()
    if gift.whole:
        _lives_on(state, ledger, gift, giver=given.account_id)
    if ledger.merged_into is not None:
        live.errands.append(Errand(ledger.merged_into, gift=gift.id, giver=given.account_id))
        return Outcome.MOVED
    _move_instant(account, given, rules)
    assert state.instant is not None
    earlier = scored(scores_at(state, state.instant, rules, live))
    ledger.taken.append(gift.id)
    _remember_seen(account, given, seen, rules)
    _add(state, given, gift, rules)
    _decide(account, gift, rules)
    if live.raised:
        tell(state, live, rules, before=lambda *_: earlier, cause=_cause(gift), time=gift.at)
    return Outcome.SCORED


def _cause(gift: Gift) -> Event:
    return dict(zip(("source", "id", "type"), gift.cause, strict=True))


def _lives_on(state: AccountState, ledger: Ledger, gift: Gift, *, giver: str) -> None:
    """Note that another was merged into the account: earlier mergers of its own are history.

    So of accounts that were merged in a ring, the target of the newest merger is left; of a ring
    at one moment, one to which its own gift comes back.
    """
    known = ledger.merged_with_at
    ledger.merged_with_at = gift.at if known is None else max(known, gift.at)
    if ledger.merged_into is None or state.record is None:
        return
    own = state.record.recorded_at
    if gift.at > own or (gift.at == own and ledger.merged_into == giver):
        ledger.merged_into = None


def _move_instant(account: Account, given: AccountState, rules: Rules) -> None:
    state = account.state
    if given.instant is None:
        return
    if state.instant is None:
        state.instant = given.instant
    elif given.instant > state.instant:
        advance(state, account.live, given.instant, rules)


def _remember_seen(
    account: Account, given: AccountState, seen: Mapping[DayKey, Iterable[int]], rules: Rules
) -> None:
    """Take over the newest time of each type, and the ids that a repeat could bring again."""
    state = account.state
    for code, theirs in given.newest.items():
        if code == _RECORDS:
            continue
        ours = state.newest.get(code)
        if ours is None or theirs > ours:
            state.newest[code] = theirs
        if ours is not None and utc_day(theirs) > utc_day(ours):
            account.seen.move_window(
                code,
                old_day=utc_day(ours),
                new_day=utc_day(theirs),
                days_before=rules.days_before,
            )
    for key, digests in seen.items():
        newest = None if key[0] == _RECORDS else state.newest.get(key[0])
        if newest is not None and key[1] >= utc_day(newest) - rules.days_before:
            account.seen.absorb(key, digests, limit=rules.ids_per_day)


def _add(state: AccountState, given: AccountState, gift: Gift, rules: Rules) -> None:
    _add_masses(state, given, gift, rules)
    _add_days(state, given, rules)
    _add_opportunities(state, given)
    state.events += given.events
    state.first_event_at = _or(min, state.first_event_at, given.first_event_at)
    state.last_event_at = _or(max, state.last_event_at, given.last_event_at)
    state.surging = sorted({*state.surging, *given.surging})
    for reason, labelled in given.noise.items():
        state.noise[reason] = state.noise.get(reason, 0) + labelled
    for what, at in given.alerted.items():
        state.alerted[what] = max(at, state.alerted.get(what, at))
    ledger, theirs = ledger_of(state), given.ledger or Ledger()
    ledger.taken += [each for each in theirs.taken if each not in ledger.taken]
    del ledger.taken[:-TRANSFERS_REMEMBERED]


def _or(choose: Any, ours: float | None, theirs: float | None) -> float | None:
    known = [each for each in (ours, theirs) if each is not None]
    return choose(known) if known else None


def _add_masses(state: AccountState, given: AccountState, gift: Gift, rules: Rules) -> None:
    """Add minutes and exchanges, expressed at one landmark; erased people stay erased."""
    _share_landmark(state, given, rules)
    for code, mass in given.unknown.items():
        state.unknown[code] = state.unknown.get(code, 0.0) + mass
    for code, mass in given.frozen.items():
        state.frozen[code] = state.frozen.get(code, 0.0) + mass
    _add_people(state, given, gift, rules)
    for touch in given.touches:
        if touch.contact_id not in state.contacts:
            touch.contact_id = None
        keep_touch(state.touches, touch)


def _share_landmark(state: AccountState, given: AccountState, rules: Rules) -> None:
    if given.landmark is None:
        return
    if state.landmark is None:
        state.landmark = given.landmark
    elif given.landmark - state.landmark > rules.landmark_seconds:
        move_landmark(state, given.landmark, rules)
    move_landmark(given, state.landmark, rules)


def _add_people(state: AccountState, given: AccountState, gift: Gift, rules: Rules) -> None:
    """Add contacts, those of an erased person as minutes without a name."""
    erased = ledger_of(state).erased
    for contact_id, contact in given.contacts.items():
        known = erased.get(digest_of(contact_id)) if erased else None
        if known is not None and gift.at <= known.at:
            contact.seniority = known.seniority
            freeze(state, contact, rules.weights)
        elif contact_id in state.contacts:
            _join(state.contacts[contact_id], contact)
        else:
            state.contacts[contact_id] = contact
    for digest, theirs in (given.ledger or Ledger()).erased.items():
        known = erased.get(digest)
        if known is None or theirs.at > known.at:
            erased[digest] = theirs


def _join(ours: Contact, theirs: Contact) -> None:
    """Add what is known of a person in another account; the newest record counts."""
    for code, mass in theirs.minutes.items():
        ours.minutes[code] = ours.minutes.get(code, 0.0) + mass
    ours.inbound += theirs.inbound
    ours.outbound += theirs.outbound
    if theirs.recorded_at is not None and theirs.recorded_at > (ours.recorded_at or -inf):
        ours.seniority, ours.recorded_at = theirs.seniority, theirs.recorded_at
    ours.removed_at = _or(max, ours.removed_at, theirs.removed_at)
    if ours.removed_at is None or ours.recorded_at is None:
        ours.removed = ours.removed_at is not None
    elif ours.removed_at != ours.recorded_at:  # else which came later is not known here
        ours.removed = ours.removed_at > ours.recorded_at


def _add_days(state: AccountState, given: AccountState, rules: Rules) -> None:
    """Add capped points and counts day by day."""
    surge = rules.model.surge
    caps = {kind.code: kind.cap for kind in rules.kinds.values()}
    for code, series in given.caps.items():
        _add_series(state.caps, code, series, keep=rules.cap_days, most=caps[code])
    for topic, series in given.counts.items():
        keep = surge.window_days + surge.baseline_days
        _add_series(state.counts, topic, series, keep=keep, most=None)
    first = _or(min, state.first_counted_day, given.first_counted_day)
    state.first_counted_day = None if first is None else int(first)


def _add_series(
    known: dict[Any, DaySeries], name: Any, series: DaySeries, *, keep: int, most: float | None
) -> None:
    if name not in known:
        known[name] = series
        return
    ours = known[name]
    for day, amount in enumerate(series[1:], start=series[0]):
        if not amount:
            continue
        add_on_day(ours, day, amount, keep_days=keep)
        if most is not None and on_day(ours, day) > most:
            ours[day - ours[0] + 1] = most


def _add_opportunities(state: AccountState, given: AccountState) -> None:
    for name, theirs in given.opportunities.items():
        ours = state.opportunities.get(name)
        older = ours is not None and ours.since is not None
        if ours is None or (
            theirs.since is not None and not (older and (ours.since or 0.0) >= theirs.since)
        ):
            state.opportunities[name] = theirs
    state.churned_at = _or(max, state.churned_at, given.churned_at)


def _decide(account: Account, gift: Gift, rules: Rules) -> None:
    """Evaluate transitions on what stands now, caused by the event that caused the gift."""
    state, live = account.state, account.live
    cause = _cause(gift)
    live.closeness = None
    bound_contacts(state, live, rules)
    reweigh(state, rules)
    state.engaged = state.engaged or gift.read_state().engaged
    decide_engaged(state, live, rules, cause)
    recount_topics(state, live, rules, cause)
    decide_stage(state, live, rules, cause)
    if state.opportunities:
        look_for_cooling(state, live, rules)
