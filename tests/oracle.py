"""A deliberately naive reference of every score, for the property tests.

Nothing here is shared with the packages under test. Every event is kept, and every number is
summed afresh from all of them whenever it is asked for: slow (quadratic), and easy to check
against the definitions by reading. It knows the default model only, and no account with more
topics or contacts than are ever kept, because what is forgotten first is not its business.
"""

import functools
import math
import re
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from urllib.parse import urlsplit

from scipy.stats import nbinom  # type: ignore[attr-defined]  # made at run time

Event = Mapping[str, object]
Transition = tuple[float, str, str]

DAY = 86_400.0
ENGAGEMENT_HALF_LIFE = 14 * DAY
ENGAGEMENT_K = 30.0
HORIZON = 35 * DAY
# fmt: off
POINTS = {
    "ad impression": 0.01, "ad click": 1.0,
    "chat started": 2.0, "chat message inbound": 1.0, "chat message outbound": 0.2,
    "email sent inbound": 3.0, "email replied inbound": 3.0,
    "email sent outbound": 0.1, "email replied outbound": 0.1,
    "email opened": 0.1, "email clicked": 1.0, "email bounced": 0.0, "email unsubscribed": 0.0,
    "meeting booked": 5.0, "meeting cancelled": 0.0, "meeting no_show": 0.0,
}
# fmt: on
DAILY_CAP = {"ad": 3.0, "page_visit": 60.0, "chat": 60.0, "email": 30.0, "meeting": 240.0}
DAILY_CAP["intent"] = 5.0
SENIORITY = {"c_level": 2.0, "vp": 1.5, "director": 1.25, "manager": 1.0, "other": 0.75}
UNKNOWN_SENIORITY = 1.0
PAGE_RULES = (
    (0.0, "careers jobs login signin unsubscribe privacy terms"),
    (3.0, "pricing demo contact-sales trial book-a-meeting"),
    (1.5, "product solutions customers case-studies docs compare"),
)
TOPIC_WORDS = {
    "pricing": "pricing plans",
    "product": "product products features",
    "security": "security trust compliance",
    "integrations": "integrations api",
    "competitors": "compare alternatives vs",
}
SURGE_FROM, SURGE_UNTIL = 95.0, 80.0
TOUCHES = {"email sent": 1.0, "email replied": 1.0, "chat message": 0.5}
MEETING_TOUCH = 4.0
RELATIONSHIP_HALF_LIFE = 60 * DAY
ENGAGED_FROM, ENGAGED_UNTIL = 5.0, 2.5
SEEN_DAYS, SEEN_IDS = 3, 4_096
MOST_TOPICS, MOST_CONTACTS = 64, 1_000


def score(events: Iterable[Event], as_of: float) -> dict[str, dict[str, object]]:
    """Return account id -> what every output says of it as of *as_of* (Unix seconds).

    *events* are valid records in the order in which they arrived; those after *as_of*, without
    an account, or of type `spend` are left out. `first_event_at` and `last_event_at` are Unix
    seconds. `transitions` are (instant, kind, subject) up to the newest event,
    `due_transitions` those that fall due after it, up to *as_of*.
    """
    accounts: dict[str, _Account] = {}
    for event in events:
        account_id = event.get("account_id")
        if account_id is None or event["type"] == "spend" or _time(event) > as_of:
            continue
        accounts.setdefault(str(account_id), _Account()).arrive(event)
    return {
        account_id: {"account_id": account_id, "as_of": as_of, **account.read(as_of)}
        for account_id, account in accounts.items()
    }


@functools.lru_cache(maxsize=100_000)
def _unix(text: str) -> float:
    return datetime.fromisoformat(text.upper()).timestamp()


def _time(event: Event) -> float:
    return _unix(str(event["time"]))


def _day(instant: float) -> int:
    return math.floor(instant / DAY)


def _number(event: Event, field: str, absent: float) -> float:
    value = event.get(field)
    return absent if value is None else float(str(value))


def _weight(now: float, time: float, half_life: float) -> float:
    return float(2.0 ** (-(now - time) / half_life))


def path_matches(url: str, words: str) -> bool:
    """Say whether a segment of the URL's path is, or starts with, one of *words* and a hyphen."""
    for raw in urlsplit(url).path.lower().split("/"):
        segment = re.sub(r"\.[a-z0-9]+\Z", "", raw)
        if any(segment == word or segment.startswith(word + "-") for word in words.split()):
            return True
    return False


def page_value(url: str) -> float:
    """Return what a visit's points are multiplied by; 0 for an excluded page."""
    return next((value for value, words in PAGE_RULES if path_matches(url, words)), 1.0)


def points(event: Event) -> float:
    """Return the minutes that *event* is worth before its channel's daily cap."""
    if event["type"] == "page_visit":
        seconds = min(_number(event, "duration_seconds", 0.0), 600.0)
        return (0.5 + seconds / 60.0) * page_value(str(event["url"]))
    if event["type"] == "intent":
        return 0.2 * _number(event, "strength", 1.0)
    action = f"{event['type']} {event['action']}"
    if action == "chat ended":
        return min(_number(event, "duration_seconds", 0.0) / 60.0, 30.0)
    if action == "meeting held":
        return min(_number(event, "duration_minutes", 30.0), 120.0)
    return POINTS[action] if action in POINTS else POINTS[f"{action} {event['direction']}"]


def topic_counts(event: Event) -> dict[str, int]:
    """Return topic -> what *event* adds to its count of that event's day."""
    if event["type"] == "intent":
        count = max(1, round(_number(event, "strength", 1.0)))
        return {str(event["topic"]): count, "*": count}
    if event["type"] != "page_visit" or page_value(str(event["url"])) == 0.0:
        return {}
    found = [name for name, words in TOPIC_WORDS.items() if path_matches(str(event["url"]), words)]
    return dict.fromkeys([*found, "*"], 1)


def touches(event: Event) -> dict[str, tuple[float, float]]:
    """Return contact id -> the (inbound, outbound) weight that *event* gives it."""
    contact = event.get("contact_id")
    action = f"{event['type']} {event.get('action')}"
    if action == "meeting held":
        listed = event.get("attendee_ids") or ([] if contact is None else [contact])
        assert isinstance(listed, list | tuple)
        return {str(attendee): (MEETING_TOUCH, MEETING_TOUCH) for attendee in listed}
    weight = TOUCHES.get(action)
    if weight is None or contact is None:
        return {}
    return {str(contact): (weight, 0.0) if event["direction"] == "inbound" else (0.0, weight)}


@functools.lru_cache(maxsize=100_000)
def surge_score(x: int, b: int, n: int) -> float:
    """Return 100 min(1, x/3) (P(X < x) + P(X = x)/2), X ~ NegBin(1 + b, (1 + n)/(2 + n)).

    P(X = k) = C(b + k, k) (1 + n)^(1 + b) / (2 + n)^(1 + b + k) is summed in whole numbers,
    except where those get too long to be quick.
    """
    if x + b > 300:
        law = nbinom(1 + b, (1 + n) / (2 + n))
        below = float(law.cdf(x - 1) + law.pmf(x) / 2)
    else:
        total = 0
        for k in range(x):
            total = total * (2 + n) + 2 * math.comb(b + k, k)
        total = total * (2 + n) + math.comb(b + x, x)
        below = total * (1 + n) ** (1 + b) / (2 * (2 + n) ** (1 + b + x))
    return 100.0 * min(1.0, x / 3) * below


class _Account:
    """Everything that one account's events said, as it arrived, and where the walk stands."""

    def __init__(self) -> None:
        self.seen: dict[tuple[str, int], set[tuple[str, str]]] = {}
        self.newest: dict[str, float] = {}
        self.engagement_times: list[float] = []
        self.day_sums: dict[tuple[str, int], float] = {}
        self.minutes: list[tuple[float, str | None, float]] = []
        self.counts: list[tuple[int, str, int]] = []
        self.touches: list[tuple[float, str, float, float]] = []
        self.records: list[Event] = []
        self.engaged = False
        self.surging: set[str] = set()
        self.stage_now: str | None = None
        self.last_due = -math.inf
        self.transitions: list[Transition] = []

    def arrive(self, event: Event) -> None:
        if self.is_repeat(event):
            return
        time = _time(event)
        self.walk_due(time)
        self.newest[str(event["type"])] = max(time, self.newest.get(str(event["type"]), time))
        if event["type"] in DAILY_CAP:
            self.engagement_times.append(time)
            if time >= self.newest[str(event["type"])] - HORIZON:
                self.count(event, time)
        else:
            self.records.append(event)
        self.evaluate(self.instant())

    def is_repeat(self, event: Event) -> bool:
        kind, time = str(event["type"]), _time(event)
        day, newest_day = _day(time), _day(max(time, self.newest.get(kind, time)))
        if day <= newest_day - SEEN_DAYS:
            return False
        ids = self.seen.setdefault((kind, day), set())
        identity = (str(event["source"]), str(event["id"]))
        if identity in ids:
            return True
        if len(ids) < SEEN_IDS:
            ids.add(identity)
        return False

    def count(self, event: Event, time: float) -> None:
        """Add what an event in time is worth; the only thing that depends on order is the cap."""
        kind, day = str(event["type"]), _day(time)
        contact = event.get("contact_id")
        cap, before = DAILY_CAP[kind], self.day_sums.get((kind, day), 0.0)
        after = self.day_sums[kind, day] = before + points(event)
        owner = None if contact is None else str(contact)
        self.minutes.append((time, owner, min(cap, after) - min(cap, before)))
        self.counts += [(day, topic, n) for topic, n in topic_counts(event).items()]
        self.touches += [(time, who, *both) for who, both in touches(event).items()]
        if len({topic for _, topic, _ in self.counts}) > MOST_TOPICS:
            raise ValueError("More topics than an account keeps: outside of what this knows.")
        if len({who for _, who, _ in self.minutes} | {t[1] for t in self.touches}) > MOST_CONTACTS:
            raise ValueError("More contacts than an account keeps: outside of what this knows.")

    def newest_record(self, wanted: Callable[[Event], bool]) -> Event | None:
        """Return the newest wanted record by event time, of equal times the later arrived."""
        return max(filter(wanted, reversed(self.records)), key=_time, default=None)

    def contact_record(self, contact: str, *actions: str) -> Event | None:
        return self.newest_record(
            lambda r: (
                (r["type"], r.get("contact_id")) == ("contact", contact) and r["action"] in actions
            )
        )

    def seniority(self, contact: str | None) -> float:
        record = None if contact is None else self.contact_record(contact, "upserted")
        title = None if record is None else record.get("seniority")
        return UNKNOWN_SENIORITY if title is None else SENIORITY[str(title)]

    def is_removed(self, contact: str) -> bool:
        record = self.contact_record(contact, "upserted", "removed")
        return record is not None and record["action"] == "removed"

    def mass(self, now: float) -> float:
        """Return M(now) in engagement minutes."""
        contacts = {contact for _, contact, _ in self.minutes}
        seniority = {contact: self.seniority(contact) for contact in contacts}
        return math.fsum(
            seniority[contact] * added * _weight(now, time, ENGAGEMENT_HALF_LIFE)
            for time, contact, added in self.minutes
        )

    def counted(self, topic: str | None, first: int, last: int) -> int:
        """Return the count of a topic (or of all) from day *first* to day *last*, both included."""
        return sum(
            n for day, name, n in self.counts if topic in (None, name) and first <= day <= last
        )

    def surge(self, now: float) -> dict[str, float]:
        today = _day(now)
        scores = {}
        for topic in {name for day, name, _ in self.counts if today - 90 <= day <= today}:
            x = self.counted(topic, today - 6, today)
            b = self.counted(topic, today - 90, today - 7)
            weeks = (today - 6 - min(day for day, _, _ in self.counts)) // 7
            scores[topic] = surge_score(x, b, max(0, min(12, weeks)))
        return scores

    def contact_flows(self, now: float) -> dict[str, tuple[float, float]]:
        """Return contact id -> (I, O) of the contacts that are not removed."""
        flows = {}
        for contact in {who for _, who, _, _ in self.touches if not self.is_removed(who)}:
            own = [
                (inbound, outbound, _weight(now, time, RELATIONSHIP_HALF_LIFE))
                for time, who, inbound, outbound in self.touches
                if who == contact
            ]
            flows[contact] = (
                math.fsum(inbound * weight for inbound, _, weight in own),
                math.fsum(outbound * weight for _, outbound, weight in own),
            )
        return {contact: flow for contact, flow in flows.items() if sum(flow) > 0.0}

    def relationship(self, now: float) -> float:
        missing = 1.0
        for contact, (inbound, outbound) in self.contact_flows(now).items():
            reciprocity = 2 * min(inbound, outbound) / (inbound + outbound)
            strength = 1 - 2.0 ** (-(inbound + outbound / 4) / 6)
            strength *= 0.5 + 0.5 * reciprocity
            strength *= min(1.0, self.seniority(contact) / 1.25)
            missing *= 1 - 0.6 * strength
        return 100.0 * (1 - missing)

    def opportunity_states(self) -> list[Event]:
        """Return per opportunity the event that says its state (`updated` where nothing else)."""
        own = [r for r in self.records if r["type"] == "opportunity"]
        states = []
        for name in {r["opportunity_id"] for r in own}:
            deal = [r for r in own if r["opportunity_id"] == name]
            telling = [r for r in deal if r["action"] != "updated"] or deal
            states.append(max(reversed(telling), key=_time))  # of equal times the later
        return states

    def stage(self) -> str | None:
        if not self.describe()["target"]:
            return None
        churns = [_time(r) for r in self.records if r.get("action") == "churned"]
        states = self.opportunity_states()
        won = {
            str(s["kind"])
            for s in states
            if s["action"] == "won" and _time(s) > max(churns, default=-math.inf)
        }
        for kind, name in (("expansion", "expanded"), ("renewal", "retained"), ("new", "customer")):
            if kind in won:
                return name
        if any(s["action"] in ("opened", "updated") for s in states):
            return "opportunity"
        return "engaged" if self.engaged else "target"

    def describe(self) -> dict[str, object]:
        record = self.newest_record(lambda r: r["type"] == "account") or {"action": "removed"}
        return {
            "target": record["action"] == "upserted" and record["target"] is True,
            "tier": record.get("tier"),
            "owner_id": record.get("owner_id"),
        }

    def instant(self) -> float:
        return max(self.last_due, *self.newest.values())

    def walk_due(self, until: float) -> None:
        """Evaluate at every due instant up to and including *until*."""
        while self.newest:
            now = self.instant()
            falls = midnight = math.inf
            if self.engaged:
                lasts = math.log2(self.mass(now) / ENGAGED_UNTIL) * ENGAGEMENT_HALF_LIFE
                falls = now + max(0.0, lasts)
            if self.surging or self.counted(None, _day(now) - 6, _day(now)):
                midnight = (_day(now) + 1) * DAY
            due = min(falls, midnight)
            if due > until:
                return
            self.last_due = due
            if falls == due:  # where rounding may leave M a hair above the bound
                self.engaged = False
            self.evaluate(due)

    def evaluate(self, now: float) -> None:
        """Note what begins and ends at *now*."""
        mass = self.mass(now)
        self.engaged = mass >= ENGAGED_FROM or (self.engaged and mass >= ENGAGED_UNTIL)
        stage, surging = self.stage(), set()
        if stage != self.stage_now:
            subject = f"{self.stage_now or 'none'}>{stage or 'none'}"
            self.transitions.append((now, "stage_changed", subject))
        for topic, value in self.surge(now).items():
            if value >= (SURGE_UNTIL if topic in self.surging else SURGE_FROM):
                surging.add(topic)
        self.transitions += [(now, "surge_ended", t) for t in sorted(self.surging - surging)]
        self.transitions += [(now, "surge_started", t) for t in sorted(surging - self.surging)]
        self.stage_now, self.surging = stage, surging

    def read(self, as_of: float) -> dict[str, object]:
        """Return the outputs as of *as_of*; to be called once, as the walk goes on to there."""
        stored = len(self.transitions)
        self.walk_due(as_of)
        mass, surge = self.mass(as_of), self.surge(as_of)
        return {
            "engagement": 100.0 * (1 - 2.0 ** (-mass / ENGAGEMENT_K)),
            "engagement_minutes": mass,
            "intent_surge": max(surge.values(), default=0.0),
            "surge": surge,
            "surging": sorted(self.surging),
            "relationship": self.relationship(as_of),
            "contacts": len(self.contact_flows(as_of)),
            "stage": self.stage_now,
            **self.describe(),
            "first_event_at": min(self.engagement_times, default=None),
            "last_event_at": max(self.engagement_times, default=None),
            "events": len(self.engagement_times),
            "transitions": self.transitions[:stored],
            "due_transitions": self.transitions[stored:],
        }
