"""What the CRM, the calendar and finance know of the simulated market."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from random import Random

from stream.simulated_behaviour import (
    DAY_MS,
    HOUR_MS,
    Draft,
    Quarter,
    office_time,
    someone,
    weekday,
)
from stream.simulated_market import SENIORITIES, Account, Contact, Market, Story

_DEAL_SIZE = {1: (60_000, 180_000), 2: (24_000, 80_000), 3: (8_000, 30_000)}
_MEETING_EVERY_DAYS = {
    Story.EVALUATING: 17,
    Story.LOST: 20,
    Story.CUSTOMER: 34,
    Story.RENEWED: 32,
    Story.EXPANDED: 26,
    Story.CHURNED: 36,
}
_MEETING_OUTCOMES = ("held",) * 16 + ("cancelled",) * 3 + ("no_show",)


@dataclass(frozen=True, slots=True)
class Deal:
    """One opportunity: its steps are (Unix milliseconds, action), in order."""

    opportunity_id: str
    kind: str
    amount: int
    term_years: int
    steps: tuple[tuple[int, str], ...]


# A deal of a story: kind, and (action, earliest, latest). Times are parts of the quarter when 0
# or more, and days before its start when negative.
_Plan = tuple[str, tuple[tuple[str, float, float], ...]]

_LONG_AGO: _Plan = ("new", (("opened", -420, -340), ("updated", -338, -320), ("won", -318, -250)))
_PLANS: dict[Story, tuple[_Plan, ...]] = {
    Story.EVALUATING: (("new", (("opened", 0.3, 0.8), ("updated", 0.82, 0.97))),),
    Story.LOST: (("new", (("opened", 0.05, 0.3), ("updated", 0.32, 0.55), ("lost", 0.6, 0.75))),),
    Story.CUSTOMER: (("new", (("opened", -50, -3), ("updated", 0.01, 0.1), ("won", 0.12, 0.7))),),
    Story.RENEWED: (_LONG_AGO, ("renewal", (("opened", 0.05, 0.3), ("won", 0.35, 0.85)))),
    Story.EXPANDED: (
        _LONG_AGO,
        ("expansion", (("opened", 0.05, 0.35), ("updated", 0.36, 0.44), ("won", 0.45, 0.85))),
    ),
    Story.CHURNED: (
        (_LONG_AGO[0], (*_LONG_AGO[1], ("churned", 0.56, 0.7))),
        ("renewal", (("opened", 0.05, 0.2), ("lost", 0.5, 0.55))),
    ),
}


def deals(rng: Random, account: Account, quarter: Quarter) -> tuple[Deal, ...]:
    """Draw the opportunities of the account's story, some of them older than the quarter."""
    plans = _PLANS.get(account.story, ())
    if account.story is Story.CUSTOMER and rng.random() < 0.5:
        plans = (_LONG_AGO,)
    low, high = _DEAL_SIZE[account.tier]
    size = rng.uniform(low, high)
    part_of_first = {"new": 1.0, "renewal": 1.06, "expansion": 0.45}
    return tuple(
        Deal(
            opportunity_id=f"opp-{account.number:05d}-{serial}",
            kind=kind,
            amount=int(size * part_of_first[kind]) // 100 * 100,
            term_years=rng.choice((1, 1, 1, 2, 3)),
            steps=tuple(_steps(rng, account, quarter, plan)),
        )
        for serial, (kind, plan) in enumerate(plans, start=1)
    )


def _steps(
    rng: Random, account: Account, quarter: Quarter, plan: Sequence[tuple[str, float, float]]
) -> Iterator[tuple[int, str]]:
    first_day = quarter.start_ms // DAY_MS
    moments = []
    for _, earliest, latest in plan:
        moment = rng.uniform(earliest, latest)
        day = first_day + int(moment if earliest < 0 else moment * quarter.length_days)
        moments.append(office_time(rng, account, _working_day(day)))
    return zip(sorted(moments), (action for action, _, _ in plan), strict=True)


def customer_since_ms(account_deals: Sequence[Deal]) -> float:
    """Return when the first of the deals was won, infinity when none was."""
    won = (at for deal in account_deals for at, action in deal.steps if action == "won")
    return min(won, default=float("inf"))


def opportunities(rng: Random, account: Account, account_deals: Sequence[Deal]) -> Iterator[Draft]:
    """Yield every step of the deals; the amount is negotiated a little on the way."""
    for deal in account_deals:
        amount = deal.amount
        for at, action in deal.steps:
            if action == "updated":
                amount = int(amount * rng.uniform(0.85, 1.1)) // 100 * 100
            yield (
                at,
                "opportunity",
                {
                    "account_id": account.account_id,
                    "action": action,
                    "opportunity_id": deal.opportunity_id,
                    "kind": deal.kind,
                    "amount": amount,
                    "currency": "USD",
                    "term_years": deal.term_years,
                },
            )


def records(
    rng: Random, account: Account, quarter: Quarter, account_deals: Sequence[Deal]
) -> Iterator[Draft]:
    """Yield the account record, before everything else, then its contacts and what changes."""
    known_since = min([quarter.start_ms, *(at for deal in account_deals for at, _ in deal.steps)])
    created_at = known_since - DAY_MS - 500 * account.number
    yield created_at, "account", _account_record(account)
    days = quarter.days
    for position, contact in enumerate(account.contacts, start=1):
        late = position > 2 and rng.random() < 0.06
        day = days[int(rng.triangular(0, 0.7, 0.2) * len(days))]
        joined_at = office_time(rng, account, day) if late else created_at + 10 * position
        yield joined_at, "contact", _contact_record(account, contact)
        yield from _contact_changes(rng, account, contact, quarter)
    if rng.random() < 0.06:
        grown = replace(account, employees=int(account.employees * rng.uniform(1.02, 1.2)))
        yield office_time(rng, account, rng.choice(days)), "account", _account_record(grown)


def _contact_changes(
    rng: Random, account: Account, contact: Contact, quarter: Quarter
) -> Iterator[Draft]:
    """Yield a promotion or a departure, late in the quarter, for a few contacts."""
    chance = rng.random()
    day = quarter.days[int(rng.uniform(0.75, 0.98) * len(quarter.days))]
    if chance < 0.025:
        ranks = list(SENIORITIES)
        higher = ranks[max(0, ranks.index(contact.seniority) - 1)]
        promoted = replace(contact, seniority=higher)
        yield office_time(rng, account, day), "contact", _contact_record(account, promoted)
    elif chance < (0.09 if account.story.is_customer else 0.035):
        fields = {"account_id": account.account_id, "contact_id": contact.contact_id}
        yield office_time(rng, account, day), "contact", {**fields, "action": "removed"}


def _account_record(account: Account) -> dict[str, object]:
    record: dict[str, object] = {
        "account_id": account.account_id,
        "action": "upserted",
        "name": account.name,
        "domains": list(account.domains),
        "target": True,
        "tier": account.tier,
        "owner_id": account.owner.rep_id,
        "owner_email": account.owner.email,
        "industry": account.industry,
        "employees": account.employees,
        "icp_fit": account.icp_fit,
    }
    if account.parent_account_id:
        record["parent_account_id"] = account.parent_account_id
    return record


def _contact_record(account: Account, contact: Contact) -> dict[str, object]:
    return {
        "account_id": account.account_id,
        "contact_id": contact.contact_id,
        "action": "upserted",
        "email": contact.email,
        "name": contact.name,
        "seniority": contact.seniority,
        "role": contact.role,
    }


def meetings(
    rng: Random, account: Account, quarter: Quarter, account_deals: Sequence[Deal]
) -> Iterator[Draft]:
    """Yield the meetings of the account: regular ones around deals, an introduction elsewhere."""
    for serial, day in enumerate(_meeting_days(rng, account, quarter, account_deals), start=1):
        held_at = office_time(rng, account, _working_day(day))
        if held_at < quarter.start_ms + DAY_MS:
            continue
        fields = meeting_fields(rng, account, f"meet-{account.number:05d}-{serial}")
        notice_ms = min(rng.randint(2 * DAY_MS, 7 * DAY_MS), held_at - quarter.start_ms - HOUR_MS)
        yield held_at - notice_ms, "meeting", {**fields, "action": "booked"}
        outcome = rng.choice(_MEETING_OUTCOMES)
        at = held_at - rng.randint(HOUR_MS, notice_ms) if outcome == "cancelled" else held_at
        yield at, "meeting", {**fields, "action": outcome}


def _working_day(day: int) -> int:
    """Return *day*, or the Friday before it when it is at a weekend."""
    return day - max(0, weekday(day) - 4)


def meeting_fields(rng: Random, account: Account, meeting_id: str) -> dict[str, object]:
    """Return what a calendar entry with one to three people of the committee says."""
    drawn = [account.contacts[someone(rng, account)].contact_id for _ in range(rng.randint(1, 3))]
    attendees = list(dict.fromkeys(drawn))
    return {
        "account_id": account.account_id,
        "contact_id": attendees[0],
        "meeting_id": meeting_id,
        "duration_minutes": rng.choice((20, 25, 30, 30, 45)),
        "attendee_ids": attendees,
        "rep_id": account.owner.rep_id,
    }


def _meeting_days(
    rng: Random, account: Account, quarter: Quarter, account_deals: Sequence[Deal]
) -> Iterator[int]:
    days = quarter.days
    every = _MEETING_EVERY_DAYS.get(account.story)
    if every is None:
        likely = {Story.QUIET: 0.0, Story.STEADY: 0.2 if account.tier == 1 else 0.1}
        if rng.random() < likely.get(account.story, 0.25):
            latest = 0.35 if account.story is Story.COOLING else 0.9
            yield days[int(rng.uniform(0.15, latest) * len(days))]
        return
    steps = [step for deal in account_deals for step in deal.steps]
    opened = min(at for at, action in steps if action == "opened") // DAY_MS
    ended = [at // DAY_MS for at, action in steps if action in {"lost", "churned"}]
    stop = max(ended, default=days.stop)
    day = max(days.start + rng.uniform(1, every), opened - 6)
    while day < stop:
        yield int(day)
        day += every * rng.uniform(0.75, 1.25)


def surveys(rng: Random, account: Account, quarter: Quarter, since_ms: float) -> Iterator[Draft]:
    """Yield the answers of a customer's people to the question whether they would recommend us."""
    if since_ms >= quarter.end_ms:
        return
    mean = {Story.CHURNED: 4.5, Story.EXPANDED: 9.2}.get(account.story, 8.1)
    for contact in rng.sample(account.contacts, min(len(account.contacts), rng.randint(1, 4))):
        day = quarter.days[int(rng.uniform(0.25, 0.95) * len(quarter.days))]
        at = office_time(rng, account, day)
        if at > since_ms:
            yield (
                at,
                "survey",
                {
                    "account_id": account.account_id,
                    "contact_id": contact.contact_id,
                    "kind": "nps",
                    "score": min(10, max(0, round(rng.gauss(mean, 1.6)))),
                },
            )


def spend(rng: Random, market: Market, quarter: Quarter) -> Iterator[Draft]:
    """Yield what every program cost, each Monday, in proportion to the number of accounts."""
    scale = len(market.accounts) / 300
    for day in quarter.days:
        if weekday(day):
            continue
        for minute, (program, weekly) in enumerate(market.vocabulary.programs.items()):
            yield (
                day * DAY_MS + 6 * HOUR_MS + 60_000 * minute,
                "spend",
                {
                    "amount": round(weekly * scale * rng.uniform(0.85, 1.15), 2),
                    "currency": "USD",
                    "program": program,
                    "channel": "ads" if minute < 3 else "other",
                },
            )
