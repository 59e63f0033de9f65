"""People: the contacts that are known, and the relationship with them, as of one moment."""

from dataclasses import dataclass

import numpy as np

from scoring.kpis.codes import INBOUND, LATE, LISTED, SENIORITY_SHIFT, Code
from scoring.kpis.columns import Array, Log, run_ends
from scoring.kpis.warmth import seniority_weights
from scoring.rules import Rules


@dataclass(frozen=True, slots=True)
class People:
    """The people whom the CRM has records of, as of one moment."""

    person: Array
    """Rising."""
    account: Array
    known: Array
    """Whether the newest record is no removal."""
    flags: Array
    """Of the newest upserted record, 0 when there is none."""


def people_of(records: Log) -> People:
    """Return the people in *records*, the records before the moment."""
    log = records.where(records.has(Code.CONTACT, Code.CONTACT_REMOVED))
    person = log.person
    order = np.argsort(person, kind="stable")
    person = person[order]
    last = np.flatnonzero(run_ends(person))
    upserts = log.code[order] == Code.CONTACT
    newest = np.maximum.accumulate(np.where(upserts, np.arange(len(order)), -1))
    first = np.concatenate(([0], last + 1))[:-1]
    flags = np.where(newest[last] >= first, log.flags[order][newest[last]], 0)
    return People(person[last], log.account[order][last], upserts[last], flags)


def relationship(log: Log, people: People, now: float, rules: Rules, accounts: int) -> Array:
    """Return the relationship score of each account as of *now*.

    *log* are the exchanges before *now*; the formulas are those of `scoring.relationship`.
    """
    model = rules.model.relationship
    inbound, outbound = _weights(log, rules)
    fading = np.exp2((log.time - now) / rules.exchange_half_life_seconds)
    person, first, place = np.unique(log.person, return_index=True, return_inverse=True)
    theirs = np.bincount(place, inbound * fading, len(person))
    ours = np.bincount(place, outbound * fading, len(person))
    title = np.zeros(len(person), dtype=np.int64)
    removed = np.zeros(len(person), dtype=bool)
    at = np.searchsorted(people.person, person)
    met = at < len(people.person)
    met[met] = people.person[at[met]] == person[met]
    title[met] = people.flags[at[met]] >> SENIORITY_SHIFT
    removed[met] = ~people.known[at[met]]
    total = theirs + ours
    closeness = 1.0 - np.exp2(-(theirs + model.outbound_share * ours) / model.saturation)
    mutual = np.divide(
        2.0 * np.minimum(theirs, ours), total, out=np.zeros(len(person)), where=total > 0
    )
    seniority = np.minimum(1.0, seniority_weights(rules)[title] / model.full_seniority_weight)
    floor = model.reciprocity_floor
    strength = closeness * (floor + (1.0 - floor) * mutual) * seniority
    apart = np.where(removed, 0.0, np.log1p(-model.contact_share * strength))
    return 100.0 * -np.expm1(np.bincount(log.account[first], apart, accounts))


def exchanges(events: Log) -> Log:
    """Return the *events* that are exchanges with a contact."""
    met = (events.code == Code.ATTENDED) | (
        (events.code == Code.MEETING_HELD) & (events.flags & LISTED == 0)
    )
    said = events.has(Code.EMAIL_SENT, Code.EMAIL_REPLIED, Code.CHAT_MESSAGE)
    return events.where((said | met) & (events.contact != 0) & (events.flags & LATE == 0))


def _weights(log: Log, rules: Rules) -> tuple[Array, Array]:
    """Return what each of the exchanges in *log* weighs inbound and outbound."""
    model = rules.model.relationship
    weights = np.zeros(256)
    weights[[Code.EMAIL_SENT, Code.EMAIL_REPLIED]] = model.email_weight
    weights[Code.CHAT_MESSAGE] = model.chat_message_weight
    value, inbound = weights[log.code], log.flags & INBOUND > 0
    both = log.has(Code.ATTENDED, Code.MEETING_HELD) * model.meeting_weight
    return value * inbound + both, value * ~inbound + both
