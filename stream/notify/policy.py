"""Policy: what is sent now, what waits for a digest, what is dropped; pure, `now` an argument."""

import datetime as dt
import email.utils
from enum import StrEnum
from typing import Final, NamedTuple
from zoneinfo import ZoneInfo

from scoring.report import parse_time
from stream.notify.alert import EVENT_CLOCK, Alert
from stream.notify.routes import DAYS, QuietHours, RateLimit, Retry, Route

HOUR_SECONDS: Final = 3_600.0
MINUTE_SECONDS: Final = 60.0


class Outcome(StrEnum):
    """What became of an alert on a route. The list is closed: it is a metric label."""

    DELIVERED = "delivered"
    DIGESTED = "digested"
    HELD = "held"
    EXPIRED = "expired"
    MUTED = "muted"
    DEAD = "dead"
    SKIPPED = "skipped"


class Bucket(NamedTuple):
    """The alerts that an owner may still get, as of a moment."""

    left: float
    at: float


class Standing(NamedTuple):
    """What else decides on an alert."""

    muted: bool = False
    holding: bool = False
    """Whether earlier ones of the same owner wait for a digest."""
    may_hold: bool = True


def expired(alert: Alert, route: Route, now: float) -> bool:
    """Tell whether *alert* is too old to be news; those of replays never are."""
    age = now - parse_time(alert.at)
    return alert.clock != EVENT_CLOCK and age > route.max_age_hours * HOUR_SECONDS


def decided(alert: Alert, route: Route, now: float, *, zone: ZoneInfo | None, it: Standing) -> str:
    """Return ``send``, or the Outcome of an alert that is not sent now.

    Of the rate limit nothing is said: see `taken`.
    """
    if expired(alert, route, now):
        return Outcome.EXPIRED
    if it.muted:
        return Outcome.MUTED
    if alert.severity in route.urgent or not it.may_hold:
        return SEND
    # Whatever comes while others wait would overtake them.
    if it.holding or quiet(route.quiet_hours, now, zone=zone):
        return Outcome.HELD
    return SEND


SEND: Final = "send"


def quiet(hours: QuietHours | None, now: float, *, zone: ZoneInfo | None = None) -> bool:
    """Tell whether *now* (Unix seconds) is within quiet *hours*, by the clocks of *zone*.

    What the clocks show decides, also on days on which they are changed.
    """
    if hours is None:
        return False
    local = dt.datetime.fromtimestamp(now, zone or hours.zone)
    if DAYS[local.weekday()] in hours.days:
        return True
    time = local.time()
    if hours.start < hours.end:
        return hours.start <= time < hours.end
    return time >= hours.start or time < hours.end


def digest_due(route: Route, held_at: float, now: float, *, zone: ZoneInfo | None) -> bool:
    """Tell whether what was held back since *held_at* is to be sent now as a digest."""
    if quiet(route.quiet_hours, now, zone=zone):
        return False
    if quiet(route.quiet_hours, held_at, zone=zone):
        return True
    return now - held_at >= route.digest_minutes * MINUTE_SECONDS


def taken(bucket: Bucket | None, limit: RateLimit, now: float) -> tuple[Bucket, bool]:
    """Take one from *bucket*, None being a full one; return what is left and whether there was one.

    >>> taken(None, RateLimit(alerts=2, minutes=1), 0.0)
    (Bucket(left=1.0, at=0.0), True)
    >>> taken(Bucket(0.5, 0.0), RateLimit(alerts=2, minutes=1), 0.0)
    (Bucket(left=0.5, at=0.0), False)
    """
    left, at = bucket or Bucket(float(limit.alerts), now)
    gained = max(0.0, now - at) * limit.alerts / (limit.minutes * MINUTE_SECONDS)
    left = min(float(limit.alerts), left + gained)
    return (Bucket(left - 1.0, now), True) if left >= 1.0 else (Bucket(left, now), False)


def full(bucket: Bucket, limit: RateLimit, now: float) -> bool:
    """Tell whether *bucket* has filled up, so that it need not be kept."""
    return now - bucket.at >= limit.minutes * MINUTE_SECONDS


def pause_seconds(failures: int, retry: Retry, *, share: float) -> float:
    """Return the pause after so many *failures*; *share* (0 to 1) of its jitter is random.

    >>> [pause_seconds(n, Retry(), share=1.0) for n in (1, 2, 3, 20)]
    [0.5, 1.0, 2.0, 60.0]
    """
    longest: float = min(retry.longest_seconds, retry.first_seconds * 2.0 ** min(failures - 1, 60))
    return longest * (0.5 + 0.5 * share)


def retry_after_seconds(value: str | None, now: float) -> float | None:
    """Return the seconds that an HTTP Retry-After header asks for, None when it says nothing.

    >>> retry_after_seconds("120", 0.0), retry_after_seconds("Thu, 01 Jan 1970 00:01:00 GMT", 0.0)
    (120.0, 60.0)
    """
    if value is None:
        return None
    text = value.strip()
    if text.isascii() and text.isdigit():
        return float(text[:9])
    try:
        moment = email.utils.parsedate_to_datetime(text)
    except ValueError:
        return None
    return max(0.0, moment.timestamp() - now)
