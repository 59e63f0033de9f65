"""Facts: what is remembered of every event for the KPIs, as one small record each.

Two logs per account: ``events`` (engagement, surveys, identifications, surges) and ``records``
(the CRM's accounts, contacts and opportunities). Texts are 64-bit hashes; those that reports
print are named in a dictionary. Facts are noted in the order of folding, which for one type is
that of its topic, and read by event time: so nothing depends on how topics or micro-batches
interleave.
"""

from collections.abc import Callable, Iterable, Mapping
from struct import Struct
from typing import Any, Final, NamedTuple, TypeAlias

from xxhash import xxh3_64_intdigest

from scoring.account import SENIORITY_CODES
from scoring.dedupe import event_hash
from scoring.events import Event
from scoring.kpis.codes import (
    CHANNEL_OF,
    HAS_AMOUNT,
    HAS_EMAIL,
    HAS_ROLE,
    INBOUND,
    KINDS,
    LATE,
    LISTED,
    PAGE_KINDS,
    PAGE_SHIFT,
    SENIORITY_SHIFT,
    SIGNATURE,
    TIER_SHIFT,
    TOUCH,
    Code,
)
from scoring.live import Live
from scoring.pages import Page

FACT: Final = Struct("<dffQQQBB")
"""Event time (Unix seconds), minutes before and after the daily cap, contact, subject, other, code
and flags. Subject: page, campaign, conversation, topic or opportunity. Other: anonymous visitor, rep
or amount counted."""

_WITH_NUMBER: Final = Struct("<dffQQdBB")
"""The same with a double for other: icp_fit of an account, amount of an opportunity."""

SPEND: Final = Struct("<QdQQ")
"""Hash of (source, id), amount, currency, program; its event time stands beside it."""

NAME_BYTES: Final = 256
HASHES_REMEMBERED: Final = 200_000
_LARGEST: Final = 3e38
"""Of a number in four bytes."""


_NO_TOUCH: Final = frozenset(
    {
        (Code.AD_IMPRESSION, None),
        (Code.CHAT_MESSAGE, "outbound"),
        (Code.EMAIL_SENT, "outbound"),
        (Code.EMAIL_REPLIED, "outbound"),
    }
    | {
        (code, direction)
        for direction in (None, "inbound", "outbound")
        for code in (
            Code.EMAIL_BOUNCED,
            Code.EMAIL_UNSUBSCRIBED,
            Code.MEETING_CANCELLED,
            Code.MEETING_NO_SHOW,
        )
    }
)
_SUBJECTS: Final = {
    "ad": "campaign_id", "chat": "conversation_id", "email": "campaign_id", "intent": "topic",
}  # fmt: skip
_OTHERS: Final = {
    "ad": "anonymous_id", "page_visit": "anonymous_id", "chat": "anonymous_id",
    "email": "rep_id", "meeting": "rep_id",
}  # fmt: skip
_OPPORTUNITY_CODES: Final = {
    "opened": Code.OPENED, "updated": Code.UPDATED, "won": Code.WON, "lost": Code.LOST,
    "churned": Code.CHURNED,
}  # fmt: skip

_PLACEMENTS: Final = {"web": 0, "email_signature": SIGNATURE}
_PAGES: Final = {kind: place << PAGE_SHIFT for place, kind in enumerate(PAGE_KINDS)}
_ATTENDED: Final = int(Code.ATTENDED)
_pack: Final = FACT.pack

Names: TypeAlias = dict[int, str]
"""Hash -> text."""


class _Shape(NamedTuple):
    """How events of one type, action and direction are packed."""

    code: int
    """A plain number: members of an enumeration are slow to pack."""
    flags: int
    subject: str
    """Field, empty for none."""
    named: bool
    """Whether the subject is printed by reports."""
    other: str
    other_named: bool
    special: bool
    """Whether the event says more than these fields do."""


_SPECIAL: Final = frozenset({"ad", "page_visit", "intent"})


def _shapes() -> dict[tuple[str, str | None, str | None], _Shape]:
    found = {}
    for code, type_ in CHANNEL_OF.items():
        name = Code(code).name.lower()
        action = name.removeprefix(f"{type_}_") if name != type_ else None
        special = type_ in _SPECIAL or code == Code.MEETING_HELD
        for direction in ("inbound", "outbound") if type_ in ("chat", "email") else (None,):
            flags = 0 if (code, direction) in _NO_TOUCH else TOUCH
            flags |= INBOUND if direction == "inbound" else 0
            subject, other = _SUBJECTS.get(type_, ""), _OTHERS.get(type_, "")
            found[type_, action, direction] = _Shape(
                int(code), flags, subject, type_ != "chat", other, other == "rep_id", special
            )
    return found


class Packed(NamedTuple):
    """What a flush appends to the two logs of an account."""

    events: bytes
    records: bytes


def text_hash(text: str) -> int:
    """Return 64 bits of *text* that are the same in every process, never 0.

    >>> text_hash("acme") == text_hash("acme"), text_hash("a") == text_hash("b")
    (True, False)
    """
    return xxh3_64_intdigest(text.encode("utf-8", "surrogatepass")) or 1


class FactPacker:
    """Packs the facts that the fold has noted; remembers hashes, and nothing else."""

    def __init__(self, read_page: Callable[[str], Page]) -> None:
        self._read_page = read_page
        self._hashes: dict[str | None, int] = {None: 0}
        self._shapes = _shapes()

    def take(self, live: Live, names: Names) -> Packed:
        """Return the facts in *live*, emptying it, and add the texts that reports print to *names*.

        Surges that *live* announces are facts too; they stay there.
        """
        self.pack(live, names)
        (events, records), live.packed = live.packed, ([], [])
        for each in live.announced:
            if each.rule.startswith("surge"):
                code = Code.SURGE_STARTED if each.rule == "surge_started" else Code.SURGE_ENDED
                topic = self._named(each.subject, names)
                events.append(FACT.pack(each.at, 0.0, 0.0, 0, topic, 0, code, 0))
        return Packed(b"".join(events), b"".join(records))

    def pack(self, live: Live, names: Names) -> None:
        """Pack the facts in *live* where they wait to be taken, so that their events can go.

        Adds the texts that reports print to *names*.
        """
        # Every event comes through here: what most need is written out, since calls cost more.
        hashes, shapes = self._hashes, self._shapes
        events, records = live.packed
        for event, time, points, left in live.facts:
            if points is None:
                self._aside_or_record(event, time, events, records, names)
                continue
            get = event.get
            code, flags, field, named, other_field, other_named, special = shapes[
                event["type"], get("action"), get("direction")
            ]
            before, added, subject, other, contact = points, left, 0, 0, 0
            if left < 0.0:
                before, added, flags = 0.0, 0.0, flags | LATE
            if field and (text := get(field)) is not None:
                subject = hashes.get(text) or self._hash(text)
                if named:
                    names[subject] = text
            if other_field and (text := get(other_field)) is not None:
                other = hashes.get(text) or self._hash(text)
                if other_named:
                    names[other] = text
            if special:
                subject, other, flags = self._special(
                    events, names, event, time, (subject, other, flags)
                )
            if (text := get("contact_id")) is not None:
                contact = hashes.get(text) or self._hash(text)
            events.append(_pack(time, before, added, contact, subject, other, code, flags))
        live.facts.clear()

    def spend(self, event: Event, names: Names) -> bytes:
        """Return what is stored of a spend *event*, and add its texts to *names*."""
        currency, program = event["currency"], event["program"]
        return SPEND.pack(
            event_hash(event),
            event["amount"],
            self._named(currency, names),
            self._named(program, names),
        )

    def _hash(self, text: str | None) -> int:
        found = self._hashes.get(text)
        if found is None:
            assert text is not None
            if len(self._hashes) >= HASHES_REMEMBERED:
                self._hashes = {None: 0}
            found = self._hashes[text] = text_hash(text)
        return found

    def _named(self, text: str, names: Names) -> int:
        found = self._hash(text)
        names[found] = text
        return found

    def _special(
        self,
        events: list[bytes],
        names: Names,
        event: Event,
        time: float,
        known: tuple[int, int, int],
    ) -> tuple[int, int, int]:
        """Return subject, other and flags by what only events of this type say."""
        subject, other, flags = known
        type_ = event["type"]
        if type_ == "ad":
            return subject, other, flags | _PLACEMENTS[event["placement"]]
        if type_ == "page_visit":
            page = self._read_page(event["url"])
            return self._named(page.path, names), other, flags | _PAGES[page.kind]
        if type_ == "intent":
            return subject, max(1, round(event.get("strength", 1.0))), flags
        attendees = event.get("attendee_ids")
        if not attendees:
            return known
        late = flags & LATE
        events += [
            _pack(time, 0.0, 0.0, self._hash(each), 0, 0, _ATTENDED, late) for each in attendees
        ]
        return subject, other, flags | LISTED

    def _aside_or_record(
        self, event: Event, time: float, events: list[bytes], records: list[bytes], names: Names
    ) -> None:
        type_ = event["type"]
        if type_ in ("survey", "identify"):
            events.append(self._aside(event, time))
        elif type_ != "spend":  # belongs to no account, see `spend`
            records.append(self._record(event, time, names))

    def _aside(self, event: Event, time: float) -> bytes:
        contact = self._hash(event.get("contact_id"))
        if event["type"] == "survey":
            return FACT.pack(time, event["score"], 0.0, contact, 0, 0, Code.SURVEY, 0)
        visitor = self._hash(event["anonymous_id"])
        return FACT.pack(time, 0.0, 0.0, contact, 0, visitor, Code.IDENTIFY, 0)

    def _record(self, event: Event, time: float, names: Names) -> bytes:
        if event["type"] == "account":
            flags = int(event.get("target", False)) | event.get("tier", 0) << TIER_SHIFT
            fit = event.get("icp_fit", -1.0)
            return _WITH_NUMBER.pack(time, 0.0, 0.0, 0, 0, fit, Code.ACCOUNT, flags)
        if event["type"] == "contact":
            contact = self._hash(event["contact_id"])
            code = Code.CONTACT if event["action"] == "upserted" else Code.CONTACT_REMOVED
            flags = HAS_EMAIL * ("email" in event) | HAS_ROLE * ("role" in event)
            seniority = SENIORITY_CODES.get(event.get("seniority", ""), -1)
            flags |= (seniority + 1) << SENIORITY_SHIFT
            return FACT.pack(time, 0.0, 0.0, contact, 0, 0, code, flags)
        return self._opportunity(event, time, names)

    def _opportunity(self, event: Event, time: float, names: Names) -> bytes:
        currency = self._named(event["currency"], names) if "currency" in event else 0
        flags = KINDS.index(event["kind"]) | HAS_AMOUNT * ("amount" in event)
        return _WITH_NUMBER.pack(
            time,
            min(event.get("term_years", 0.0), _LARGEST),
            0.0,
            currency,
            self._hash(event["opportunity_id"]),
            event.get("amount", 0.0),
            _OPPORTUNITY_CODES[event["action"]],
            flags,
        )


def name_bytes(names: Iterable[tuple[int, str]]) -> list[tuple[bytes, bytes]]:
    """Return (hash, text) of *names* as they are stored; long texts are cut."""
    return [
        (number.to_bytes(8, "little"), text.encode("utf-8", "surrogatepass")[:NAME_BYTES])
        for number, text in names
    ]


def names_of(stored: Mapping[bytes, bytes]) -> Names:
    """Return the names in *stored*, as `name_bytes` wrote them."""
    return {
        int.from_bytes(number, "little"): text.decode("utf-8", "replace")
        for number, text in stored.items()
    }


def unpacked(log: bytes) -> list[tuple[Any, ...]]:
    """Return the records of *log* as tuples in the order of FACT."""
    return list(FACT.iter_unpack(log[: len(log) - len(log) % FACT.size]))
