"""What reaches the accounts of the simulated market, and what comes back: ads, mail, intent."""

from collections.abc import Iterator
from random import Random

from stream.simulated_behaviour import (
    DAY_MS,
    HOUR_MS,
    TEMPERS,
    Draft,
    Quarter,
    is_leaving,
    is_surging,
    office_time,
    someone,
    weekday,
    weekday_weight,
)
from stream.simulated_market import Account, Contact, Story, Vocabulary

_IMPRESSIONS_PER_DAY = {1: 8.6, 2: 4.9, 3: 3.3}
_NEWSLETTER_DAY = 1  # Tuesday


def ads(rng: Random, account: Account, words: Vocabulary, quarter: Quarter) -> Iterator[Draft]:
    """Yield the impressions and clicks of the campaigns that run against the account."""
    campaigns = words.campaigns
    heat = 0.85 if account.story in {Story.QUIET, Story.COOLING} else 1.2
    rate = _IMPRESSIONS_PER_DAY[account.tier] * heat
    browsers = [f"anon-{account.number:05d}-{i:02d}" for i in range(len(account.contacts) + 4)]
    for day in quarter.days:
        midnight = day * DAY_MS
        running = (day // 7 + account.tier) % len(campaigns), (day // 21) % len(campaigns)
        for _ in range(int(rate * (0.55 + 0.45 * weekday_weight(day)) + rng.random())):
            local_hour = 7.0 + 15.0 * rng.random()
            at = midnight + int((local_hour - account.utc_offset_hours) * HOUR_MS)
            fields: dict[str, object] = {
                "account_id": account.account_id,
                "action": "impression",
                "campaign_id": campaigns[running[rng.random() < 0.4]],
                "placement": "web",
                "cost": round(0.004 + 0.012 * rng.random(), 4),
            }
            if rng.random() < 0.3:
                fields["anonymous_id"] = rng.choice(browsers)
            yield at, "ad", fields
            if rng.random() < 0.0018:
                yield at + 2_000, "ad", {**fields, "action": "click", "cost": 1.9}


def newsletters(
    rng: Random, account: Account, words: Vocabulary, quarter: Quarter
) -> Iterator[Draft]:
    """Yield the mailing of every other Tuesday to the committee, and what became of it."""
    shy = account.story is Story.QUIET
    subscribers = list(account.contacts[: 3 if shy else None])
    for day in quarter.days:
        if weekday(day) != _NEWSLETTER_DAY or (day // 7) % 2:
            continue
        campaign = words.newsletters[day // 14 % len(words.newsletters)]
        read = (0.13 if shy else 0.3) * TEMPERS[account.story].ardour(quarter.progress(day))
        at = day * DAY_MS + int((9.5 - account.utc_offset_hours) * HOUR_MS)
        for contact in tuple(subscribers):
            mail = {**_addressed(account, contact), "campaign_id": campaign}
            actions = _mailing_actions(rng, read)
            sent_at = at + rng.randint(0, 1_800_000)
            for action in actions:
                yield sent_at, "email", {**mail, "action": action}
                sent_at += rng.randint(20_000, 14_400_000)
            if actions[-1] in {"bounced", "unsubscribed"}:
                subscribers.remove(contact)


def _mailing_actions(rng: Random, read: float) -> tuple[str, ...]:
    """Draw what happens to one mail that is opened with the probability *read*."""
    if rng.random() < 0.004:
        return ("sent", "bounced")
    if rng.random() > read:
        return ("sent",)
    chance = rng.random()
    if chance < 0.02:
        return ("sent", "opened", "unsubscribed")
    return ("sent", "opened", "clicked") if chance < 0.07 else ("sent", "opened")


class SalesMail:
    """The correspondence of the account's owner with the committee."""

    def __init__(self, rng: Random, account: Account, words: Vocabulary) -> None:
        self._rng = rng
        self._account = account
        self._words = words

    def over(self, quarter: Quarter) -> Iterator[Draft]:
        """Yield all threads of *quarter*, one after the other, on working days."""
        rng, temper = self._rng, TEMPERS[self._account.story]
        owed = -rng.random()
        for day in quarter.days:
            weight = weekday_weight(day) if weekday_weight(day) > 1 else 0.0
            owed += temper.outreach_per_week / 7 * weight
            if owed > 0:
                owed -= rng.uniform(0.5, 1.5)
                ardour = temper.ardour(quarter.progress(day))
                yield from self._thread(office_time(rng, self._account, day), ardour)

    def _thread(self, at: int, ardour: float) -> Iterator[Draft]:
        """Yield one thread: our mail, perhaps read, perhaps answered, perhaps begun by them."""
        rng, account = self._rng, self._account
        contact = account.contacts[someone(rng, account)]
        subject = rng.choice(self._words.subjects)
        mail = {**_addressed(account, contact), "subject": subject, "rep_id": account.owner.rep_id}
        reply = TEMPERS[account.story].reply * ardour
        theirs = {**mail, "direction": "inbound", "subject": f"Re: {subject}"}
        if rng.random() < 0.3 * reply:
            yield at, "email", {**theirs, "action": "sent", "subject": subject}
            yield self._later(at), "email", {**mail, "action": "replied"}
            return
        yield at, "email", {**mail, "action": "sent"}
        if rng.random() < 0.35 + 0.5 * reply:
            at = self._later(at)
            yield at, "email", {**mail, "action": "opened"}
            if rng.random() < 0.12:
                yield at, "ad", self._signature(contact, "impression")
            if rng.random() < 0.01:
                yield at + 4_000, "ad", self._signature(contact, "click")
        if rng.random() < reply:
            at = self._later(at)
            yield at, "email", {**theirs, "action": "replied"}
            if rng.random() < 0.6:
                yield self._later(at), "email", {**mail, "action": "replied"}

    def _later(self, at: int) -> int:
        return at + self._rng.randint(120_000, 10_800_000)

    def _signature(self, contact: Contact, action: str) -> dict[str, object]:
        return {
            "account_id": self._account.account_id,
            "contact_id": contact.contact_id,
            "action": action,
            "campaign_id": "signature-banner",
            "placement": "email_signature",
        }


def intent(rng: Random, account: Account, words: Vocabulary, quarter: Quarter) -> Iterator[Draft]:
    """Yield what third parties saw the account read about, delivered once a night."""
    temper = TEMPERS[account.story]
    favourites = rng.sample(words.topics, 2)
    owed = -rng.random()
    for day in quarter.days:
        surging = is_surging(account, quarter, day)
        leaving = is_leaving(account, quarter.progress(day))
        weekly = 4.0 if surging else 1.5 if leaving else temper.intent_per_week
        owed += weekly / 7
        if owed > 0:
            owed -= rng.uniform(0.6, 1.4)
            yield (
                day * DAY_MS + 3 * HOUR_MS + rng.randint(0, HOUR_MS),
                "intent",
                {
                    "account_id": account.account_id,
                    "topic": "competitors" if leaving else favourites[rng.random() < 0.35],
                    "strength": round(
                        rng.uniform(1.6, 4.0) if surging else rng.uniform(0.6, 1.4), 2
                    ),
                },
            )


def _addressed(account: Account, contact: Contact) -> dict[str, object]:
    return {
        "account_id": account.account_id,
        "contact_id": contact.contact_id,
        "email": contact.email,
        "direction": "outbound",
    }
