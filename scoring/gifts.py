"""Gifts: what one account gives to another, kept by the giver until it is fetched.

An account that was merged into another gives all of its state, a person who moves takes along
what they did. The giver's state holds it from the event on that causes it, so giver and gift are
always of one commit; whoever it is for reads it there. It is no record on any topic: people's
ids stay out of them, and a replay cannot meet an old one.
"""

import datetime as dt
from typing import Final, Self

import msgspec

from scoring.account import AccountState, Contact, Ledger, decode_state, encode_state
from scoring.events import Event
from scoring.live import Errand, Live, reproducible_id
from scoring.rules import Rules

_STAYS: Final = frozenset({"account_id", "format", "record", "newest", "instant", "ledger"})
"""What an account keeps that gives all it has; ``newest`` finds the ids that it has seen."""

_EPOCH: Final = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
_encoder = msgspec.msgpack.Encoder()


class Gift(msgspec.Struct, array_like=True, frozen=True):
    """What one account gives to another."""

    id: str
    """The same however often it is computed."""
    cause: tuple[str, str, str]
    """Source, id and type of the causing event."""
    at: float
    """Event time of the causing event, Unix seconds."""
    whole: bool
    """Whether it is all that the account had, else one person's part."""
    state: bytes
    """An account state that holds what is given, and nothing else."""

    def read_state(self) -> AccountState:
        """Return what is given."""
        return decode_state(self.state)

    def holding(self, state: AccountState) -> Self:
        """Return the gift with *state* in it."""
        return msgspec.structs.replace(self, state=encode_state(state))


_decoder = msgspec.msgpack.Decoder(Gift)


def encode_gift(gift: Gift) -> bytes:
    """Return *gift* as msgpack."""
    return _encoder.encode(gift)


def decode_gift(data: bytes) -> Gift:
    """Return the gift in *data*."""
    return _decoder.decode(data)


def gift_in(state: AccountState, id_: str) -> Gift | None:
    """Return the gift of that id that *state* keeps, None when it keeps none."""
    data = None if state.ledger is None else state.ledger.gifts.get(id_)
    return None if data is None else decode_gift(data)


def merge_away(state: AccountState, live: Live, event: Event, time: float) -> None:
    """Give all that the account has to the one that it was merged into.

    Its record stays, the ids of events that it has seen too: what comes for it later is looked up
    among them and goes on to the other account. A merger into the account itself is none, and one
    older than a merger of others into it is history.
    """
    into, ledger = event["merged_into"], state.ledger or Ledger()
    late = ledger.merged_with_at is not None and time < ledger.merged_with_at
    if into == state.account_id or late:
        return
    shared = Ledger(taken=[*ledger.taken], erased={**ledger.erased})
    given = msgspec.structs.replace(state, record=None, stage=None, highs=[], ledger=shared)
    gift = _gift(state, given, event, time, subject=into)
    state.ledger = ledger
    ledger.merged_into = into
    _keep(state, live, gift, for_account=into)
    empty = AccountState(state.account_id)
    for field in AccountState.__struct_fields__:
        if field not in _STAYS:
            setattr(state, field, getattr(empty, field))
    live.day = live.closeness = None


def move_away(state: AccountState, live: Live, event: Event, time: float, rules: Rules) -> None:
    """Give what the person of *event* did to the account that they moved to.

    Only where the model says so, and where no newer word says that they are here.
    """
    to, contact = event["moved_to"], state.contacts[event["contact_id"]]
    newest = contact.removed and time >= (contact.recorded_at or time)
    nothing = not contact.minutes and contact.inbound + contact.outbound == 0.0
    if rules.model.contacts.on_move != "take_along" or not newest or nothing:
        return
    if to == state.account_id:
        return
    part = Contact(
        minutes=contact.minutes,
        inbound=contact.inbound,
        outbound=contact.outbound,
        seniority=contact.seniority,
        recorded_at=contact.recorded_at,
    )
    theirs = [touch for touch in state.touches if touch.contact_id == event["contact_id"]]
    given = AccountState(
        state.account_id,
        landmark=state.landmark,
        instant=state.instant,
        contacts={event["contact_id"]: part},
        touches=theirs,
    )
    gift = _gift(state, given, event, time, subject=f"{to}\x1f{event['contact_id']}")
    contact.minutes, contact.inbound, contact.outbound = {}, 0.0, 0.0
    state.touches = [touch for touch in state.touches if touch not in theirs]
    state.ledger = state.ledger or Ledger()
    _keep(state, live, gift, for_account=to)


def departure(contact_id: str, *, former: str, to: str, time: float) -> Errand:
    """Return what account *former* is told of a person who belongs to account *to* since *time*.

    The same however often, and by whomever, it is noticed.
    """
    subject = f"{contact_id}\x1f{to}"
    event = {
        "id": reproducible_id("moved", subject, account_id=former, cause=None, instant=time),
        "source": "surgeline",
        "type": "contact",
        "action": "removed",
        "time": _EPOCH + dt.timedelta(seconds=time),
        "account_id": former,
        "contact_id": contact_id,
        "moved_to": to,
    }
    return Errand(former, event=event)


def _gift(
    state: AccountState, given: AccountState, event: Event, time: float, *, subject: str
) -> Gift:
    id_ = reproducible_id("given", subject, account_id=state.account_id, cause=event, instant=time)
    cause = event["source"], event["id"], event["type"]
    return Gift(id_, cause, time, event["type"] == "account", encode_state(given))


def _keep(state: AccountState, live: Live, gift: Gift, *, for_account: str) -> None:
    assert state.ledger is not None
    state.ledger.gifts[gift.id] = encode_gift(gift)
    live.errands.append(Errand(for_account, gift=gift.id, giver=state.account_id))
