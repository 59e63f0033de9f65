"""The directory: which accounts, people, addresses and domains there are, as small values.

Records of accounts and contacts and identifications of visitors become entries, the newest
word on each by event time. What an entry can be found by (addresses, domains, names) follows
from it, so an index may be stale: who reads it asks the entry again.
"""

from collections.abc import Collection, Iterable
from enum import StrEnum
from typing import Final, NamedTuple, TypeAlias

import msgspec

from scoring.domains import Domains, Label, plain_name
from scoring.events import Event

INDEXED: Final = 64
"""Domains of one account that are indexed."""
REMOVALS_KEPT: Final = 8
"""Removals of one person that wait for an older record, the newest."""


class Kind(StrEnum):
    """What the directory can be asked for; the first three have entries, the others lead to them."""

    # Hashed a lot: see scoring.fold.Outcome.
    __hash__ = str.__hash__

    ACCOUNT = "account"
    CONTACT = "contact"
    VISITOR = "visitor"
    EMAIL = "email"
    """Address -> ids of contacts."""
    DOMAIN = "domain"
    """Registrable domain -> ids of accounts."""
    NAME = "name"
    """Plain name -> ids of accounts."""
    SIZE = "size"
    """Account -> how many contacts of it are known."""


class AccountEntry(msgspec.Struct, array_like=True, frozen=True):
    """The newest word of the CRM on an account."""

    recorded_at: float
    removed: bool = False
    parent: str | None = None
    name: str | None = None
    """As plain_name leaves it."""
    domains: tuple[str, ...] = ()
    """Registrable ones that belong to a company."""


class ContactEntry(msgspec.Struct, array_like=True, frozen=True):
    """The newest word of the CRM on a person: of the account whose record of them is the newest."""

    recorded_at: float
    account_id: str
    email: str | None = None
    removed: bool = False
    since: float | None = None
    """Of who was removed: when the record was made that was removed, None when none was read."""
    left: tuple[tuple[str, float], ...] = ()
    """Removals that are newer than that record, also at other accounts: an older record of those
    accounts may come yet."""


class VisitorEntry(msgspec.Struct, array_like=True, frozen=True):
    """The newest word on who a visitor is."""

    recorded_at: float
    contact_id: str | None = None
    email: str | None = None
    mail_domain: str | None = None
    """Registrable, of the address; None for free mail."""
    account_id: str | None = None
    """As the event said that identified them; asked when person and address lead nowhere."""


Entry: TypeAlias = AccountEntry | ContactEntry | VisitorEntry

ENTRIES: Final[dict[Kind, type[Entry]]] = {
    Kind.ACCOUNT: AccountEntry,
    Kind.CONTACT: ContactEntry,
    Kind.VISITOR: VisitorEntry,
}

Key: TypeAlias = tuple[Kind, str]


class Told(NamedTuple):
    """What one event tells the directory."""

    key: Key
    entry: Entry


class Listed(NamedTuple):
    """One line of an index: *member* is found under *key*."""

    key: Key
    member: str


def plain_email(address: str) -> str:
    """Return *address* as it is compared: mail servers of our day take no notice of case.

    >>> plain_email(" Ann@ACME.com ")
    'ann@acme.com'
    """
    return address.strip().lower()


def mail_of(email: str, domains: Domains) -> tuple[Label | None, str | None]:
    """Return why *email* says nothing about an employer, or the registrable domain if it does."""
    host = email.rpartition("@")[2]
    label = domains.mail(host)
    return label, None if label else domains.registrable(host)


def told_by(event: Event, time: float, domains: Domains) -> Told | None:
    """Return what *event* of event time *time* tells the directory, None when nothing.

    An event that was given its account by the directory tells it nothing: its original did. An
    erasure is no word on a person.
    """
    if "resolution" in event or event.get("erase"):
        return None
    type_ = event["type"]
    if type_ == "account":
        return Told((Kind.ACCOUNT, event["account_id"]), _account(event, time, domains))
    if type_ == "contact":
        email = event.get("email")
        entry = ContactEntry(
            time,
            event["account_id"],
            None if email is None else plain_email(email),
            event["action"] == "removed",
        )
        return Told((Kind.CONTACT, event["contact_id"]), entry)
    anonymous_id = event.get("anonymous_id")
    if anonymous_id is None or not ("contact_id" in event or "email" in event):
        return None
    email = event.get("email")
    email = None if email is None else plain_email(email)
    visitor = VisitorEntry(
        time,
        event.get("contact_id"),
        email,
        None if email is None else mail_of(email, domains)[1],
        event.get("account_id"),
    )
    return Told((Kind.VISITOR, anonymous_id), visitor)


def _account(event: Event, time: float, domains: Domains) -> AccountEntry:
    if event["action"] == "removed":
        return AccountEntry(time, removed=True)
    found = (domains.company(each) for each in event.get("domains", ())[:INDEXED])
    name = event.get("name")
    return AccountEntry(
        time,
        parent=event.get("parent_account_id"),
        name=(plain_name(name) or None) if name else None,
        domains=tuple(dict.fromkeys(each for each in found if each is not None)),
    )


def joined(old: Entry | None, new: Entry) -> Entry:
    """Return what is known once *new* was told, *old* itself where that changes nothing.

    The newest word counts, of words as new the later in its topic. On a person it is that of the
    account with the newest record of them (of records as new, that of the greater id): a removal
    at another account says nothing about where they are. In whichever order the records of
    different accounts come, the same is known in the end.
    """
    if isinstance(new, ContactEntry) and isinstance(old, ContactEntry | None):
        found = _removed(old, new) if new.removed else _recorded(old, new)
        return old if old is not None and found == old else found
    return new if old is None or new.recorded_at >= old.recorded_at else old


def after(held: Entry | None, told: Iterable[Entry]) -> Entry | None:
    """Return what is known where *held* was and *told* come in this order."""
    for entry in told:
        held = joined(held, entry)
    return held


def _since(entry: ContactEntry | None) -> float | None:
    if entry is None:
        return None
    return entry.since if entry.removed else entry.recorded_at


def _recorded(old: ContactEntry | None, new: ContactEntry) -> ContactEntry:
    since, at = _since(old), (new.recorded_at, new.account_id)
    if old is None:
        return new
    if since is not None and (since, old.account_id) > at:
        return old
    left = {who: t for who, t in old.left if (t, who) > at}
    return _standing(new.account_id, new.recorded_at, new.email, left)


def _removed(old: ContactEntry | None, new: ContactEntry) -> ContactEntry:
    since, at = _since(old), (new.recorded_at, new.account_id)
    if old is not None and since is not None and at < (since, old.account_id):
        return old
    left = {} if old is None else dict(old.left)
    left[new.account_id] = max(new.recorded_at, left.get(new.account_id, new.recorded_at))
    if old is None or since is None:
        return _standing(max(left, key=lambda who: (left[who], who)), None, None, left)
    return _standing(old.account_id, since, old.email, left)


def _standing(
    account_id: str, since: float | None, email: str | None, left: dict[str, float]
) -> ContactEntry:
    newest = sorted(left.items(), key=lambda each: (each[1], each[0]))[-REMOVALS_KEPT:]
    known, gone_at = tuple(sorted(newest)), left.get(account_id)
    if gone_at is not None:
        return ContactEntry(gone_at, account_id, removed=True, since=since, left=known)
    assert since is not None
    return ContactEntry(since, account_id, email, left=known)


def listed(key: Key, entry: Entry | None) -> frozenset[Listed]:
    """Return where the *entry* of *key* is to be found."""
    if isinstance(entry, AccountEntry) and not entry.removed:
        found = {Listed((Kind.DOMAIN, domain), key[1]) for domain in entry.domains}
        if entry.name is not None:
            found.add(Listed((Kind.NAME, entry.name), key[1]))
        return frozenset(found)
    if isinstance(entry, ContactEntry) and not entry.removed:
        found = {Listed((Kind.SIZE, entry.account_id), key[1])}
        if entry.email is not None:
            found.add(Listed((Kind.EMAIL, entry.email), key[1]))
        return frozenset(found)
    return frozenset()


def ways_opened(told: Collection[Told]) -> frozenset[Key]:
    """Return the keys under which waiting events may be found an account for by *told*."""
    opened: set[Key] = set()
    for key, entry in told:
        opened.add(key)
        opened.update(each.key for each in listed(key, entry) if each.key[0] is not Kind.SIZE)
    return frozenset(opened)
