"""Erasing a person: their minutes stay with the account, and nothing says whose they were.

What they did before the erasure and arrives after it (in a replay of the log, say) counts with
the seniority that they had: it is folded under a veil, a contact that is gone again afterwards.
"""

from collections.abc import Mapping
from typing import Any, Final, NamedTuple

import msgspec

from scoring.account import CHANNEL_CODES, AccountState, Contact, Erased, Ledger
from scoring.alert import Alert
from scoring.alert_texts import sentence
from scoring.digests import digest_of
from scoring.events import Event
from scoring.gateway import person_of
from scoring.gifts import Gift, decode_gift, encode_gift
from scoring.live import Live

Weights = Mapping[int | None, float]

_VEIL: Final = "\x00"
"""Begins the id of a veiled contact; behind it follows the digest of the real one."""
_VISIT: Final = CHANNEL_CODES["page_visit"]
_NAMES_OTHERS: Final = ("moved_from", "moved_to", "erase")


class Veiled(NamedTuple):
    """An event that names nobody who was erased, and what stands for them."""

    event: Event
    contacts: dict[str, Contact]


def veil_of(contact_id: str) -> str:
    """Return what stands for an erased contact where somebody has to."""
    return _VEIL + digest_of(contact_id)


def ledger_of(state: AccountState) -> Ledger:
    """Return the ledger of *state*, a new one where it has none."""
    if state.ledger is None:
        state.ledger = Ledger()
    return state.ledger


def erase(state: AccountState, live: Live, event: Event, time: float, weights: Weights) -> None:
    """Erase the contact of *event*: their minutes freeze, all else that names them goes.

    Somebody of whom an address alone is known is named by its digest, see `scoring.gateway`.

    Also from what the shell has not taken yet, and from what waits for other accounts.
    """
    contact_id, ledger = event["contact_id"], ledger_of(state)
    _forget(state, contact_id, time, weights)
    for alert_at, alert in enumerate(live.alerts):
        if alert.why.get("contact_id") == contact_id:
            live.alerts[alert_at] = unnamed(alert)
    for id_, stored in ledger.gifts.items():
        ledger.gifts[id_] = _forgotten_in_gift(decode_gift(stored), contact_id, time, weights)


def _forget(state: AccountState, contact_id: str, time: float, weights: Weights) -> None:
    contact, erased = state.contacts.pop(contact_id, None), ledger_of(state).erased
    digest = digest_of(contact_id)
    known = erased.get(digest)
    if contact is not None and contact.recorded_at is not None:
        seniority = contact.seniority
    else:
        seniority = None if known is None else known.seniority
    erased[digest] = Erased(time if known is None else max(time, known.at), seniority)
    if contact is not None:
        freeze(state, contact, weights)
    for key in [each for each in state.emails if person_of(each) == contact_id]:
        del state.emails[key]
    for touch in state.touches:
        if touch.contact_id == contact_id:
            touch.contact_id = None
        if touch.channel == _VISIT:  # a page's address may say who read it
            label = _page(touch.label)
            touch.label = "" if contact_id in label else label


def _page(url: str) -> str:
    return url.partition("#")[0].partition("?")[0]


def _forgotten_in_gift(gift: Gift, contact_id: str, time: float, weights: Weights) -> bytes:
    state = gift.read_state()
    _forget(state, contact_id, time, weights)
    return encode_gift(gift.holding(state))


def freeze(state: AccountState, contact: Contact, weights: Weights) -> None:
    """Keep the minutes of a *contact* who is no more, as weighted now."""
    factor = weights[contact.seniority]
    for code, mass in contact.minutes.items():
        state.frozen[code] = state.frozen.get(code, 0.0) + factor * mass


def veiled(ledger: Ledger, event: Event, time: float) -> Veiled | None:
    """Return *event* of *time* without the erased people in it, None where it names none."""
    named = [event.get("contact_id"), *event.get("attendee_ids", ())]
    found = {
        each: Contact(seniority=erased.seniority, removed=True)
        for each in named
        if each is not None
        and (erased := ledger.erased.get(digest_of(each))) is not None
        and time <= erased.at
    }
    if not found or event.get("erase"):
        return None
    ids = {each: veil_of(each) for each in found}
    hidden = {k: v for k, v in event.items() if k not in _NAMES_OTHERS}
    if "contact_id" in event:
        hidden["contact_id"] = ids.get(event["contact_id"], event["contact_id"])
    if "attendee_ids" in event:
        hidden["attendee_ids"] = [ids.get(each, each) for each in event["attendee_ids"]]
    return Veiled(hidden, {ids[each]: contact for each, contact in found.items()})


def unveil(state: AccountState, live: Live, veils: Mapping[str, Any], weights: Weights) -> None:
    """Take the veiled contacts out of *state* and *live* again; their minutes freeze."""
    for veil in veils:
        contact = state.contacts.pop(veil, None)
        if contact is not None:
            freeze(state, contact, weights)
    for touch in state.touches:
        if touch.contact_id in veils:
            touch.contact_id = None
            touch.label = _page(touch.label) if touch.channel == _VISIT else touch.label
    for at, alert in enumerate(live.alerts):
        if alert.why.get("contact_id") in veils:
            live.alerts[at] = unnamed(alert)


def without_person(why: Mapping[str, Any]) -> dict[str, Any]:
    """Return what an alert rests on without the person: a page's address may say who read it."""
    hidden = {**why, "contact_id": None, "seniority": None}
    if "url" in hidden:
        hidden["url"] = _page(str(hidden["url"]))
    return hidden


def unnamed(alert: Alert) -> Alert:
    """Return *alert* without the person in it."""
    why = without_person(alert.why)
    said = sentence(alert.rule, alert.subject, why, name=alert.account_name)
    return msgspec.structs.replace(alert, why=why, sentence=said)
