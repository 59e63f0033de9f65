"""Who is in the simulated market: target accounts, buying committees, and how each will behave.

People and companies are invented (``simulated_market.toml``); every host name is under the
reserved ``.example``. The market depends on the seed and the number of accounts alone, so that a
simulated quarter and the live events after it are about the same accounts.
"""

import itertools
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from importlib import resources
from random import Random

import msgspec

SENIORITIES: Mapping[str, int] = {
    "c_level": 8,
    "vp": 14,
    "director": 22,
    "manager": 29,
    "other": 27,
}
"""Seniority to its frequency in a buying committee, in percent."""

MAX_ACCOUNTS = 10_000


class Story(StrEnum):
    """How an account behaves over the quarter."""

    EXPANDED = "expanded"
    RENEWED = "renewed"
    CUSTOMER = "customer"
    CHURNED = "churned"
    EVALUATING = "evaluating"
    LOST = "lost"
    SURGING = "surging"
    WARMING = "warming"
    COOLING = "cooling"
    STEADY = "steady"
    QUIET = "quiet"

    @property
    def is_customer(self) -> bool:
        """Tell whether the account buys, or has bought, in this story."""
        return self in _CUSTOMERS


_CUSTOMERS = frozenset({Story.EXPANDED, Story.RENEWED, Story.CUSTOMER, Story.CHURNED})

STORY_SHARES: Mapping[Story, float] = {
    Story.EXPANDED: 0.02,
    Story.RENEWED: 0.03,
    Story.CUSTOMER: 0.06,
    Story.CHURNED: 0.02,
    Story.EVALUATING: 0.08,
    Story.LOST: 0.035,
    Story.SURGING: 0.035,
    Story.WARMING: 0.06,
    Story.COOLING: 0.05,
    Story.STEADY: 0.12,
    Story.QUIET: 0.49,
}
"""Share of the accounts that live each story, from the hottest to the coldest."""

TIER_SHARES: Mapping[int, float] = {1: 40 / 300, 2: 110 / 300, 3: 150 / 300}


@dataclass(frozen=True, slots=True)
class Rep:
    """One of our salespeople, the owner of accounts."""

    rep_id: str
    name: str
    email: str


@dataclass(frozen=True, slots=True)
class Contact:
    """One person of a buying committee."""

    contact_id: str
    name: str
    email: str
    seniority: str
    role: str


@dataclass(frozen=True, slots=True)
class Account:
    """One target account; `appetite` scales its activity, `surge_days` is how long it surges."""

    number: int
    account_id: str
    name: str
    domains: tuple[str, ...]
    tier: int
    owner: Rep
    industry: str
    employees: int
    parent_account_id: str | None
    icp_fit: float
    utc_offset_hours: int
    story: Story
    appetite: float
    surge_days: int
    contacts: tuple[Contact, ...]


class Vocabulary(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The words of the market, as they stand in ``simulated_market.toml``."""

    site: str
    mail_domain: str
    stems: tuple[str, ...]
    first_names: tuple[str, ...]
    last_names: tuple[str, ...]
    roles: tuple[str, ...]
    reps: tuple[str, ...]
    user_agents: tuple[str, ...]
    referrers: tuple[str, ...]
    campaigns: tuple[str, ...]
    newsletters: tuple[str, ...]
    subjects: tuple[str, ...]
    topics: tuple[str, ...]
    industries: dict[str, tuple[str, ...]]
    pages: dict[str, dict[str, int]]
    programs: dict[str, float]


@dataclass(frozen=True, slots=True)
class Market:
    """All target accounts, our salespeople, and the words that their events are made of."""

    seed: int
    accounts: tuple[Account, ...]
    reps: tuple[Rep, ...]
    vocabulary: Vocabulary


def seeded(*parts: object) -> Random:
    """Return a generator that depends on *parts* alone, the same in every process.

    >>> seeded(7, "ads").random() == seeded(7, "ads").random()
    True
    """
    text = "/".join(map(str, parts))
    return Random(text)  # noqa: S311 - a simulation needs repeatable numbers, not secret ones


def apportioned(total: int, shares: Mapping[int, float] | Mapping[Story, float]) -> list[int]:
    """Split *total* by *shares*, in their order, by the largest remainder.

    >>> apportioned(7, {1: 0.5, 2: 0.25, 3: 0.25})
    [3, 2, 2]
    """
    whole = sum(shares.values())
    exact = [total * share / whole for share in shares.values()]
    counts = [int(quota) for quota in exact]
    by_remainder = sorted(range(len(exact)), key=lambda i: (counts[i] - exact[i], i))
    for index in by_remainder[: total - sum(counts)]:
        counts[index] += 1
    return counts


def build_market(seed: int, *, accounts: int = 300) -> Market:
    """Invent the market of *seed* with so many target *accounts* (1 to 10,000).

    Raises ValueError for a number of accounts outside those bounds.
    """
    if not 1 <= accounts <= MAX_ACCOUNTS:
        raise ValueError(f"a market has 1 to {MAX_ACCOUNTS} accounts, not {accounts}")
    words = load_vocabulary()
    rng = seeded(seed, accounts, "market")
    reps = tuple(_rep(name, words.mail_domain) for name in words.reps)
    built: list[Account] = []
    for seat in _seats(rng, words, accounts):
        parent = rng.choice(built).account_id if built and rng.random() < 0.04 else None
        draw = seeded(seed, accounts, "account", seat.number)
        built.append(_account(draw, seat, words, owner=rng.choice(reps), parent=parent))
    return Market(seed=seed, accounts=tuple(built), reps=reps, vocabulary=words)


def load_vocabulary() -> Vocabulary:
    """Read the words of the market from the file that is part of this package."""
    text = resources.files(__package__).joinpath("simulated_market.toml").read_bytes()
    return msgspec.toml.decode(text, type=Vocabulary)


@dataclass(frozen=True, slots=True)
class _Seat:
    """A place in the market: what is decided across all accounts, not account by account."""

    number: int
    name: str
    industry: str
    tier: int
    story: Story


def _seats(rng: Random, words: Vocabulary, accounts: int) -> list[_Seat]:
    per_tier = zip(TIER_SHARES, apportioned(accounts, TIER_SHARES), strict=True)
    tiers = [tier for tier, count in per_tier for _ in range(count)]
    stories, names = _cast(rng, tiers), _companies(rng, words, accounts)
    return [
        _Seat(number=number, name=name, industry=industry, tier=tier, story=story)
        for number, ((name, industry), tier, story) in enumerate(
            zip(names, tiers, stories, strict=True), start=1
        )
    ]


def _cast(rng: Random, tiers: Sequence[int]) -> list[Story]:
    """Give every account a story: exact counts, a better tier being hotter a little more often."""
    per_story = zip(STORY_SHARES, apportioned(len(tiers), STORY_SHARES), strict=True)
    stories = [story for story, count in per_story for _ in range(count)]
    warmth = [rng.random() + 0.08 * tier for tier in tiers]
    cast = [Story.QUIET] * len(tiers)
    hottest_first = sorted(range(len(tiers)), key=warmth.__getitem__)
    for story, index in zip(stories, hottest_first, strict=True):
        cast[index] = story
    return cast


def _companies(rng: Random, words: Vocabulary, accounts: int) -> list[tuple[str, str]]:
    """Return distinct company names with their industries; rounds beyond the first are numbered."""
    endings = [(end, industry) for industry, ends in words.industries.items() for end in ends]
    pairs = list(itertools.product(words.stems, endings))
    rng.shuffle(pairs)
    companies = []
    for index in range(accounts):
        again, position = divmod(index, len(pairs))
        stem, (ending, industry) = pairs[position]
        companies.append((f"{stem} {ending}" + (f" {again + 1}" if again else ""), industry))
    return companies


def _account(
    rng: Random, seat: _Seat, words: Vocabulary, *, owner: Rep, parent: str | None
) -> Account:
    slug = seat.name.lower().replace(" ", "-")
    hosts = [slug, f"{slug}-group"] if rng.random() < 0.12 else [slug]
    domains = tuple(f"{host}.example" for host in hosts)
    median_employees = {1: 6000, 2: 1200, 3: 250}
    return Account(
        number=seat.number,
        account_id=slug,
        name=seat.name,
        domains=domains,
        tier=seat.tier,
        owner=owner,
        industry=seat.industry,
        employees=max(12, int(rng.lognormvariate(0, 0.6) * median_employees[seat.tier])),
        parent_account_id=parent,
        icp_fit=round(min(1.0, max(0.05, rng.gauss(1.02 - 0.17 * seat.tier, 0.1))), 2),
        utc_offset_hours=rng.choice((-8, -6, -5, -5, 0, 0, 1, 1, 1, 2, 5, 8, 9)),
        story=seat.story,
        appetite=min(1.9, max(0.5, rng.lognormvariate(0, 0.4))),
        surge_days=rng.randint(5, 9),
        contacts=_committee(rng, words, number=seat.number, domain=domains[0], tier=seat.tier),
    )


def _committee(
    rng: Random, words: Vocabulary, *, number: int, domain: str, tier: int
) -> tuple[Contact, ...]:
    low, high = {1: (6, 12), 2: (4, 9), 3: (2, 7)}[tier]
    size = rng.randint(low, high)
    seniorities = rng.choices(list(SENIORITIES), weights=list(SENIORITIES.values()), k=size)
    roles = [words.roles[0], *rng.sample(words.roles[1:], size - 1)]
    committee: dict[str, Contact] = {}
    while len(committee) < size:
        position = len(committee)
        first, last = rng.choice(words.first_names), rng.choice(words.last_names)
        email = f"{_ascii(first)}.{_ascii(last)}@{domain}"
        if email in committee:
            continue
        committee[email] = Contact(
            contact_id=f"c{number:05d}-{position:02d}",
            name=f"{first} {last}",
            email=email,
            seniority=seniorities[position],
            role=roles[position],
        )
    return tuple(committee.values())


def _rep(name: str, domain: str) -> Rep:
    local = ".".join(_ascii(part) for part in name.split())
    return Rep(rep_id=f"rep-{local.replace('.', '-')}", name=name, email=f"{local}@{domain}")


def _ascii(name: str) -> str:
    """Return *name* as it would stand in a mail address: lower case, without accents or marks."""
    plain = unicodedata.normalize(
        "NFKD", name.lower().replace("\N{LATIN SMALL LETTER DOTLESS I}", "i")
    )
    return "".join(letter for letter in plain if letter.isascii() and letter.isalnum())
