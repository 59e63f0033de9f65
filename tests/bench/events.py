"""Events for benchmarks: five types, accounts chosen by Zipf's law, the same for a seed."""

import datetime as dt
import itertools
import json
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

ACCOUNTS = 2_000
ZIPF_EXPONENT = 1.1
CONTACTS_PER_ACCOUNT = 5
SPAN = dt.timedelta(days=7)
SOURCE = "bench"

MIX = {"page_visit": 50, "email": 18, "ad": 17, "chat": 8, "intent": 7}
"""Shares of the five types in percent: visits are most of what a website and a CRM see."""

_PAGES = (
    "",
    "pricing",
    "pricing/enterprise",
    "product/overview",
    "product/reporting",
    "solutions/retail",
    "solutions/banking",
    "docs/quickstart",
    "docs/api/reference",
    "security/compliance",
    "integrations/crm",
    "compare/alternatives",
    "customers/case-studies",
    "careers/open-roles",
    "demo",
)
_BLOG_POSTS = 200
_EMAILS = (
    ("outbound", "sent"),
    ("outbound", "opened"),
    ("outbound", "clicked"),
    ("inbound", "replied"),
)
_TOPICS = ("pricing", "security", "integrations", "data-platforms", "churn", "competitors")

Fields = dict[str, Any]


@dataclass(frozen=True)
class Market:
    """The accounts of a benchmark, and chance."""

    accounts: tuple[str, ...]
    chance: random.Random

    @classmethod
    def of(cls, accounts: int = ACCOUNTS, *, seed: int = 1) -> "Market":
        """Return *accounts* accounts in an order that says nothing about their weight."""
        names = [f"account-{number:05d}" for number in range(accounts)]
        chance = random.Random(seed)
        chance.shuffle(names)
        return cls(tuple(names), chance)

    def chosen(self, count: int) -> list[str]:
        """Return *count* accounts, each chosen by Zipf's law: rank to the minus 1.1."""
        weights = [rank**-ZIPF_EXPONENT for rank in range(1, len(self.accounts) + 1)]
        return self.chance.choices(
            self.accounts, cum_weights=list(itertools.accumulate(weights)), k=count
        )

    def contact(self, account: str) -> str:
        """Return one of the contacts of *account*."""
        return f"{account}-contact-{self.chance.randrange(CONTACTS_PER_ACCOUNT)}"


def account_lines(market: Market, at: dt.datetime) -> Iterator[bytes]:
    """Yield one account record for each account: all are targets."""
    for number, account in enumerate(market.accounts):
        yield line(
            {
                "id": f"account-{number}",
                "source": SOURCE,
                "type": "account",
                "time": at.isoformat(),
                "account_id": account,
                "action": "upserted",
                "name": f"Account {number}",
                "domains": [f"{account}.example"],
                "target": True,
                "tier": 1 + number % 3,
                "owner_id": f"rep-{number % 20}",
            }
        )


def event_lines(market: Market, count: int, *, until: dt.datetime) -> Iterator[bytes]:
    """Yield *count* events in the order of their times, spread evenly over SPAN to *until*."""
    types = market.chance.choices(list(MIX), weights=list(MIX.values()), k=count)
    start, step = until - SPAN, SPAN / max(count, 1)
    chosen = zip(market.chosen(count), types, strict=True)
    for number, (account, type_) in enumerate(chosen):
        yield event_line(
            market, type_, id_=f"event-{number}", account=account, at=start + number * step
        )


def event_line(market: Market, type_: str, *, id_: str, account: str, at: dt.datetime) -> bytes:
    """Return one event of *type_* as a line of JSON."""
    common: Fields = {
        "id": id_,
        "source": SOURCE,
        "type": type_,
        "time": at.isoformat(),
        "account_id": account,
    }
    if type_ not in ("ad", "intent"):
        common["contact_id"] = market.contact(account)
    return line(common | _FIELDS[type_](market.chance))


def line(fields: Fields) -> bytes:
    return json.dumps(fields, separators=(",", ":")).encode()


def _visit(chance: random.Random) -> Fields:
    page = chance.choice(_PAGES) or f"blog/post-{chance.randrange(_BLOG_POSTS)}"
    return {
        "url": f"https://www.example.com/{page}",
        "duration_seconds": chance.randrange(5, 400),
        "session_id": f"session-{chance.randrange(100_000)}",
        "referrer": "https://search.example/",
    }


def _email(chance: random.Random) -> Fields:
    direction, action = chance.choice(_EMAILS)
    return {"direction": direction, "action": action, "rep_id": f"rep-{chance.randrange(20)}"}


def _ad(chance: random.Random) -> Fields:
    return {
        "action": "click" if chance.random() < 0.03 else "impression",
        "campaign_id": f"campaign-{chance.randrange(30)}",
        "placement": "web",
        "cost": 0.02,
    }


def _chat(chance: random.Random) -> Fields:
    return {
        "action": "message",
        "conversation_id": f"conversation-{chance.randrange(10_000)}",
        "direction": chance.choice(("inbound", "outbound")),
    }


def _intent(chance: random.Random) -> Fields:
    return {"topic": chance.choice(_TOPICS), "strength": chance.randrange(1, 4)}


_FIELDS: dict[str, Callable[[random.Random], Fields]] = {
    "page_visit": _visit,
    "email": _email,
    "ad": _ad,
    "chat": _chat,
    "intent": _intent,
}
