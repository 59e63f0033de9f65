"""Stage 2, engaged target accounts: advertising, the site, mail, and who was reached."""

from collections.abc import Iterator

import numpy as np

from scoring.kpis.codes import CHANNEL_OF, INBOUND, PAGE_KINDS, PAGE_SHIFT, SIGNATURE, Code
from scoring.kpis.columns import Array, Log, different, paired
from scoring.kpis.period import ALL, Measured, Period, distinct, ratio

MOST_LISTED = 50
PARTS = {"normal": "tofu", "medium": "mofu", "high": "bofu", "excluded": "none"}
"""Value of a page -> part of the funnel."""
CHANNELS = tuple(dict.fromkeys(CHANNEL_OF.values()))
_HIGH = PAGE_KINDS.index("high")


def channel_rows(log: Log, channel: str) -> Array:
    """Return which rows of *log* are events of *channel*."""
    return log.has(*(code for code, name in CHANNEL_OF.items() if name == channel))


def high_value(log: Log) -> Array:
    """Return which rows of *log* are visits to a page of value high."""
    high: Array = (log.code == Code.PAGE_VISIT) & (log.flags >> PAGE_SHIFT & 3 == _HIGH)
    return high


def reach(period: Period, mask: Array) -> Iterator[Measured]:
    """Yield what is counted of the period's events of the accounts in *mask*."""
    log = period.events if mask.all() else period.events.where(mask[period.events.account])
    yield from _advertising(log)
    yield from _view_through(period, mask)
    yield from _site(log)
    yield from _minutes(log)
    yield from _content(period, log)
    yield from _mail(log)
    target = period.record.target & mask
    yield from _awareness(log, target)
    yield from _channels(period, mask, target)
    yield from _unmasked(period, log, target)


def _counted(kpi: str, log: Log, rows: Array, **labels: str) -> Measured:
    return Measured(kpi, "", labels, float(rows.sum()), distinct(log.account[rows]))


def _advertising(log: Log) -> Iterator[Measured]:
    signature = log.flags & SIGNATURE > 0
    for kpi, code in (("ad_impressions", Code.AD_IMPRESSION), ("ad_clicks", Code.AD_CLICK)):
        rows = log.code == code
        yield _counted(kpi, log, rows & ~signature, placement="web")
        yield _counted(kpi, log, rows & signature, placement="email_signature")


def _view_through(period: Period, mask: Array) -> Iterator[Measured]:
    visits, conversions = period.viewed_through
    for kpi, rows in (("view_through_visits", visits), ("view_through_conversions", conversions)):
        own = rows[mask[rows]]
        yield Measured(kpi, "", {}, float(len(own)), distinct(own))


def _site(log: Log) -> Iterator[Measured]:
    yield _counted("website_visits", log, log.code == Code.PAGE_VISIT)
    yield _counted("high_value_page_visits", log, high_value(log))
    rows = (log.code == Code.CHAT_MESSAGE) & (log.flags & INBOUND > 0)
    number = float(len(different(paired(log.account[rows], log.subject[rows]))))
    yield Measured("chat_conversations", "", {}, number, distinct(log.account[rows]))


def _minutes(log: Log) -> Iterator[Measured]:
    for channel in (ALL, *CHANNELS):
        rows = channel_rows(log, channel) if channel != ALL else log.code <= Code.INTENT
        minutes = float(log.minutes[rows].sum(dtype=np.float64))
        accounts = distinct(log.account[rows & (log.minutes > 0)])
        yield Measured("minutes_spent", "", {"channel": channel}, minutes, accounts)


def _content(period: Period, log: Log) -> Iterator[Measured]:
    visits = log.where(log.code == Code.PAGE_VISIT)
    kind = visits.flags >> PAGE_SHIFT & 3
    for number, name in enumerate(PAGE_KINDS):
        yield from _read(visits, kind == number, "part", PARTS[name])
    pages, counts = np.unique(visits.subject, return_counts=True)
    names = [period.facts.names.get(page, f"{page:x}") for page in pages.tolist()]
    best = sorted(range(len(pages)), key=lambda at: (-counts[at], names[at]))[:MOST_LISTED]
    for at in best:
        yield from _read(visits, visits.subject == pages[at], "page", names[at])


def _read(visits: Log, rows: Array, by: str, name: str) -> Iterator[Measured]:
    id_, accounts = "content_engagement", distinct(visits.account[rows])
    minutes = float(visits.minutes[rows].sum(dtype=np.float64))
    yield Measured(id_, f"{by}_visits", {by: name}, float(rows.sum()), accounts)
    yield Measured(id_, f"{by}_minutes", {by: name}, minutes, accounts)


def _mail(log: Log) -> Iterator[Measured]:
    inbound = log.flags & INBOUND > 0
    sent = (log.code == Code.EMAIL_SENT) & ~inbound
    told = {
        "email_open_rate": log.code == Code.EMAIL_OPENED,
        "email_click_rate": log.code == Code.EMAIL_CLICKED,
        "email_reply_rate": (log.code == Code.EMAIL_REPLIED) & inbound,
    }
    for kpi, rows in told.items():
        yield Measured(kpi, "", {}, ratio(rows.sum(), sent.sum()), distinct(log.account[sent]))


def _awareness(log: Log, target: Array) -> Iterator[Measured]:
    rows = log.has(Code.PAGE_VISIT, Code.EMAIL_OPENED, Code.MEETING_HELD)
    aware = distinct(log.account[rows & target[log.account]])
    count = int(target.sum())
    yield Measured("awareness", "", {}, ratio(aware, count), count)


def _channels(period: Period, mask: Array, target: Array) -> Iterator[Measured]:
    id_, log = "reach_by_channel", period.touches.where(mask[period.touches.account])
    on_target, count = target[log.account], int(target.sum())
    yield Measured(id_, "focus", {"channel": ALL}, ratio(on_target.sum(), len(on_target)), count)
    campaigns = []
    for channel in CHANNELS:
        rows, labels = channel_rows(log, channel), {"channel": channel}
        reached = distinct(log.account[rows & on_target])
        yield Measured(id_, "share", labels, ratio(reached, count), count)
        share = ratio((rows & on_target).sum(), rows.sum())
        yield Measured(id_, "focus", labels, share, distinct(log.account[rows]))
        if channel in ("ad", "email"):
            numbers, touches = np.unique(log.subject[rows], return_counts=True)
            pairs = zip(numbers.tolist(), touches.tolist(), strict=True)
            campaigns += [(-n, channel, number) for number, n in pairs if number]
    for _, channel, number in sorted(campaigns)[:MOST_LISTED]:
        rows = channel_rows(log, channel) & (log.subject == number)
        labels = {"channel": channel, "campaign": period.facts.names.get(number, f"{number:x}")}
        reached = distinct(log.account[rows & on_target])
        yield Measured(id_, "campaign_share", labels, ratio(reached, count), count)


def _unmasked(period: Period, log: Log, target: Array) -> Iterator[Measured]:
    """Yield the share of anonymous visitors that became known."""
    on_site = channel_rows(log, "page_visit") | channel_rows(log, "chat")
    rows = on_site & (log.other != 0) & (log.contact == 0) & target[log.account]
    anonymous = different(paired(log.account[rows], log.other[rows]))
    known = period.visitors_known
    share = ratio(np.isin(anonymous, known, assume_unique=True).sum(), len(anonymous))
    yield Measured("deanonymisation_rate", "", {}, share, distinct(log.account[rows]))
