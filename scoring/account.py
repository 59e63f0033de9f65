"""The account state: all that is remembered of one account, and nothing that can be derived.

Structs encode as msgpack arrays, so field order is the storage format: change it only
together with a new ``FORMAT`` and a step in ``_UPGRADES`` that reads the old one. Times are
Unix seconds of event time, days are whole UTC days since 1970-01-01. None of them refers back to
what holds it, so the collector of cycles need not look at them (``gc=False``).
"""

from collections.abc import Callable
from typing import Any, Final, TypeAlias

import msgspec

from scoring.errors import UnknownState
from scoring.model import SECONDS_PER_DAY

FORMAT: Final = 4
"""Version of the stored state; states of earlier versions are read, and written in this one."""

CHANNELS: Final = (
    "ad",
    "page_visit",
    "chat",
    "email",
    "meeting",
    "intent",
    "account",
    "contact",
    "opportunity",
    "survey",
    "identify",
)
"""Event types by the small number that stands for each in stored states."""

CHANNEL_CODES: Final = {name: code for code, name in enumerate(CHANNELS)}

SENIORITIES: Final = ("c_level", "vp", "director", "manager", "other")
"""Seniorities by the small number that stands for each in stored states."""

SENIORITY_CODES: Final = {name: code for code, name in enumerate(SENIORITIES)}

DaySeries: TypeAlias = list[Any]
"""``[first day, value, value, ...]``, one value a day without holes: a byte a quiet day."""


class Contact(msgspec.Struct, array_like=True, gc=False):
    """One person of the account."""

    minutes: dict[int, float] = {}
    """Engagement mass at the account's landmark, per channel code, before seniority."""
    inbound: float = 0.0
    """Mass of what they did, with the half-life of relationships."""
    outbound: float = 0.0
    """Mass of what we did towards them."""
    seniority: int | None = None
    """Code of that of the newest upserted record; None when it said none, or there is no record."""
    recorded_at: float | None = None
    """Event time of the newest upserted record."""
    removed_at: float | None = None
    """Event time of the newest removal."""
    removed: bool = False
    """Whether the newest record of all is a removal."""


class AccountRecord(msgspec.Struct, array_like=True, gc=False):
    """The newest word of the CRM on the account."""

    recorded_at: float
    target: bool = False
    tier: int | None = None
    owner_id: str | None = None
    details: dict[str, Any] = {}
    """Name, domains, owner_email, industry, employees, parent_account_id, icp_fit."""


class Opportunity(msgspec.Struct, array_like=True, gc=False):
    """Where one opportunity stands."""

    state: str
    """``open``, ``won``, ``lost`` or ``churned``."""
    kind: str
    since: float | None = None
    """Event time of the newest deciding event; None while only ``updated`` was seen."""


class Touch(msgspec.Struct, array_like=True, gc=False):
    """One event that added much engagement, kept to explain the score."""

    mass: float
    time: float
    channel: int
    contact_id: str | None
    label: str


class Erased(msgspec.Struct, array_like=True):
    """A person who was erased: what they did until then counts, and nobody is told who it was."""

    at: float
    """Event time of the erasure; what they do later is somebody new's."""
    seniority: int | None = None
    """Code of theirs when they were erased, for what they did and is still to arrive."""


class Ledger(msgspec.Struct, array_like=True):
    """What an account gave away, took over and had to forget; most accounts have none."""

    merged_into: str | None = None
    """The account that it became part of: its events go there."""
    merged_with_at: float | None = None
    """Newest time of a merger into this account: an earlier one of its own is history."""
    gifts: dict[str, bytes] = {}
    """Transfer id -> what it gave to another account; kept, since that may ask again."""
    taken: list[str] = []
    """Ids of the transfers that it took, each once."""
    erased: dict[str, Erased] = {}
    """Digest of a contact id -> the erasure."""


class AccountState(msgspec.Struct, array_like=True, gc=False):
    """Everything stored of one account; the fold changes it in place."""

    account_id: str
    format: int = FORMAT
    record: AccountRecord | None = None
    landmark: float | None = None
    """Unix seconds at which all masses are expressed."""
    contacts: dict[str, Contact] = {}
    unknown: dict[int, float] = {}
    """Mass per channel code of events without a contact."""
    frozen: dict[int, float] = {}
    """Mass per channel code of forgotten contacts, times their seniority weight."""
    minutes: float = 0.0
    """Weighted, decayed minutes at ``instant``: what the engaged stage is decided by."""
    instant: float | None = None
    """The later of the newest event time of any type and the last due instant."""
    newest: dict[int, float] = {}
    """Newest event time per event type code."""
    caps: dict[int, DaySeries] = {}
    """Capped points per channel code and day, back to the horizon."""
    counts: dict[str, DaySeries] = {}
    """Visits and signals per intent topic and day, back to the start of the baseline."""
    first_counted_day: int | None = None
    surging: list[str] = []
    engaged: bool = False
    stage: str | None = None
    opportunities: dict[str, Opportunity] = {}
    churned_at: float | None = None
    """Event time of the newest churn of any opportunity."""
    events: int = 0
    first_event_at: float | None = None
    last_event_at: float | None = None
    touches: list[Touch] = []
    alerted: dict[str, float] = {}
    """Rule's letter and what its cooldown runs for -> time of its last alert."""
    highs: list[Any] = []
    """``[day, score, day, score, ...]``: the relationship at the UTC midnights that begin these
    days, of those that were not reached again; days rise, scores fall."""
    noise: dict[str, int] = {}
    """Reason -> events that were labelled as noise: within ``events``, and scored as nothing."""
    emails: dict[str, list[float]] = {}
    """Person and campaign -> when the newest email was sent and the last clicks in it, the
    longest untouched first; empty unless the model looks for mail security gateways."""
    ledger: Ledger | None = None


def merged_into(state: AccountState) -> str | None:
    """Return the account that *state*'s became part of, None for one that stands by itself."""
    return None if state.ledger is None else state.ledger.merged_into


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(AccountState)
_array_decoder = msgspec.msgpack.Decoder(list[Any])

_FORMAT_AT: Final = AccountState.__struct_fields__.index("format")
_CONTACTS_AT: Final = AccountState.__struct_fields__.index("contacts")
_SENIORITY_AT: Final = Contact.__struct_fields__.index("seniority")


def encode_state(state: AccountState) -> bytes:
    """Return *state* as msgpack."""
    return _encoder.encode(state)


def decode_state(data: bytes) -> AccountState:
    """Return the state stored in *data*, brought to this version's format.

    Raises UnknownState for a format of a later version, or bytes that are no state at all.
    """
    try:
        state = _decoder.decode(data)
    except msgspec.DecodeError:
        return _upgraded(data)
    return state if state.format == FORMAT else _upgraded(data)


def _upgraded(data: bytes) -> AccountState:
    try:
        array = _array_decoder.decode(data)
        format_ = array[_FORMAT_AT]
        while format_ in _UPGRADES:
            _UPGRADES[format_](array)
            format_ = array[_FORMAT_AT] = format_ + 1
        if format_ == FORMAT:
            return msgspec.convert(array, AccountState)
    except (msgspec.MsgspecError, LookupError, TypeError, AttributeError) as error:
        raise UnknownState(f"a stored account state cannot be read: {error}.") from error
    raise UnknownState(
        f"account {array[0]} is stored in format {format_}; "
        f"this version reads formats {min(_UPGRADES)} to {FORMAT}."
    )


def _from_format_1(array: list[Any]) -> None:
    """Seniorities were written out."""
    for contact in array[_CONTACTS_AT].values():
        name = contact[_SENIORITY_AT]
        contact[_SENIORITY_AT] = None if name is None else SENIORITY_CODES[name]


def _from_format_2(_: list[Any]) -> None:
    """Cooldowns and highs were not kept: they begin empty."""


def _from_format_3(_: list[Any]) -> None:
    """Nobody moved, merged or was erased, and nothing was labelled or kept beside the state."""


_UPGRADES: Final[dict[Any, Callable[[list[Any]], None]]] = {
    1: _from_format_1,
    2: _from_format_2,
    3: _from_format_3,
}
"""Format -> what makes the array of a state of that format one of the next."""


def utc_day(time: float) -> int:
    """Return the UTC day of *time* (Unix seconds) as days since 1970-01-01.

    >>> utc_day(86_400.0), utc_day(-0.5)
    (1, -1)
    """
    return int(time // SECONDS_PER_DAY)


def add_on_day(series: DaySeries, day: int, amount: float, *, keep_days: int) -> None:
    """Add *amount* to *day* of *series*, keeping about the newest *keep_days* days.

    Days before the series' reach grow it to the front; *keep_days* bounds it, so the
    caller leaves out days that no rule looks at any more.

    >>> series = [10, 1, 2]
    >>> add_on_day(series, 13, 5, keep_days=91); series
    [10, 1, 2, 0, 5]
    """
    offset = day - series[0]
    if offset < 0:
        if len(series) - 1 - offset > keep_days:
            return
        series[1:1] = [0] * -offset
        series[0] = day
        offset = 0
    length = len(series) - 1
    if offset >= length:
        if offset >= length + keep_days:  # everything remembered is out of reach
            series[:] = [day, amount]
            return
        series.extend([0] * (offset - length + 1))
        surplus = offset + 1 - keep_days
        if surplus > 0:
            del series[1 : surplus + 1]
            series[0] += surplus
            offset -= surplus
    series[offset + 1] += amount


def on_day(series: DaySeries | None, day: int) -> float:
    """Return the value of *day*, 0 outside the series.

    >>> on_day([10, 1, 2], 11), on_day([10, 1, 2], 12), on_day(None, 3)
    (2, 0, 0)
    """
    if series is None:
        return 0
    index = day - series[0] + 1
    return series[index] if 1 <= index < len(series) else 0


def over_days(series: DaySeries, first: int, last: int) -> int:
    """Return the sum over the days *first* to *last*, both included.

    >>> over_days([10, 1, 2, 4], 11, 99)
    6
    """
    begin = series[0]
    start = first - begin + 1 if first > begin else 1
    stop = last - begin + 2 if last >= begin else 1
    return sum(series[start:stop])
