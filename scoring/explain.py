"""Why an account scores what it scores: parts that add up to each score, and sentences.

Everything is derived from the stored state as of a moment; nothing is stored. Points are
points of the score in question, minutes are decayed and weighted like the score's own.
"""

from collections.abc import Iterator, Mapping
from math import fsum
from typing import Any, Final, NamedTuple, TypeAlias
from urllib.parse import urlsplit

from scoring.account import CHANNELS, SENIORITIES, AccountState, Touch, utc_day
from scoring.decay import weight
from scoring.engagement import engagement_score, minutes_at, weighted_parts
from scoring.fold import LABEL_LENGTH
from scoring.pages import ANY_TOPIC
from scoring.relationship import relationship_score, strengths
from scoring.report import as_of, rfc3339
from scoring.rules import Rules
from scoring.surge import Window, expected_count, windows_of
from scoring.titles import called

Part: TypeAlias = dict[str, Any]

FORGOTTEN: Final = "forgotten contacts"
UNKNOWN: Final = "unknown visitors"
MOST_REASONS: Final = 4
MOST_OF_A_KIND: Final = 2

_UNUSUAL_SCORE: Final = 50.0
"""A topic above this has more in its window than the median of what was expected."""
_CARRIES_SHARE: Final = 0.9
"""A contact with this share of the relationship's points carries it alone."""
_LEAST_MINUTES: Final = 0.05
"""What rounds to 0.0 minutes is not worth a sentence."""

_TOUCH_TEXTS: Final[Mapping[tuple[str, str], str]] = {
    ("ad", "click"): "{who} clicked an ad",
    ("ad", "impression"): "{who} saw an ad",
    ("chat", "started"): "{who} started a chat",
    ("chat", "message"): "Chat message with {who}",
    ("chat", "ended"): "Chat with {who}",
    ("email", "sent"): "Email with {who}",
    ("email", "replied"): "Email with {who}",
    ("email", "opened"): "{who} opened an email",
    ("email", "clicked"): "{who} clicked in an email",
    ("email", "bounced"): "Email to {who} bounced",
    ("email", "unsubscribed"): "{who} unsubscribed",
    ("meeting", "booked"): "{who} booked a meeting",
    ("meeting", "held"): "Meeting with {who}",
    ("meeting", "cancelled"): "Meeting with {who} cancelled",
    ("meeting", "no_show"): "{who} missed a meeting",
}
_STAGE_TEXTS: Final[Mapping[str, str]] = {
    "customer": "Customer.",
    "retained": "Customer that renewed.",
    "expanded": "Customer that expanded.",
}


class _Reason(NamedTuple):
    """One sentence, and how strong it is on the scale of a score."""

    strength: float
    sentence: str


def explain(state: AccountState, now: float, rules: Rules) -> dict[str, Any]:
    """Return why *state* scores what it does at *now* (Unix seconds), ready for JSON.

    The minutes of ``engagement.channels``, and of ``engagement.contacts``, sum to M, and
    their points, each part's share of M times the score, sum to the engagement score.
    The highest of ``surge.topics`` is the surge score. The points of
    ``relationship.contacts`` sum to the relationship score: contacts are taken by falling
    strength, and each is attributed what the score rises by with it, 100 x (product before
    - product after). ``noise`` counts the events that were labelled as such, and added nothing,
    by reason. ``stage`` and ``surging`` stand as they do after the due instants up
    to *now*; *now* must not lie before the account's newest event. Touches of contacts
    that were forgotten count with the weight of unknown seniority.
    """
    state = as_of(state, now, rules)
    parts = _parts(state, now, rules)
    engagement = parts["engagement"]
    engagement["channels"] = _with_points(_channels(state, now, rules), engagement)
    engagement["contacts"] = _with_points(_contacts(state, now, rules), engagement)
    head = {"account_id": state.account_id, "as_of": rfc3339(now)}
    return {**head, **parts, "because": reasons(parts)}


def one_line(state: AccountState, now: float, rules: Rules) -> str:
    """Return the strongest reason alone: the first of ``because`` at a part of its cost."""
    return reasons(_parts(as_of(state, now, rules), now, rules))[0]


def reasons(explanation: Mapping[str, Any]) -> list[str]:
    """Return one to four sentences on *explanation*, the strongest first.

    Surging topics rank by their score, touches by the points they hold of the engagement
    score, topics merely above the usual by half of theirs. Relationships rank by a third: they
    change slowly, and a reason is to say what is new. The stage comes last.
    """
    kinds = (
        _surge_reasons(explanation["surge"]),
        _engagement_reasons(explanation["engagement"]),
        _relationship_reasons(explanation["relationship"]),
        _stage_reasons(explanation["stage"]),
    )
    found = [reason for kind in kinds for reason in sorted(kind, key=_rank)[:MOST_OF_A_KIND]]
    sentences = [reason.sentence for reason in sorted(found, key=_rank)]
    return sentences[:MOST_REASONS] or ["Quiet: nothing that this account did still counts."]


def _rank(reason: _Reason) -> float:
    return -reason.strength


def _parts(state: AccountState, now: float, rules: Rules) -> Part:
    engagement = _engagement(state, now, rules)
    return {
        "engagement": engagement,
        "surge": _surge(state, now, rules),
        "relationship": _relationship(state, now, rules),
        "stage": _stage(state, engagement["minutes"], rules),
        "noise": dict(sorted(state.noise.items())),
    }


def _engagement(state: AccountState, now: float, rules: Rules) -> Part:
    model = rules.model.engagement
    minutes = minutes_at(state, now, weights=rules.weights, half_life_days=model.half_life_days)
    part: Part = {
        "score": engagement_score(minutes, saturation_minutes=model.saturation_minutes),
        "minutes": minutes,
        "saturation_minutes": model.saturation_minutes,
        "half_life_days": model.half_life_days,
    }
    factor = _decay(state, now, rules)
    touches = [_touch(state, touch, factor, now=now, rules=rules) for touch in state.touches]
    return part | {"touches": _with_points(touches, part)}


def _decay(state: AccountState, now: float, rules: Rules) -> float:
    """Return the factor from masses at the landmark to minutes at *now*."""
    if state.landmark is None:
        return 0.0
    return weight(elapsed_seconds=now - state.landmark, half_life_seconds=rules.half_life_seconds)


def _with_points(rows: list[Part], engagement: Part) -> list[Part]:
    """Return *rows* by falling minutes, each with its share of the engagement score."""
    each = engagement["score"] / engagement["minutes"] if engagement["minutes"] > 0.0 else 0.0
    rows = [row | {"points": each * row["minutes"]} for row in rows]
    return sorted(rows, key=lambda row: -row["minutes"])


def _touch(state: AccountState, touch: Touch, factor: float, *, now: float, rules: Rules) -> Part:
    contact = None if touch.contact_id is None else state.contacts.get(touch.contact_id)
    seniority = None if contact is None else contact.seniority
    return {
        "time": rfc3339(touch.time),
        "age_seconds": now - touch.time,
        "channel": CHANNELS[touch.channel],
        "contact_id": touch.contact_id,
        "seniority": _title(seniority),
        "label": touch.label,
        "minutes": touch.mass * factor * rules.weights[seniority],
    }


def _title(seniority: int | None) -> str | None:
    return None if seniority is None else SENIORITIES[seniority]


def _channels(state: AccountState, now: float, rules: Rules) -> list[Part]:
    masses: dict[int, float] = {}
    for _, code, mass in weighted_parts(state, rules.weights):
        masses[code] = masses.get(code, 0.0) + mass
    factor = _decay(state, now, rules)
    return [
        {"channel": CHANNELS[code], "minutes": mass * factor}
        for code, mass in sorted(masses.items())
    ]


def _contacts(state: AccountState, now: float, rules: Rules) -> list[Part]:
    factor = _decay(state, now, rules)

    def row(mass: float, times: float | None, **who: str | None) -> Part:
        labels = {"contact_id": None, "label": None, "seniority": None, **who}
        minutes = mass * factor * (1.0 if times is None else times)
        return labels | {"weight": times, "minutes": minutes}

    rows = [
        row(
            fsum(contact.minutes.values()),
            rules.weights[contact.seniority],
            contact_id=contact_id,
            seniority=_title(contact.seniority),
        )
        for contact_id, contact in sorted(state.contacts.items())
        if contact.minutes
    ]
    if state.unknown:
        rows.append(row(fsum(state.unknown.values()), rules.weights[None], label=UNKNOWN))
    if state.frozen:  # weighted already, each by the seniority of its time
        rows.append(row(fsum(state.frozen.values()), None, label=FORGOTTEN))
    return rows


def _surge(state: AccountState, now: float, rules: Rules) -> Part:
    windows = windows_of(state, utc_day(now), rules.model.surge)
    rows = [_topic(topic, window, state, rules) for topic, window in sorted(windows.items())]
    rows.sort(key=lambda row: -row["score"])
    return {"score": rows[0]["score"] if rows else 0.0, "topics": rows}


def _topic(topic: str, window: Window, state: AccountState, rules: Rules) -> Part:
    row: Part = {
        "topic": topic,
        "score": rules.surge_score(window),
        "surging": topic in state.surging,
        "count": window.observed,
        "baseline": window.baseline,
        "weeks": window.weeks,
        "expected": expected_count(window, rules.model.surge),
    }
    return row | {"sentence": _topic_sentence(row, rules.model.surge.window_days)}


def _topic_sentence(row: Part, window_days: int) -> str:
    if row["surging"]:
        how = "Surging"
    elif row["score"] > _UNUSUAL_SCORE:
        how = "More than usual"
    else:
        how = "Nothing unusual" if row["count"] else "Silent"
    where = "overall" if row["topic"] == ANY_TOPIC else f"on {row['topic']}"
    what = "1 visit or signal" if row["count"] == 1 else f"{row['count']} visits and signals"
    when = "this week" if window_days == 7 else f"in {_counted(window_days, 'day')}"
    return f"{how} {where}: {what} {when} against {row['expected']:.1f} usual."


def _relationship(state: AccountState, now: float, rules: Rules) -> Part:
    model = rules.model.relationship
    found = sorted(
        strengths(state, now, weights=rules.weights, model=model),
        key=lambda each: (-each[1], each[0]),
    )
    apart, rows = 1.0, []
    for contact_id, strength, inbound, outbound in found:
        before, apart = apart, apart * (1.0 - model.contact_share * strength)
        total = inbound + outbound  # 0 where decay left less than a double holds
        rows.append(
            {
                "contact_id": contact_id,
                "seniority": _title(state.contacts[contact_id].seniority),
                "inbound": inbound,
                "outbound": outbound,
                "reciprocity": 2.0 * min(inbound, outbound) / total if total > 0.0 else 0.0,
                "strength": strength,
                "points": 100.0 * (before - apart),
            }
        )
    return {"score": relationship_score((row[1] for row in found), model), "contacts": rows}


def _stage(state: AccountState, minutes: float, rules: Rules) -> Part:
    funnel = rules.model.funnel
    return {
        "stage": state.stage,
        "target": state.record is not None and state.record.target,
        "engaged": state.engaged,
        "minutes": minutes,
        "bounds": {
            "enter_minutes": funnel.engaged_minutes,
            "leave_below_minutes": funnel.disengaged_minutes,
        },
        "churned_at": None if state.churned_at is None else rfc3339(state.churned_at),
        "opportunities": [
            {
                "opportunity_id": opportunity_id,
                "state": each.state,
                "kind": each.kind,
                "since": None if each.since is None else rfc3339(each.since),
            }
            for opportunity_id, each in sorted(state.opportunities.items())
        ],
    }


def _surge_reasons(surge: Part) -> Iterator[_Reason]:
    topics = surge["topics"]
    surging = [row for row in topics if row["surging"]]
    unusual = surging or [row for row in topics if row["score"] > _UNUSUAL_SCORE]
    named = [row for row in unusual if row["topic"] != ANY_TOPIC]
    for row in named or unusual:  # a named topic says more than the count of everything
        yield _Reason(row["score"] if surging else row["score"] / 2.0, row["sentence"])


def _engagement_reasons(engagement: Part) -> Iterator[_Reason]:
    touches = [t for t in engagement["touches"] if t["minutes"] >= _LEAST_MINUTES]
    for touch in touches:
        text = f"{_touch_text(touch)} {_ago(touch['age_seconds'])}"
        yield _Reason(touch["points"], f"{text}: {touch['minutes']:.1f} engagement minutes now.")
    if not touches and engagement["minutes"] >= _LEAST_MINUTES:
        minutes = f"{engagement['minutes']:.1f} engagement minutes now"
        yield _Reason(engagement["score"], f"Only small touches: {minutes}.")


def _touch_text(touch: Part) -> str:
    channel, label = touch["channel"], touch["label"]
    who = "somebody" if touch["contact_id"] is None else _name(touch)
    if channel == "page_visit":
        text = f"{who} read {_path(label)}"
    elif channel == "intent":
        text = f"{who} read{'' if label == ANY_TOPIC else f' about {label}'} elsewhere"
    else:
        text = _TOUCH_TEXTS[channel, label].format(who=who)
    return text[0].upper() + text[1:] if touch["contact_id"] is None else text


def _path(url: str) -> str:
    try:
        path = urlsplit(url).path or "/"
    except ValueError:
        path = url
    return f"{path}…" if len(url) == LABEL_LENGTH else path


def _name(row: Part) -> str:
    return called(row["contact_id"], row["seniority"])


def _relationship_reasons(relationship: Part) -> Iterator[_Reason]:
    score, rows = relationship["score"], relationship["contacts"]
    if round(score) < 1:
        return
    best, of, strength = rows[0], f"{score:.0f} of 100", score / 3.0
    if not any(row["inbound"] for row in rows):
        whom = _name(best) if len(rows) == 1 else _counted(len(rows), "contact")
        yield _Reason(strength, f"One-sided: we reached out to {whom}, nobody answered ({of}).")
    elif best["points"] >= _CARRIES_SHARE * score:
        yield _Reason(strength, f"Single-threaded: {_name(best)} carries the relationship ({of}).")
    else:
        people = _counted(len(rows), "contact")
        yield _Reason(strength, f"{people} know us, {_name(best)} best: relationship {of}.")


def _stage_reasons(stage: Part) -> Iterator[_Reason]:
    if stage["stage"] in _STAGE_TEXTS:
        yield _Reason(0.0, _STAGE_TEXTS[stage["stage"]])
    for each in stage["opportunities"]:
        if each["state"] == "open":
            since = f" since {each['since'][:10]}" if each["since"] else ""
            name = f"{each['opportunity_id']} ({each['kind']})"
            yield _Reason(0.0, f"Opportunity {name} is open{since}.")


def _ago(seconds: float) -> str:
    for unit, size in (("day", 86_400), ("hour", 3_600), ("minute", 60)):
        if seconds >= size:
            return f"{_counted(int(seconds // size), unit)} ago"
    return "just now"


def _counted(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
