"""What alerts say: one sentence each, as a salesperson would say it to another."""

from collections.abc import Mapping
from typing import Any

from scoring.funnel import STAGES
from scoring.pages import ANY_TOPIC
from scoring.titles import called


def sentence(rule: str, subject: str, why: Mapping[str, Any], *, name: str) -> str:
    """Return what happened at account *name*; see `scoring.alerts` for *why*.

    >>> sentence("stage_changed", "target>engaged", {}, name="Acme")
    'Acme moved up from target to engaged.'
    """
    if rule == "high_value_page":
        return f"{_who(why)} of {name} {_seen(why)} {subject}."
    if rule == "stage_changed":
        begin, _, end = subject.partition(">")
        up = STAGES.index(end) > STAGES.index(begin)
        return f"{name} {'moved up' if up else 'fell back'} from {begin} to {end}."
    if rule == "relationship_cooling":
        fallen = why["highest"] - why["score"]
        return (
            f"The relationship with {name} is cooling: {why['score']:.0f} of 100, "
            f"{fallen:.0f} points under its best of the last {why['days']} days."
        )
    customer = "Customer " if rule == "competitor_research" else ""
    about = "looks around" if subject == ANY_TOPIC else f"reads about {subject}"
    return f"{customer}{name} {about} more than usual{_counts(why)}."


def _who(why: Mapping[str, Any]) -> str:
    contact = why.get("contact_id")
    return called(contact, why.get("seniority")) if contact else "Somebody"


def _seen(why: Mapping[str, Any]) -> str:
    dwell = why.get("dwell_seconds")
    return f"spent {duration(dwell)} on" if dwell else "opened"


def _counts(why: Mapping[str, Any]) -> str:
    counts = why.get("counts")
    if not counts:
        return ""
    times, usual = counts[0]["this_week"], counts[0]["usual"]
    return f": {times} {'time' if times == 1 else 'times'} this week, usually {usual:.1f}"


def duration(seconds: float) -> str:
    """Return *seconds* as people say it.

    >>> duration(45.0), duration(120.0), duration(135.0), duration(7_260.0)
    ('45 s', '2 min', '2 min 15 s', '2 h 1 min')
    """
    whole = round(seconds)
    hours, minutes = divmod(whole // 60, 60)
    if hours:
        return f"{hours} h {minutes} min" if minutes else f"{hours} h"
    rest = whole % 60
    if not minutes:
        return f"{rest} s"
    return f"{minutes} min {rest} s" if rest else f"{minutes} min"
