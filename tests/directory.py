"""Accounts, contacts and visitors as the directory is told of them, and a directory in memory."""

from collections.abc import Callable, Iterable
from typing import Any

from scoring.directory import ContactEntry, Key, Kind, Told, listed, told_by
from scoring.domains import domains_of
from scoring.model import default_model
from tests.builders import decoded

Json = dict[str, Any]

DOMAINS = domains_of(default_model().resolution.domains)
T0 = "2026-01-05T00:00:00Z"


def account(account_id: str, *domains: str, at: str = T0, **fields: Any) -> Json:
    return {
        "id": f"{account_id}-{at}",
        "source": "crm",
        "type": "account",
        "action": "upserted",
        "time": at,
        "account_id": account_id,
        "target": True,
        "domains": list(domains),
    } | fields


def contact(contact_id: str, account_id: str, at: str = T0, **fields: Any) -> Json:
    return {
        "id": f"{contact_id}-{at}",
        "source": "crm",
        "type": "contact",
        "action": "upserted",
        "time": at,
        "account_id": account_id,
        "contact_id": contact_id,
    } | fields


def identify(anonymous_id: str, at: str = T0, **fields: Any) -> Json:
    return {
        "id": f"{anonymous_id}-{at}",
        "source": "web",
        "type": "identify",
        "time": at,
        "anonymous_id": anonymous_id,
    } | fields


def gone(record: Json, at: str) -> Json:
    kept = ("source", "type", "account_id", "contact_id")
    removed = {name: record[name] for name in kept if name in record}
    return removed | {"id": f"{record['id']}-gone", "action": "removed", "time": at}


def told(events: Iterable[Json]) -> list[Told]:
    """Return what *events* tell the directory."""
    found = (told_by(*decoded(each), DOMAINS) for each in events)
    return [each for each in found if each is not None]


def newest_word(words: list[Any]) -> Any:
    """Return the newest of *words* on one thing, of equally new ones the last."""
    records = [each for each in words if not (isinstance(each, ContactEntry) and each.removed)]
    if not isinstance(words[0], ContactEntry):
        return max(reversed(words), key=lambda each: each.recorded_at)
    if not records:
        return max(words, key=lambda each: (each.recorded_at, each.account_id))
    where = max(reversed(records), key=lambda each: (each.recorded_at, each.account_id))
    here = [each for each in words if each.account_id == where.account_id]
    return max(reversed(here), key=lambda each: each.recorded_at)


def known(events: Iterable[Json]) -> Callable[[Key], Any]:
    """Return what looks in a naive directory that was told *events*."""
    words: dict[Key, list[Any]] = {}
    for key, entry in told(events):
        words.setdefault(key, []).append(entry)
    entries = {key: newest_word(found) for key, found in words.items()}
    lines = {each for key, entry in entries.items() for each in listed(key, entry)}

    def look(key: Key) -> Any:
        members = sorted(each.member for each in lines if each.key == key)
        if key[0] is Kind.SIZE:
            return len(members)
        return entries.get(key) if key[0] in (Kind.ACCOUNT, Kind.CONTACT, Kind.VISITOR) else members

    return look
