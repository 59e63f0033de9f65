"""Relationship: how well the account's people and ours know each other.

Per contact, from the decayed weights I of what they did and O of what we did:
reciprocity = 2 min(I, O)/(I + O); strength = (1 - 2^(-(I + O/4)/6)) (1/2 + reciprocity/2)
min(1, seniority/1.25). Account = 100 (1 - prod(1 - 0.6 strength)): one contact alone
reaches 60 at most, so an account that hangs on one person shows.
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple

from scoring.account import AccountState, Contact
from scoring.decay import saturated, weight
from scoring.engagement import seniority_weight
from scoring.events import Event
from scoring.model import SECONDS_PER_DAY, RelationshipModel


class Exchange(NamedTuple):
    """What one event adds to the relationship with each of some contacts."""

    contacts: tuple[str, ...]
    inbound: float
    outbound: float


def exchange_of(event: Event, model: RelationshipModel) -> Exchange | None:
    """Return what *event* adds to relationships, None when it adds nothing.

    A held meeting counts for every attendee, or its ``contact_id`` when it lists none.
    """
    kind, action = event["type"], event.get("action")
    if kind == "meeting":
        if action != "held":
            return None
        own = (event["contact_id"],) if "contact_id" in event else ()
        contacts = tuple(event.get("attendee_ids") or own)
        inbound = outbound = model.meeting_weight
    else:
        if kind == "email" and action in ("sent", "replied"):
            value = model.email_weight
        elif kind == "chat" and action == "message":
            value = model.chat_message_weight
        else:
            return None
        contacts = (event["contact_id"],) if "contact_id" in event else ()
        inbound, outbound = (value, 0.0) if event["direction"] == "inbound" else (0.0, value)
    return Exchange(contacts, inbound, outbound) if contacts else None


def strength(
    inbound: float, outbound: float, *, seniority: float, model: RelationshipModel
) -> float:
    """Return the strength from 0 to 1 of one relationship.

    *inbound* and *outbound* are decayed weights, *seniority* is the contact's weight.

    >>> from scoring.model import default_model
    >>> strength(0.0, 0.0, seniority=1.0, model=default_model().relationship)
    0.0
    """
    total = inbound + outbound
    if total <= 0.0:
        return 0.0
    closeness = saturated(
        inbound + model.outbound_share * outbound, half_saturation=model.saturation
    )
    less = outbound if outbound < inbound else inbound
    floor, full = model.reciprocity_floor, model.full_seniority_weight
    known = seniority / full if seniority < full else 1.0
    return closeness * (floor + (1.0 - floor) * (2.0 * less / total)) * known


def strengths(
    state: AccountState,
    now: float,
    *,
    weights: Mapping[int | None, float],
    model: RelationshipModel,
) -> Iterator[tuple[str, float, float, float]]:
    """Yield (contact id, strength, decayed inbound, decayed outbound) of each known contact.

    Only contacts that are not removed and that exchanged anything; *now* in Unix seconds.
    """
    factor = exchange_factor(state, now, model)
    for contact_id, contact in state.contacts.items():
        if not contact.removed and contact.inbound + contact.outbound > 0.0:
            inbound, outbound = contact.inbound * factor, contact.outbound * factor
            seniority = seniority_weight(contact, weights)
            yield (
                contact_id,
                strength(inbound, outbound, seniority=seniority, model=model),
                inbound,
                outbound,
            )


def strength_values(
    state: AccountState,
    now: float,
    *,
    weights: Mapping[int | None, float],
    model: RelationshipModel,
) -> list[float]:
    """Return the strengths of `strengths` alone: it runs for every account of every commit."""
    factor = exchange_factor(state, now, model)
    return [
        strength(
            contact.inbound * factor,
            contact.outbound * factor,
            seniority=weights[contact.seniority],
            model=model,
        )
        for contact in state.contacts.values()
        if not contact.removed and contact.inbound + contact.outbound > 0.0
    ]


def exchange_factor(state: AccountState, now: float, model: RelationshipModel) -> float:
    """Return the factor from exchange masses at the landmark to decayed weights at *now*."""
    if state.landmark is None:
        return 0.0
    return weight(
        elapsed_seconds=now - state.landmark,
        half_life_seconds=model.half_life_days * SECONDS_PER_DAY,
    )


def relationship_score(found: Iterable[float], model: RelationshipModel) -> float:
    """Return the account's score from 0 to 100 from its contacts' strengths.

    >>> from scoring.model import default_model
    >>> relationship_score([1.0], default_model().relationship)
    60.0
    """
    apart = 1.0
    for value in found:
        apart *= 1.0 - model.contact_share * value
    return 100.0 * (1.0 - apart)


def weakest_contact(
    state: AccountState,
    now: float,
    *,
    weights: Mapping[int | None, float],
    model: RelationshipModel,
) -> str:
    """Return the id of the contact to forget first at *now*: the weakest relationship.

    Ties, as among contacts without any exchange, go to the least engaged, then by id.
    """
    factor = exchange_factor(state, now, model)

    def order(item: tuple[str, Contact]) -> tuple[float, float, str]:
        contact_id, contact = item
        seniority = seniority_weight(contact, weights)
        value = strength(
            contact.inbound * factor, contact.outbound * factor, seniority=seniority, model=model
        )
        return value, seniority * sum(contact.minutes.values()), contact_id

    return min(state.contacts.items(), key=order)[0]
