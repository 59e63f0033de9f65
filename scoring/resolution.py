"""Whose event it is: the ways from what an event carries to an account, in their order.

``account_id``; ``contact_id``, the contact's account; ``email``, a contact with exactly this
address, else (``email_domain``) an account with its registrable domain; ``anonymous_id``, a
visitor who was identified before; ``network_host``, the registrable domain of the reverse DNS
name; ``ip``, by the operator's database of networks. The first that leads somewhere decides.

Several accounts with one domain: the one with the most known contacts; of equals the one that
is no subsidiary of another of them; of those left the lowest id in code point order.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final, NamedTuple, TypeAlias

from scoring.directory import (
    AccountEntry,
    ContactEntry,
    Key,
    Kind,
    VisitorEntry,
    mail_of,
    plain_email,
)
from scoring.domains import Domains, Label, network_of_name
from scoring.domains import plain_name as plain
from scoring.events import Event
from scoring.resolution_rules import ResolutionModel

LEVELS: Final = 32
"""Levels of parents that are looked at; a company with more has a circle in its records."""


class Network(NamedTuple):
    """What a database says of an address."""

    domain: str | None = None
    name: str | None = None
    """Of the organisation."""
    label: Label | None = None


LookUpAddress: TypeAlias = Callable[[str], Network | None]
Look: TypeAlias = Callable[[Key], Any]
"""Returns what the directory holds under a key: an entry or None, ids, or a number.

Raises KeyError, with the key, for one that was not read yet.
"""


class Clues(NamedTuple):
    """What an event carries of whose it is."""

    account_id: str | None = None
    contact_id: str | None = None
    email: str | None = None
    mail_domain: str | None = None
    """Registrable; None for free mail."""
    anonymous_id: str | None = None
    host_domain: str | None = None
    """Registrable; None for networks of providers, hosting and VPN."""
    ip_domain: str | None = None
    ip_name: str | None = None
    label: Label = Label.UNKNOWN
    """Why, when nobody is found."""

    @property
    def keys(self) -> list[Key]:
        """Return what the directory is asked for first, and under what the event waits."""
        pairs = (
            (Kind.CONTACT, self.contact_id),
            (Kind.EMAIL, self.email),
            (Kind.DOMAIN, self.mail_domain),
            (Kind.VISITOR, self.anonymous_id),
            (Kind.DOMAIN, self.host_domain),
            (Kind.DOMAIN, self.ip_domain),
            (Kind.NAME, self.ip_name),
        )
        return list(dict.fromkeys((kind, name) for kind, name in pairs if name is not None))


class Found(NamedTuple):
    """The account that an event belongs to, and how that was found."""

    account_id: str
    by: str
    confidence: float
    contact_id: str | None = None
    """Who of them it was, where the way led over a person."""
    rolled_up_from: str | None = None
    """The subsidiary that was found."""


class NotFound(NamedTuple):
    """Nobody was found, and why."""

    why: Label


Resolution: TypeAlias = Found | NotFound


def clues_of(event: Event, domains: Domains, look_up: LookUpAddress | None = None) -> Clues:
    """Return the clues of *event*; *look_up* is the operator's database of networks."""
    labels: list[Label] = []
    email, mail_domain = event.get("email"), None
    if email is not None:
        email = plain_email(email)
        label, mail_domain = mail_of(email, domains)
        labels += [label] if label else []
    host, host_domain = event.get("network_host"), None
    if host is not None:
        label = domains.network(host)
        host_domain = None if label else domains.registrable(host)
        labels += [label] if label else []
    ip_domain = ip_name = None
    if look_up is not None and (ip := event.get("ip")) is not None:
        ip_domain, ip_name, label = _network(look_up(ip), domains)
        labels += [label] if label else []
    return Clues(
        event.get("account_id"),
        event.get("contact_id"),
        email,
        mail_domain,
        event.get("anonymous_id"),
        host_domain,
        ip_domain,
        ip_name,
        labels[-1] if labels else Label.UNKNOWN,
    )


def _network(
    found: Network | None, domains: Domains
) -> tuple[str | None, str | None, Label | None]:
    """Return domain, plain name and label of what a database says."""
    if found is None:
        return None, None, None
    label = found.label or (domains.network(found.domain) if found.domain else None)
    if label is None and found.name:
        label = network_of_name(found.name)
    if label is not None:
        return None, None, label
    domain = domains.registrable(found.domain) if found.domain else None
    return domain, (plain(found.name) or None) if found.name else None, None


def resolve(clues: Clues, look: Look, model: ResolutionModel) -> Resolution:
    """Return the account of an event with *clues*; raises KeyError as *look* does."""
    found = _found(clues, look, model)
    if found is None:
        return NotFound(clues.label)
    top = found.account_id if model.roll_up == "none" else topmost(found.account_id, look)
    if top == found.account_id:
        return found
    return found._replace(account_id=top, rolled_up_from=found.account_id)


def _found(clues: Clues, look: Look, model: ResolutionModel) -> Found | None:
    sure = model.confidence
    if clues.account_id is not None:
        return Found(clues.account_id, "account_id", 1.0, clues.contact_id)
    person = _by_person(clues.contact_id, clues.email, look, model)
    if person is not None:
        return person
    if (found := _by_domain(clues.mail_domain, look)) is not None:
        return Found(found, "email_domain", sure.email_domain, clues.contact_id)
    if clues.anonymous_id is not None:
        visitor = look((Kind.VISITOR, clues.anonymous_id))
        known = None if visitor is None else _by_visitor(visitor, clues, look, model)
        if known is not None:
            return known
    if (found := _by_domain(clues.host_domain, look)) is not None:
        return Found(found, "network_host", sure.network_host, clues.contact_id)
    found = _by_domain(clues.ip_domain, look)
    if found is None and clues.ip_name is not None:
        found = _chosen(look((Kind.NAME, clues.ip_name)), look, lambda e: e.name == clues.ip_name)
    return None if found is None else Found(found, "ip", sure.ip, clues.contact_id)


def _by_person(
    contact_id: str | None, email: str | None, look: Look, model: ResolutionModel
) -> Found | None:
    if contact_id is not None:
        contact: ContactEntry | None = look((Kind.CONTACT, contact_id))
        if contact is not None and not contact.removed:
            return Found(contact.account_id, "contact_id", model.confidence.contact_id, contact_id)
    if email is not None:
        exact = _with_address(look((Kind.EMAIL, email)), email, look)
        if exact is not None:
            found, entry = exact
            # Whose event it is said to be stays; the address tells of which account they are.
            return Found(entry.account_id, "email", model.confidence.email, contact_id or found)
    return None


def _with_address(ids: Iterable[str], email: str, look: Look) -> tuple[str, ContactEntry] | None:
    """Return the contact with exactly this address; of several the newest, then the lowest id."""
    best: tuple[str, ContactEntry] | None = None
    for contact_id in sorted(ids):
        entry: ContactEntry | None = look((Kind.CONTACT, contact_id))
        if entry is None or entry.removed or entry.email != email:
            continue
        if best is None or entry.recorded_at > best[1].recorded_at:
            best = contact_id, entry
    return best


def _by_visitor(
    visitor: VisitorEntry, clues: Clues, look: Look, model: ResolutionModel
) -> Found | None:
    """Return the account of an identified *visitor*, as sure as the weaker of the two steps."""
    sure = model.confidence
    known = _by_person(visitor.contact_id, visitor.email, look, model)
    if known is None and (found := _by_domain(visitor.mail_domain, look)) is not None:
        known = Found(found, "email_domain", sure.email_domain, visitor.contact_id)
    if known is None and visitor.account_id is not None:
        known = Found(visitor.account_id, "account_id", 1.0, visitor.contact_id)
    if known is None:
        return None
    return known._replace(
        by="anonymous_id",
        confidence=min(sure.anonymous_id, known.confidence),
        contact_id=clues.contact_id or known.contact_id,
    )


def _by_domain(domain: str | None, look: Look) -> str | None:
    if domain is None:
        return None
    return _chosen(look((Kind.DOMAIN, domain)), look, lambda entry: domain in entry.domains)


def _chosen(ids: Sequence[str], look: Look, fits: Callable[[AccountEntry], bool]) -> str | None:
    """Return the one of several accounts that the tie rule chooses, None of none."""
    there = []
    for account_id in sorted(ids):
        entry: AccountEntry | None = look((Kind.ACCOUNT, account_id))
        if entry is not None and not entry.removed and fits(entry):
            there.append(account_id)
    if len(there) < 2:
        return there[0] if there else None
    sizes = {each: look((Kind.SIZE, each)) for each in there}
    most = max(sizes.values())
    best = [each for each in there if sizes[each] == most]
    return min(best, key=lambda each: (bool(set(_parents(each, look)) & set(best)), each))


def _parents(account_id: str, look: Look) -> list[str]:
    """Return the parents of an account, nearest first; none when its records run in a circle."""
    line = [account_id]
    while len(line) <= LEVELS:
        entry: AccountEntry | None = look((Kind.ACCOUNT, line[-1]))
        parent = None if entry is None or entry.removed else entry.parent
        if parent is None or parent == line[-1]:
            return line[1:]
        above: AccountEntry | None = look((Kind.ACCOUNT, parent))
        if above is None or above.removed:
            return line[1:]
        if parent in line:
            return []
        line.append(parent)
    return []


def topmost(account_id: str, look: Look) -> str:
    """Return the account at the top of the parents of *account_id*, itself when it has none.

    A parent that is unknown or removed ends the line below it.
    """
    parents = _parents(account_id, look)
    return parents[-1] if parents else account_id
