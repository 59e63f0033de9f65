"""Lists of accounts with their alerts: all of them, and those to act on today."""

from collections.abc import Iterator
from typing import Any, Final

from scoring.model import SECONDS_PER_DAY
from stream.board.alert_book import AlertBook, severity_rank
from stream.board.index import AccountIndex, Wanted
from stream.board.rows import Decay, Row, shown

RECENT_SECONDS: Final = SECONDS_PER_DAY
ALERTS_EACH: Final = 5
QUIET_MINUTES: Final = 0.05
"""An account with less engagement, which neither surges nor alerts, is nothing for today."""

Json = dict[str, Any]


def listed(row: Row, now: float, *, wall: float, decay: Decay, book: AlertBook) -> Json:
    """Return *row* as of *now*, with its newest open alert; mutes end by *wall*."""
    return shown(row, now, decay) | {"alert": book.newest_open(row.account_id, wall=wall)}


def todays(
    index: AccountIndex, book: AlertBook, wanted: Wanted, *, now: float, wall: float, decay: Decay
) -> Iterator[Row]:
    """Yield the wanted accounts to act on.

    First those with alerts of the last 24 hours that nobody acknowledged or muted, the most
    severe and then the newest first; then those that surge; then the others, by engagement.
    """
    urgent = book.accounts_with_open(since=now - RECENT_SECONDS, wall=wall)
    alerting = wanted.among(row for each in urgent if (row := index.get(each)) is not None)
    yield from alerting
    named = {row.account_id for row in alerting}
    quiet = decay.board(QUIET_MINUTES, now)
    for surging in (True, False):
        for row in index.matching("engagement", wanted._replace(surging=surging)):
            if not surging and row.board < quiet:
                break
            if row.account_id not in named:
                yield row


def acted_on(row: Row, now: float, *, wall: float, decay: Decay, book: AlertBook) -> Json:
    """Return *row* as today's list shows it: with its recent open alerts and the next step."""
    alerts = book.open_alerts(row.account_id, since=now - RECENT_SECONDS, wall=wall)
    return listed(row, now, wall=wall, decay=decay, book=book) | {
        "next_step": min(alerts, key=severity_rank).get("next_step") if alerts else None,
        "alerts": alerts[:ALERTS_EACH],
    }
