"""Alerts: when a rule raises one, and what it says.

Rules look at an account where its transitions are evaluated: at its instant, event by event,
and at due instants. Each has a cooldown per account; those of surges per topic, too.
"""

from collections.abc import Callable, Mapping
from math import exp2
from typing import Any, Final, TypeAlias

from scoring.account import SENIORITIES, AccountState, utc_day
from scoring.alert import Alert, ScoredAt
from scoring.alert_rules import AlertRule
from scoring.alert_texts import sentence
from scoring.counting import Counted
from scoring.events import Event
from scoring.funnel import NO_STAGE, has_open_opportunity, is_customer
from scoring.live import Cause, Live, Raised, reproducible_id
from scoring.midnights import highest
from scoring.model import SECONDS_PER_DAY
from scoring.pages import Page
from scoring.relationship import exchange_of
from scoring.rules import Rules
from scoring.scores import Scores, relationship_at, surge_scores, surge_window
from scoring.scores import highest as highest_score
from scoring.surge import Window, expected_count

Before: TypeAlias = Callable[[ScoredAt, Mapping[str, float]], ScoredAt]
"""Finds the scores before from those after and the topics' surge scores after."""

_CODES: Final = {
    "high_value_page": "p",
    "surge_started": "s",
    "stage_changed": "m",
    "relationship_cooling": "r",
    "competitor_research": "c",
}
"""How the state names the rules whose cooldown runs."""


def watched(state: AccountState) -> bool:
    """Tell whether the account is a customer or has an open opportunity."""
    return bool(state.opportunities) and (is_customer(state) or has_open_opportunity(state))


def page_visited(
    state: AccountState, live: Live, rules: Rules, *, event: Event, page: Page, time: float
) -> None:
    """Raise ``high_value_page`` for a visit of a target account to a *page* of value high."""
    if state.record is None or not state.record.target:
        return
    if _cools_down(state, "high_value_page", "", at=time, rules=rules):
        return
    rule = rules.model.alerts.high_value_page
    if event.get("duration_seconds", 0.0) >= rule.min_dwell_seconds:
        raise_alert(state, live, rules, ("high_value_page", page.name, ""), at=time, why={})


def surge_began(state: AccountState, live: Live, topic: str, rules: Rules) -> None:
    """Raise ``surge_started``, and ``competitor_research`` of customers."""
    at = state.instant
    assert at is not None
    raise_alert(state, live, rules, ("surge_started", topic, topic), at=at, why={})
    if topic in rules.model.alerts.competitor_research.topics and is_customer(state):
        raise_alert(state, live, rules, ("competitor_research", topic, topic), at=at, why={})


def stage_moved(state: AccountState, live: Live, move: str, rules: Rules) -> None:
    """Raise ``stage_changed`` for a *move* inside the funnel, ``from>to``."""
    begin, _, end = move.partition(">")
    if NO_STAGE not in (begin, end):
        assert state.instant is not None
        why = {"from": begin, "to": end}
        raise_alert(state, live, rules, ("stage_changed", move, move), at=state.instant, why=why)


def look_for_cooling(state: AccountState, live: Live, rules: Rules) -> None:
    """Raise ``relationship_cooling`` when the score is far under its last midnights' highest.

    The score is computed only when it may have fallen so far: all that decays falls no faster
    than the exchanges that it is made of.
    """
    rule, now = rules.model.alerts.relationship_cooling, state.instant
    assert now is not None
    if not state.highs or not watched(state):
        return
    high = highest(state, now, midnights=rule.midnights)
    if high is None or _cools_down(state, "relationship_cooling", "", at=now, rules=rules):
        return
    day, best = high
    if live.closeness is not None:
        value, since = live.closeness
        if value * exp2((since - now) / rules.exchange_half_life_seconds) > (
            best - rule.drop_points + 1e-9
        ):
            return
    value = _relationship(state, live, rules)
    if value <= best - rule.drop_points:
        why = {
            "highest": best,
            "highest_at": day * SECONDS_PER_DAY,
            "score": value,
            "days": rule.midnights,
            "customer": is_customer(state),
        }
        raise_alert(state, live, rules, ("relationship_cooling", "", ""), at=now, why=why)


def raise_alert(
    state: AccountState,
    live: Live,
    rules: Rules,
    what: tuple[str, str, str],
    *,
    at: float,
    why: dict[str, Any],
) -> None:
    """Note an alert unless its rule is off or cools down.

    *what* is the rule, the subject, and for what within the account the cooldown runs.
    """
    name, subject, within = what
    rule = _rule(rules, name)
    if not rule.enabled or _cools_down(state, name, within, at=at, rules=rules):
        return
    if rule.cooldown_minutes:
        alerted, key = state.alerted, _CODES[name] + within
        if key not in alerted:  # what grows is looked through
            _forget_cooldowns(state, rules, at)
        alerted[key] = at
    live.raised.append(Raised(name, subject, why))


def _rule(rules: Rules, name: str) -> AlertRule:
    rule: AlertRule = getattr(rules.model.alerts, name)
    return rule


def _cools_down(state: AccountState, name: str, within: str, *, at: float, rules: Rules) -> bool:
    last = state.alerted.get(_CODES[name] + within)
    return last is not None and at - last < _rule(rules, name).cooldown_seconds


def _forget_cooldowns(state: AccountState, rules: Rules, at: float) -> None:
    seconds = {code: _rule(rules, name).cooldown_seconds for name, code in _CODES.items()}
    for key in [k for k, last in state.alerted.items() if at - last >= seconds[k[0]]]:
        del state.alerted[key]


def tell(
    state: AccountState, live: Live, rules: Rules, *, before: Before, cause: Cause, time: float
) -> None:
    """Make alerts of what was raised; *time* is the causing event's, or the due instant.

    *before* is given the scores now, and returns those before.
    """
    assert state.instant is not None
    surges = surge_scores(state, utc_day(state.instant), rules, live)
    after = ScoredAt(
        rules.engagement_score(state.minutes),
        state.minutes,
        highest_score(surges),
        _relationship(state, live, rules),
    )
    around = before(after, surges), after
    for raised in live.raised:
        _add_facts(raised, state, live, cause=cause, rules=rules)
        live.alerts.append(_alert(state, raised, around, rules, cause=cause, time=time))
    live.raised.clear()


def _relationship(state: AccountState, live: Live, rules: Rules) -> float:
    """Return the relationship at the instant, which is computed once for each."""
    now = state.instant
    assert now is not None
    if live.closeness is not None and live.closeness[1] == now:
        return live.closeness[0]
    value = relationship_at(state, now, rules)
    live.closeness = value, now
    return value


def scored(scores: Scores) -> ScoredAt:
    """Return what alerts tell of *scores*."""
    return ScoredAt(
        scores.engagement, scores.engagement_minutes, scores.intent_surge, scores.relationship
    )


def without(
    account: tuple[AccountState, Live],
    event: Event,
    rules: Rules,
    *,
    time: float,
    minutes: float,
    counted: Counted | None,
) -> Before:
    """Return what finds the scores at the instant without what *event* has added.

    *minutes* are the decayed ones before it, *counted* is what was counted for it.
    """
    state, live = account

    def before(after: ScoredAt, surges: Mapping[str, float]) -> ScoredAt:
        relationship, surge = after.relationship, after.intent_surge
        if rules.kinds[event["type"]].exchanges:
            relationship = _relationship_without(state, event, time, rules)
        elif counted is not None:
            surge = _surge_without(state, live, counted, surges, rules)
        return ScoredAt(rules.engagement_score(minutes), minutes, surge, relationship)

    return before


def _relationship_without(state: AccountState, event: Event, time: float, rules: Rules) -> float:
    exchange = exchange_of(event, rules.model.relationship)
    contacts = () if exchange is None else exchange.contacts
    held = [(c, c.inbound, c.outbound) for i in contacts if (c := state.contacts.get(i))]
    if exchange is not None and held:
        assert state.landmark is not None
        factor = exp2((time - state.landmark) / rules.exchange_half_life_seconds)
        for contact, inbound, outbound in held:
            contact.inbound = max(0.0, inbound - exchange.inbound * factor)
            contact.outbound = max(0.0, outbound - exchange.outbound * factor)
    assert state.instant is not None
    relationship = relationship_at(state, state.instant, rules)
    for contact, inbound, outbound in held:
        contact.inbound, contact.outbound = inbound, outbound
    return relationship


def _surge_without(
    state: AccountState, live: Live, counted: Counted, surges: Mapping[str, float], rules: Rules
) -> float:
    assert state.instant is not None
    day, model = utc_day(state.instant), rules.model.surge
    topics, counted_day, amount = counted
    recent = day - counted_day < model.window_days
    known = dict(surges)
    for topic in topics:
        x, baseline, weeks = surge_window(state, live, topic, day, rules)
        if recent:
            x = max(0, x - amount)
        else:
            baseline = max(0, baseline - amount)
        known[topic] = rules.surge_score(Window(x, baseline, weeks))
    return highest_score(known)


def _add_facts(
    raised: Raised, state: AccountState, live: Live, *, cause: Cause, rules: Rules
) -> None:
    """Add what the alert's rule rests on to what it was raised with."""
    facts = raised.why
    topics: tuple[str, ...] = ()
    if raised.rule in ("surge_started", "competitor_research"):
        facts["topic"], topics = raised.subject, (raised.subject,)
    if cause is not None:
        contact_id = cause.get("contact_id")
        contact = state.contacts.get(contact_id) if contact_id else None
        code = None if contact is None else contact.seniority
        facts["contact_id"] = contact_id
        facts["seniority"] = None if code is None else SENIORITIES[code]
        if cause["type"] == "page_visit":
            facts["url"], facts["dwell_seconds"] = cause["url"], cause.get("duration_seconds")
            topics = topics or rules.read_page(cause["url"]).topics
        elif cause["type"] == "opportunity":
            facts["opportunity_id"], facts["action"] = cause["opportunity_id"], cause["action"]
    assert state.instant is not None
    day = utc_day(state.instant)
    facts["counts"] = [
        {
            "topic": topic,
            "this_week": window.observed,
            "usual": expected_count(window, rules.model.surge),
        }
        for topic in topics
        if (window := surge_window(state, live, topic, day, rules)).observed or window.baseline
    ]


def _alert(
    state: AccountState,
    raised: Raised,
    scores: tuple[ScoredAt, ScoredAt],
    rules: Rules,
    *,
    cause: Cause,
    time: float,
) -> Alert:
    record = state.record
    details = {} if record is None else record.details
    name = str(details.get("name") or state.account_id)
    rule = _rule(rules, raised.rule)
    assert state.instant is not None
    return Alert(
        id=reproducible_id(
            raised.rule,
            raised.subject,
            account_id=state.account_id,
            cause=cause,
            instant=state.instant,
        ),
        rule=raised.rule,
        severity=rule.severity,
        subject=raised.subject,
        account_id=state.account_id,
        account_name=name,
        sentence=sentence(raised.rule, raised.subject, raised.why, name=name),
        why=raised.why,
        before=scores[0],
        after=scores[1],
        stage=state.stage,
        target=record is not None and record.target,
        tier=None if record is None else record.tier,
        owner_id=None if record is None else record.owner_id,
        owner_email=details.get("owner_email"),
        notify=rule.notify,
        next_step=rule.next_step,
        event_time=time,
        at=state.instant,
        cause=None if cause is None else {k: cause[k] for k in ("source", "id", "type")},
    )
