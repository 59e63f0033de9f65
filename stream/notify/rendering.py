"""Rendering: an alert as text for people, and as signed JSON for programs."""

import hashlib
import hmac
import re
from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple

import msgspec

from stream.notify.alert import Alert

SIGNATURE: Final = "Surgeline-Signature"
VERSION: Final = 1
"""Of the JSON; raised when a field changes its meaning or goes."""
LISTED: Final = 30
"""Alerts that the text of a digest shows; its JSON has all of them."""

_SCORES: Final = (
    ("engagement", "engagement"),
    ("intent_surge", "intent surge"),
    ("relationship", "relationship"),
)
_ANGLES: Final = str.maketrans("<>", "\u2039\u203a")
_EVERYBODY: Final = re.compile(r"@(?=(everyone|here|channel|all)\b)", re.IGNORECASE)


class Outgoing(NamedTuple):
    """A message, in the two shapes that endpoints take."""

    title: str
    text: str
    body: bytes
    """JSON; the same at every try, so that it may be compared."""
    key: str
    """The same at every try, and of this message alone."""


def alert_message(alert: Alert, raw: bytes, *, route: str, test: bool = False) -> Outgoing:
    """Return the message of *alert*, whose JSON is *raw*."""
    body = {"type": "alert", "version": VERSION, "route": route}
    extra: dict[str, Any] = {"test": True} if test else {}
    encoded = msgspec.json.encode(body | extra | {"alert": msgspec.Raw(raw)})
    return Outgoing(alert_title(alert), alert_text(alert), encoded, alert.id)


def digest_message(
    alerts: Sequence[tuple[Alert, bytes]], *, route: str, owner: str, left_out: int
) -> Outgoing:
    """Return one message of all *alerts*, which were held back, the oldest first."""
    key = digest_key([alert.id for alert, _ in alerts])
    body = {
        "type": "digest",
        "version": VERSION,
        "route": route,
        "id": key,
        "owner": owner or None,
        "left_out": left_out,
        "alerts": [msgspec.Raw(raw) for _, raw in alerts],
    }
    found = [alert for alert, _ in alerts]
    count = len(found) + left_out
    title = f"{count} alerts were held back" if count > 1 else "1 alert was held back"
    return Outgoing(title, _digest_text(found, count), msgspec.json.encode(body), key)


def digest_key(ids: Sequence[str]) -> str:
    """Return the key of the digest of exactly these alerts (32 hex digits)."""
    return hashlib.sha256("\n".join(sorted(ids)).encode()).hexdigest()[:32]


def signature(secret: str, body: bytes, *, now: float) -> str:
    """Return the value of the header that proves who sent *body*, and when.

    HMAC-SHA256 with the key *secret* over the Unix time in digits, a full stop and the body.

    >>> signature("key", b"{}", now=7.9)[:8]
    't=7,v1=7'
    """
    time = str(int(now))
    digest = hmac.new(secret.encode(), time.encode() + b"." + body, hashlib.sha256).hexdigest()
    return f"t={time},v1={digest}"


def alert_title(alert: Alert) -> str:
    """Return the title of *alert*: account and rule."""
    return shown(f"{alert.name}: {alert.rule.replace('_', ' ')}")


def alert_text(alert: Alert) -> str:
    """Return *alert* as lines of text."""
    lines = [alert.sentence]
    if alert.why:
        lines.append(f"Why: {'; '.join(_facts(alert.why))}")
    lines.append(_scores(alert.before, alert.after))
    lines.append(_place(alert))
    if alert.next_step:
        lines.append(f"Next: {alert.next_step}")
    if alert.link:
        lines.append(alert.link)
    lines.append(f"Happened {alert.event_time}, found {alert.detected_at}")
    return "\n".join(shown(line) for line in lines if line)


def _digest_text(alerts: Sequence[Alert], count: int) -> str:
    lines = []
    for alert in alerts[:LISTED]:
        link = f" {alert.link}" if alert.link else ""
        lines.append(shown(f"{alert.event_time} {alert.sentence}{link}"))
    if count > len(lines):
        lines.append(f"and {count - len(lines)} more; `surgeline alerts` lists all.")
    return "\n".join(lines)


def _facts(why: Mapping[str, Any]) -> list[str]:
    return [f"{name.replace('_', ' ')} {_fact(value)}" for name, value in why.items()]


def _fact(value: object) -> str:
    if isinstance(value, Mapping):
        return ", ".join(_facts(value))
    if isinstance(value, list):
        return ", ".join(_fact(each) for each in value)
    if isinstance(value, float):
        return f"{value:.4g}"
    return "unknown" if value is None else str(value)


def _scores(before: Mapping[str, float], after: Mapping[str, float]) -> str:
    parts = [
        f"{words} {before[name]:.1f} → {after[name]:.1f}"
        for name, words in _SCORES
        if name in before and name in after
    ]
    said = ", ".join(parts)
    return said[:1].upper() + said[1:]


def _place(alert: Alert) -> str:
    tier = "none" if alert.tier is None else alert.tier
    owner = alert.owner_email or alert.owner_id or "nobody"
    return f"Stage {alert.stage or 'none'}, tier {tier}, owner {owner}"


def shown(text: str) -> str:
    r"""Return one line of *text* that neither steers a terminal nor calls a whole channel.

    Names and pages come from outside, and chats read ``<!channel>`` as an order.

    >>> ascii(shown("<!channel> hello @everyone"))
    "'\\u2039!channel\\u203a hello @ everyone'"
    """
    line = "".join(char if char.isprintable() else "\ufffd" for char in text)
    return _EVERYBODY.sub("@ ", line.translate(_ANGLES))
