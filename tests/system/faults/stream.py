"""A stream as producers really send it: every topic, repeats, late and unordered events, bad records.

The same for a seed, in every process. Nothing of the project is imported.
"""

import datetime as dt
import itertools
import json
import random
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from enum import Enum, auto
from pathlib import Path
from typing import Final, NamedTuple

from tests.system.harness import Json

START: Final = dt.datetime(2024, 1, 1, tzinfo=dt.UTC)
SPAN: Final = dt.timedelta(weeks=13)
AS_OF: Final = "2024-04-02T00:00:00Z"
"""After every event."""

TOPICS: Final = {
    "ad": "ad-impressions",
    "page_visit": "page-visits",
    "chat": "chats",
    "email": "emails",
    "meeting": "meetings",
    "intent": "intent-signals",
    "account": "accounts",
    "contact": "contacts",
    "opportunity": "opportunities",
    "spend": "spend",
    "survey": "surveys",
    "identify": "identities",
}
ENGAGEMENT: Final = ("ad", "page_visit", "chat", "email", "meeting", "intent")

EVENTS_PER_ACCOUNT: Final = 50
CONTACTS: Final = 3
ODD_IDS: Final = ("Ünï & {1}:|>", "a" * 200, " ", "sl:{0}:fence")
"""Account ids that would break keys, hash tags or counters that are put together carelessly."""

LATE: Final = 0.08
"""Share of events that arrive after later ones."""
REPEATED: Final = 0.03
TOO_LATE: Final = 0.01
BAD: Final = 0.002
UNRESOLVED: Final = 0.002

_MIX: Final = {
    "page_visit": 44,
    "email": 18,
    "ad": 14,
    "chat": 8,
    "intent": 6,
    "meeting": 3,
    "opportunity": 2,
    "contact": 2,
    "account": 1,
    "survey": 1,
    "identify": 0.6,
    "spend": 0.4,
}
_PAGES: Final = (
    "", "pricing", "pricing/enterprise", "product/overview", "docs/api", "security", "compare",
    "customers/case-studies", "careers", "demo", "blog/one", "blog/two", "integrations/crm",
)  # fmt: skip
_INTENT: Final = ("crm", "security", "churn", "pricing")
_SENIORITY: Final = ("c_level", "vp", "director", "manager", "other")


class Kind(Enum):
    """What must become of a record."""

    EVENT = auto()
    BAD = auto()
    """It breaks the contract: one dead letter."""
    UNRESOLVED = auto()
    """No account can be found for it."""


class Record(NamedTuple):
    """One record as it is produced; its key decides the partition, by Kafka's default."""

    topic: str
    """Without a prefix."""
    key: bytes | None
    value: bytes | None
    kind: Kind = Kind.EVENT


@dataclass(frozen=True)
class Stream:
    """Records in the order in which they are produced; *first* come before all others."""

    first: Sequence[Record]
    records: Sequence[Record]
    as_of: str = AS_OF
    _written: dict[Path, list[Path]] = field(default_factory=dict)

    def count(self, kind: Kind) -> int:
        """Return how many records are of *kind*."""
        return sum(each.kind is kind for each in (*self.first, *self.records))

    def write(self, directory: Path) -> list[Path]:
        """Write one file per topic, each in the order of its topic; return them.

        Between topics the order may be any: it changes no score.
        """
        lines: dict[str, list[bytes]] = {topic: [] for topic in TOPICS.values()}
        for each in itertools.chain(self.first, self.records):
            if each.kind is not Kind.BAD:
                lines[each.topic].append((each.value or b"") + b"\n")
        files = []
        for topic, told in lines.items():
            files.append(directory / f"{topic}.jsonl")
            files[-1].write_bytes(b"".join(told))
        return files


def mixed_stream(events: int, *, seed: int) -> Stream:
    """Return a stream of *events* records of all types over thirteen weeks."""
    rng = random.Random(seed)
    market = _Market(rng, accounts=max(20, events // EVENTS_PER_ACCOUNT))
    introduced = market.introduced()
    extra = [round(events * share) for share in (REPEATED, TOO_LATE, BAD, UNRESOLVED)]
    told = market.happenings(events - len(introduced) - sum(extra))
    repeated, too_late, bad, unresolved = extra
    placed = [(place + _delay(rng), record_of(each)) for place, each in enumerate(told)]
    again = rng.sample(placed, repeated)
    placed += [(place + rng.expovariate(1 / 30), each) for place, each in again]
    placed += [(len(told) + n, record_of(e)) for n, e in enumerate(_too_late(told, rng, too_late))]
    placed += [(rng.uniform(0, len(told)), _bad(rng, number)) for number in range(bad)]
    placed += [(rng.uniform(0, len(told)), _unresolved(number)) for number in range(unresolved)]
    placed.sort(key=lambda each: each[0])
    return Stream([], [*map(record_of, introduced), *(each for _, each in placed)])


def one_topic_stream(events: int, *, seed: int) -> Stream:
    """Return accounts, to be scored first, and then *events* page visits in order of time.

    One in thirty is repeated at once. Its moves do not depend on where commits fall, nor on how
    topics interleave.
    """
    rng = random.Random(seed)
    market = _Market(rng, accounts=max(20, events // EVENTS_PER_ACCOUNT))
    told: list[Json] = []
    for each in market.happenings(events, mix={"page_visit": 1.0}):
        told += [each, each] if rng.random() < REPEATED else [each]
    first = [each for each in market.introduced() if each["type"] == "account"]
    return Stream([record_of(e) for e in first], [record_of(e) for e in told[:events]])


def record_of(event: Json) -> Record:
    """Return *event* in its topic, keyed by its account, as producers send it."""
    account = event.get("account_id")
    key = None if account is None else account.encode()
    return Record(TOPICS[event["type"]], key, json.dumps(event).encode())


def _delay(rng: random.Random) -> float:
    return rng.expovariate(1 / 100) if rng.random() < LATE else 0.0


def _too_late(told: list[Json], rng: random.Random, count: int) -> Iterable[Json]:
    """Return events of the first third, to come last: some are repeats, some are new."""
    early = [each for each in told[: len(told) // 3] if each["type"] in ENGAGEMENT]
    for number, each in enumerate(rng.sample(early, min(count, len(early)))):
        yield each | {"id": f"late-{each['id']}"} if number % 2 else each


def _unresolved(number: int) -> Record:
    visit = {
        "id": f"nobody-{number}",
        "source": "faults",
        "type": "page_visit",
        "time": (START + dt.timedelta(hours=number % 2_000)).isoformat(),
        "url": "https://x.example/",
    }
    return Record(TOPICS["page_visit"], None, json.dumps(visit).encode(), Kind.UNRESOLVED)


_BAD_VALUES: Final = (
    b"",
    b"{",
    b"\xff\xfe",
    b"[1, 2]",
    b'{"id": "x", "source": "faults", "type": "page_visit"}',
    b'{"id": "x", "source": "faults", "type": "dance", "time": "2024-01-01T00:00:00Z"}',
    b'{"id": "x", "source": "faults", "type": "chat", "time": "yesterday", "action": "ended"}',
)


def _bad(rng: random.Random, number: int) -> Record:
    topic = rng.choice(list(TOPICS.values()))
    key = f"bad-{number}".encode()
    return Record(topic, key, _BAD_VALUES[number % len(_BAD_VALUES)], Kind.BAD)


class _Market:
    """Accounts, their people, and what happens to them."""

    def __init__(self, rng: random.Random, *, accounts: int) -> None:
        self._rng = rng
        self._accounts = [*ODD_IDS, *(f"account-{n:05}" for n in range(accounts - len(ODD_IDS)))]
        rng.shuffle(self._accounts)
        weights = [rank**-1.1 for rank in range(1, accounts + 1)]
        self._weights = list(itertools.accumulate(weights))
        self._told = 0
        self._happenings: dict[str, Callable[[str], Json]] = {
            "ad": self._ad,
            "page_visit": self._visit,
            "chat": self._chat,
            "email": self._email,
            "meeting": self._meeting,
            "intent": self._intent,
            "account": self._account,
            "contact": self._contact,
            "opportunity": self._opportunity,
            "survey": lambda _: {"kind": "nps", "score": rng.randint(0, 10)},
            "identify": lambda _: {"anonymous_id": f"visitor-{self._told}", "contact_id": "ann"},
        }

    def introduced(self) -> list[Json]:
        """Return a record of each account and of its contacts, at the start."""
        found = []
        for account in self._accounts:
            found.append(self._event("account", account, START, self._record(account)))
            for number in range(CONTACTS):
                fields = self._person(f"{account[:20]}-{number}")
                found.append(self._event("contact", account, START, fields))
        return found

    def happenings(self, count: int, mix: dict[str, float] | None = None) -> list[Json]:
        """Return *count* events in the order of their times."""
        mix = mix or dict(_MIX)
        types = self._rng.choices(list(mix), weights=list(mix.values()), k=count)
        accounts = self._rng.choices(self._accounts, cum_weights=self._weights, k=count)
        seconds = sorted(self._rng.uniform(1, SPAN.total_seconds()) for _ in range(count))
        return [
            self._happening(type_, account, START + dt.timedelta(seconds=round(at, 3)))
            for type_, account, at in zip(types, accounts, seconds, strict=True)
        ]

    def _happening(self, type_: str, account: str, at: dt.datetime) -> Json:
        if type_ != "spend":
            return self._event(type_, account, at, self._happenings[type_](account))
        spent = {"amount": self._rng.uniform(1, 9_000), "currency": "EUR", "program": "events"}
        return self._event(type_, None, at, spent)

    def _event(self, type_: str, account: str | None, at: dt.datetime, fields: Json) -> Json:
        self._told += 1
        common = {"id": f"e{self._told}", "source": "faults", "type": type_, "time": at.isoformat()}
        return common | ({} if account is None else {"account_id": account}) | fields

    def _person_of(self, account: str) -> str:
        return f"{account[:20]}-{self._rng.randrange(CONTACTS)}"

    def _ad(self, _: str) -> Json:
        action = self._rng.choice(("impression", "impression", "click"))
        return {"action": action, "campaign_id": "spring", "placement": "web", "cost": 0.02}

    def _visit(self, account: str) -> Json:
        seconds = round(self._rng.uniform(0, 400), 1)
        page = f"https://x.example/{self._rng.choice(_PAGES)}"
        known = self._rng.random() < 0.5
        contact = {"contact_id": self._person_of(account)} if known else {}
        return {"url": page, "duration_seconds": seconds} | contact

    def _chat(self, account: str) -> Json:
        return {
            "action": self._rng.choice(("started", "message", "message", "ended")),
            "conversation_id": f"c{self._told}",
            "direction": self._rng.choice(("inbound", "outbound")),
            "duration_seconds": round(self._rng.uniform(0, 900), 1),
            "contact_id": self._person_of(account),
        }

    def _email(self, account: str) -> Json:
        actions = ("sent", "sent", "opened", "clicked", "replied", "bounced", "unsubscribed")
        return {
            "action": self._rng.choice(actions),
            "direction": self._rng.choice(("inbound", "outbound")),
            "contact_id": self._person_of(account),
            "rep_id": f"rep-{self._rng.randrange(9)}",
        }

    def _meeting(self, account: str) -> Json:
        return {
            "action": self._rng.choice(("booked", "held", "held", "cancelled", "no_show")),
            "meeting_id": f"m{self._told}",
            "attendee_ids": [self._person_of(account)],
            "duration_minutes": self._rng.choice((15, 30, 60)),
        }

    def _intent(self, _: str) -> Json:
        strength = round(self._rng.uniform(0, 5), 2)
        return {"topic": self._rng.choice(_INTENT), "strength": strength}

    def _account(self, account: str) -> Json:
        if self._rng.random() < 0.1:
            return {"action": "removed"}
        return self._record(account)

    def _record(self, account: str) -> Json:
        tier = self._rng.choice((1, 2, 3, None))
        return {
            "action": "upserted",
            "name": f"The {account[:20]} company",
            "target": self._rng.random() < 0.9,
            "owner_id": f"rep-{self._rng.randrange(9)}",
        } | ({} if tier is None else {"tier": tier})

    def _contact(self, account: str) -> Json:
        contact = self._person_of(account)
        if self._rng.random() < 0.2:
            return {"action": "removed", "contact_id": contact}
        return self._person(contact)

    def _person(self, contact: str) -> Json:
        seniority = self._rng.choice(_SENIORITY)
        return {"action": "upserted", "contact_id": contact, "seniority": seniority}

    def _opportunity(self, _: str) -> Json:
        return {
            "action": self._rng.choice(("opened", "updated", "won", "lost", "churned")),
            "opportunity_id": self._rng.choice(("o1", "o2")),
            "kind": self._rng.choice(("new", "renewal", "expansion")),
            "amount": round(self._rng.uniform(0, 99_000), 2),
        }
