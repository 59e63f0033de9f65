"""Columns of CSV exports: which field each one holds, and what its cells say.

Headings are compared without regard to case, blanks and marks: the own names of Surgeline's
fields, and those that HubSpot and Salesforce give theirs.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple

from stream.errors import SurgelineError

SOURCE: Final = "import"
_ACCOUNT_COLUMNS: Final[Mapping[str, tuple[str, ...]]] = {
    "account_id": ("account id", "record id", "company id", "hs object id", "id"),
    "name": ("account name", "company name", "company"),
    "domains": ("domain", "company domain name", "website", "website url", "additional domains"),
    "target": ("target account", "is target", "abm target"),
    "tier": ("account tier", "ideal customer profile tier", "hs ideal customer profile"),
    "owner_id": ("owner", "account owner", "company owner", "owner name", "hubspot owner id"),
    "owner_email": ("account owner email", "company owner email"),
    "industry": (),
    "employees": ("number of employees", "numberofemployees", "company size"),
    "parent_account_id": ("parent account id", "parent id", "parent company id"),
    "icp_fit": ("fit", "icp score"),
}
_CONTACT_COLUMNS: Final[Mapping[str, tuple[str, ...]]] = {
    "contact_id": ("contact id", "record id", "hs object id", "id", "vid"),
    "account_id": (
        *("account id", "company id", "associated company id", "primary associated company id"),
        "associated company ids",
    ),
    "email": ("email address", "e mail", "work email"),
    "name": ("full name", "contact name"),
    "first_name": ("first name", "firstname"),
    "last_name": ("last name", "lastname"),
    "seniority": ("level", "employment seniority", "hs seniority"),
    "role": ("title", "job title", "jobtitle"),
}
COLUMNS: Final = {"account": _ACCOUNT_COLUMNS, "contact": _CONTACT_COLUMNS}
_SENIORITIES: Final = {
    "c level": "c_level", "c suite": "c_level", "executive": "c_level", "owner": "c_level",
    "founder": "c_level", "partner": "c_level", "vp": "vp", "vice president": "vp",
    "director": "director", "head": "director", "manager": "manager", "senior": "manager",
}  # fmt: skip
_TITLES: Final = (
    ("c_level", re.compile(r"\b(chief|c[efitmo]o|founder|president|owner)\b", re.IGNORECASE)),
    ("director", re.compile(r"\b(director|head of)\b", re.IGNORECASE)),
    ("manager", re.compile(r"\b(manager|lead)\b", re.IGNORECASE)),
)
_VP: Final = re.compile(r"\b(vp|svp|evp|vice[- ]president)\b", re.IGNORECASE)
_TRUE: Final = frozenset({"true", "yes", "y", "1", "x", "t"})
_FALSE: Final = frozenset({"false", "no", "n", "0", "", "f"})
_TIERS: Final = re.compile(r"(?:tier[\s_-]*)?([123])", re.IGNORECASE)


class Layout(NamedTuple):
    """What the heading of a file says."""

    kind: str
    """``account`` or ``contact``."""
    fields: dict[int, str]
    """Column -> field."""
    unused: list[str]
    """Headings that lead to no field."""


def layout_of(
    heading: Sequence[str], *, kind: str | None = None, own: Mapping[str, str] | None = None
) -> Layout:
    """Return what the columns of *heading* mean; *own* maps headings to fields.

    Without *kind* contacts are recognised by their email address. Raises SurgelineError for a
    heading without what every row needs.
    """
    given = {_plain(column): field for column, field in (own or {}).items()}
    names = [_plain(each) for each in heading]
    kind = kind or _kind_of(names, given)
    known = {
        alias: field
        for field, names_ in COLUMNS[kind].items()
        for alias in (_plain(field), *names_)
    }
    unknown = sorted({*given.values()} - {*COLUMNS[kind]})
    if unknown:
        raise SurgelineError(
            f"{kind.title()}s have no field {unknown[0]}: they have {', '.join(COLUMNS[kind])}."
        )
    absent = sorted({*given} - {*names})
    if absent:
        raise SurgelineError(f"The file has no column {absent[0]!r}; it has {', '.join(heading)}.")
    fields: dict[int, str] = {}
    for at, name in enumerate(names):
        field = given.get(name) or (None if name in given else known.get(name))
        several = field == "domains"
        if field is not None and (several or field not in fields.values() or name in given):
            if name in given:
                fields = {k: v for k, v in fields.items() if v != field}
            fields[at] = field
    missing = {"account": ("account_id",), "contact": ("contact_id", "account_id")}[kind]
    for each in missing:
        if each not in fields.values():
            raise SurgelineError(
                f"No column says {each}: name it with --map 'COLUMN={each}'. "
                f"The file has {', '.join(heading)}."
            )
    unused = [heading[at] for at in range(len(heading)) if at not in fields]
    return Layout(kind, fields, unused)


def _kind_of(names: Sequence[str], given: Mapping[str, str]) -> str:
    contacts = {"contact_id", "email"}
    aliases = {"email", "contact id", *COLUMNS["contact"]["email"]}
    return "contact" if contacts & {*given.values()} or aliases & {*names} else "account"


def event_of(cells: Sequence[str], layout: Layout, *, target: bool, now: str) -> dict[str, Any]:
    """Return the record of one row; raises ValueError, one sentence, for a cell that is wrong."""
    found: dict[str, list[str]] = {}
    for at, field in layout.fields.items():
        if text := cells[at].strip():
            found.setdefault(field, []).append(text)
    event: dict[str, Any] = {"target": target} if layout.kind == "account" else {}
    for field, texts in found.items():
        event[field] = _value(field, texts)
    if layout.kind == "contact":
        _name_contact(event)
    kept = {name: value for name, value in event.items() if value is not None}
    own = kept.get(f"{layout.kind}_id")
    if own is None:
        raise ValueError(f"field {layout.kind}_id: is empty")
    common = {"source": SOURCE, "type": layout.kind, "action": "upserted", "time": now}
    return {"id": f"{layout.kind}-{own}-{now}"[:512]} | common | kept


def _value(field: str, texts: Sequence[str]) -> Any:
    text = texts[0]
    if field == "domains":
        every = [part for each in texts for part in re.split(r"[;,\s]+", each) if part]
        return list(dict.fromkeys(every))
    if field == "target":
        if text.lower() in _TRUE | _FALSE:
            return text.lower() in _TRUE
        raise ValueError(f"field target: {text!r} is neither yes nor no")
    if field == "tier":
        if (match := _TIERS.fullmatch(text)) is not None:
            return int(match[1])
        raise ValueError(f"field tier: {text!r} must be 1, 2 or 3")
    if field in ("employees", "icp_fit"):
        try:
            return float(text.replace(",", "").replace(" ", ""))
        except ValueError:
            raise ValueError(f"field {field}: {text!r} is no number") from None
    if field == "account_id":
        return text.split(";")[0].strip()  # HubSpot lists all companies of a person, first the main
    if field == "email" and not re.fullmatch(r"[^@\s]+@[^@\s]+", text):
        raise ValueError(f"field email: {text!r} is no address")
    return text


def _name_contact(event: dict[str, Any]) -> None:
    parts = [event.pop(each, None) for each in ("first_name", "last_name")]
    if "name" not in event and any(parts):
        event["name"] = " ".join(part for part in parts if part)
    level = event.pop("seniority", None)
    if level is not None:
        word = _plain(level)
        event["seniority"] = _SENIORITIES.get(word, "other")
    elif "role" in event:
        event["seniority"] = seniority_of(event["role"])


def seniority_of(title: str) -> str:
    """Return the seniority that a job *title* tells of.

    >>> [seniority_of(each) for each in ("CFO", "Vice President Sales", "Head of IT", "Nurse")]
    ['c_level', 'vp', 'director', 'other']
    """
    if _VP.search(title):
        return "vp"
    return next((name for name, words in _TITLES if words.search(title)), "other")


def _plain(heading: str) -> str:
    spaced = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", heading.strip())
    return re.sub(r"[\W_]+", " ", spaced).strip().lower()
