"""Alerts on their way to Kafka: the JSON of one, with where to look and when it was found."""

import time
from collections.abc import Callable
from typing import Any, Final
from urllib.parse import quote

import msgspec
from msgspec.structs import asdict

from scoring.alert import Alert
from scoring.report import rfc3339
from stream.outputs import Announcement
from stream.settings import Settings
from stream.topics import ALERTS

AnnounceAlert = Callable[[Alert], Announcement]

_to_json: Final = msgspec.json.Encoder().encode


def alert_announcer(settings: Settings) -> AnnounceAlert:
    """Return the function from an alert to what is announced of it.

    With the settings' board, the alert links to its account there. ``clock`` says whether it
    was found as it happened (``wall``) or in a replay (``event``).
    """

    def announce(alert: Alert) -> Announcement:
        body: dict[str, Any] = asdict(alert)
        if "highest_at" in alert.why:
            body["why"] = alert.why | {"highest_at": rfc3339(alert.why["highest_at"])}
        body["event_time"], body["at"] = rfc3339(alert.event_time), rfc3339(alert.at)
        body["detected_at"], body["clock"] = rfc3339(round(time.time(), 3)), settings.clock
        body["link"] = account_link(settings.board_url, alert.account_id)
        key = alert.account_id.encode("utf-8", "surrogatepass")
        return Announcement(ALERTS, key, _to_json(body))

    return announce


def account_link(board_url: str | None, account_id: str) -> str | None:
    """Return the address of an account on the board, None without a board.

    >>> account_link("https://board.example", "a/b")
    'https://board.example/accounts/a%2Fb'
    """
    if board_url is None:
        return None
    return f"{board_url}/accounts/{quote(account_id, safe='', errors='surrogatepass')}"
