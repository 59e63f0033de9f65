"""The newest alerts in memory, and what people and the notifier did about them."""

import re
from bisect import bisect_left, insort
from collections import OrderedDict, defaultdict
from collections.abc import Iterator, Mapping
from typing import Any, Final, NamedTuple, TypeVar

import msgspec

from scoring.model import SECONDS_PER_DAY
from scoring.report import parse_time
from stream.board.cursors import Place
from stream.board.erased import unnamed_if_erased

MOST_ALERTS: Final = 10_000
KEPT_SECONDS: Final = 14 * SECONDS_PER_DAY
MOST_ACTIONS: Final = 100_000
SEVERITIES: Final = ("high", "medium", "low")
"""The most severe first."""

Json = dict[str, Any]
V = TypeVar("V")

_ID: Final = re.compile(r"[0-9a-f]{32}")


class Chosen(NamedTuple):
    """Which alerts a list shows; None takes any."""

    account: str | None = None
    owner: str | None = None
    rule: str | None = None
    severity: str | None = None
    acknowledged: bool | None = None


class Listed(NamedTuple):
    """Some alerts, the newest first."""

    alerts: list[Json]
    next: Place | None


class RecordAt(NamedTuple):
    """Where a record stands in its topic."""

    partition: int
    offset: int


class AlertBook:
    """Alerts by id, bounded: those of the last 14 days, at most *most* of them."""

    def __init__(self, *, most: int = MOST_ALERTS) -> None:
        self._most = most
        self._alerts: dict[str, Json] = {}
        self._order: list[tuple[float, str]] = []
        """Instant and id, ascending."""
        self._by_account: defaultdict[str, list[tuple[float, str]]] = defaultdict(list)
        self._acknowledged: OrderedDict[str, Json] = OrderedDict()
        self._read: dict[int, int] = {}
        """Partition of `alert-actions` -> newest offset that was read."""
        self._ahead: dict[str, RecordAt] = {}
        """Key -> where the record stands that was noted before it is read."""
        self._mutes: OrderedDict[tuple[str, str], Json] = OrderedDict()
        self._deliveries: OrderedDict[str, dict[str, Json]] = OrderedDict()
        self._erased: Mapping[str, float] = {}

    def __len__(self) -> int:
        return len(self._alerts)

    def add(self, alert: Json) -> bool:
        """Keep *alert*; tell whether it is new, and one that could be kept."""
        place = _place_of(alert)
        if place is None or place[1] in self._alerts or self._too_old(place):
            return False
        self._alerts[place[1]] = unnamed_if_erased(alert, self._erased) if self._erased else alert
        insort(self._order, place)
        insort(self._by_account[alert["account_id"]], place)
        while len(self._order) > self._most or self._order[0][0] < self._newest - KEPT_SECONDS:
            self._forget_oldest()
        return True

    def erase(self, erased: Mapping[str, float]) -> None:
        """Tell nobody any more of those who were *erased* (digest -> Unix seconds), from now on."""
        if erased == self._erased:
            return
        self._erased = erased
        for alert_id, alert in self._alerts.items():
            self._alerts[alert_id] = unnamed_if_erased(alert, erased)

    def acted(self, key: str, value: Json | None, at: RecordAt) -> None:
        """Note a record of `alert-actions`; None as *value* takes back what was done.

        One that stands before what was noted ahead of it is out of date, and changes nothing.
        """
        self._read[at.partition] = at.offset
        ahead = self._ahead.get(key)
        if ahead is not None and ahead.partition == at.partition and at.offset < ahead.offset:
            return
        self._ahead.pop(key, None)
        self._act(key, value)

    def acting(self, key: str, value: Json | None, at: RecordAt) -> None:
        """Note what was done here, and stands *at* its place, before its record is read."""
        if at.offset > self._read.get(at.partition, -1):
            self._ahead[key] = at
            self._act(key, value)

    def _act(self, key: str, value: Json | None) -> None:
        kind, _, rest = key.partition("|")
        if kind == "ack":
            _note(self._acknowledged, rest, value)
        elif kind == "mute":
            what, _, name = rest.partition("|")
            _note(self._mutes, (what, name), value if _until(value) is not None else None)

    def delivered(self, key: str, value: Json | None) -> None:
        """Note a record of `deliveries`."""
        alert_id, _, route = key.partition("|")
        routes = dict(self._deliveries.get(alert_id, {}))
        if value is None:
            routes.pop(route, None)
        else:
            routes[route] = {"route": route, **{k: value.get(k) for k in ("outcome", "at")}}
        _note(self._deliveries, alert_id, routes or None)

    def get(self, alert_id: str) -> Json | None:
        """Return the alert as the API shows it, None when it is not known."""
        alert = self._alerts.get(alert_id)
        return None if alert is None else self._shown(alert)

    def listed(self, chosen: Chosen, *, after: Place | None, limit: int) -> Listed:
        """Return up to *limit* alerts that are *chosen*, older than *after*."""
        found: list[tuple[float, str]] = []
        for place in self._newest_first(chosen.account, after):
            if self._is_chosen(self._alerts[place[1]], chosen):
                if len(found) == limit:
                    return Listed(self._all_shown(found), Place(*found[-1]))
                found.append(place)
        return Listed(self._all_shown(found), None)

    def open_alerts(self, account_id: str, *, since: float, wall: float) -> list[Json]:
        """Return the account's alerts since then that nobody acknowledged or muted, newest first.

        *wall* is the time by which mutes end, Unix seconds.
        """
        return [
            self._shown(self._alerts[alert_id])
            for at, alert_id in reversed(self._by_account.get(account_id, ()))
            if at >= since and self._is_open(self._alerts[alert_id], wall)
        ]

    def of_account(self, account_id: str, *, limit: int) -> list[Json]:
        """Return the newest *limit* alerts of the account."""
        places = self._by_account.get(account_id, [])[-limit:]
        return self._all_shown(places[::-1])

    def newest_open(self, account_id: str, *, wall: float) -> Json | None:
        """Return the newest alert of the account that nobody acknowledged or muted."""
        for _, alert_id in reversed(self._by_account.get(account_id, ())):
            if self._is_open(self._alerts[alert_id], wall):
                return self._shown(self._alerts[alert_id])
        return None

    def accounts_with_open(self, *, since: float, wall: float) -> list[str]:
        """Return the accounts with such alerts: the most severe first, then the newest."""
        best: dict[str, tuple[int, float]] = {}
        for at, alert_id in reversed(self._order):
            if at < since:
                break
            alert = self._alerts[alert_id]
            rank = (severity_rank(alert), -at)
            known = best.get(alert["account_id"])
            if (known is None or rank < known) and self._is_open(alert, wall):
                best[alert["account_id"]] = rank
        return sorted(best, key=lambda account_id: (best[account_id], account_id))

    def mutes(self, wall: float) -> list[Json]:
        """Return what is muted at *wall*, the soonest to end first."""
        left = {key: _until(mute) or 0.0 for key, mute in self._mutes.items()}
        names = sorted((until, key) for key, until in left.items() if until > wall)
        return [
            {"what": what, "name": name, **_facts(self._mutes[what, name], "until", "by", "at")}
            for _, (what, name) in names
        ]

    @property
    def _newest(self) -> float:
        return self._order[-1][0] if self._order else 0.0

    def _too_old(self, place: tuple[float, str]) -> bool:
        if place[0] < self._newest - KEPT_SECONDS:
            return True
        return len(self._order) >= self._most and place < self._order[0]

    def _forget_oldest(self) -> None:
        place = self._order.pop(0)
        account_id = self._alerts.pop(place[1])["account_id"]
        own = self._by_account[account_id]
        own.remove(place)
        if not own:
            del self._by_account[account_id]

    def _newest_first(
        self, account: str | None, after: Place | None
    ) -> Iterator[tuple[float, str]]:
        order = self._order if account is None else self._by_account.get(account, [])
        end = len(order) if after is None else bisect_left(order, tuple(after))
        return (order[number] for number in range(end - 1, -1, -1))

    def _is_chosen(self, alert: Json, chosen: Chosen) -> bool:
        acknowledged = alert["id"] in self._acknowledged
        return (
            chosen.owner in (None, alert.get("owner_id"))
            and chosen.rule in (None, alert["rule"])
            and chosen.severity in (None, alert["severity"])
            and chosen.acknowledged in (None, acknowledged)
        )

    def _is_open(self, alert: Json, wall: float) -> bool:
        if alert["id"] in self._acknowledged:
            return False
        muted = (("account", alert["account_id"]), ("rule", alert["rule"]))
        return all((_until(self._mutes.get(each)) or 0.0) <= wall for each in muted)

    def _all_shown(self, places: list[tuple[float, str]]) -> list[Json]:
        return [self._shown(self._alerts[alert_id]) for _, alert_id in places]

    def _shown(self, alert: Json) -> Json:
        acknowledged = self._acknowledged.get(alert["id"])
        return alert | {
            "acknowledged": None if acknowledged is None else _facts(acknowledged, "by", "at"),
            "deliveries": [*self._deliveries.get(alert["id"], {}).values()],
        }


def _place_of(alert: Json) -> tuple[float, str] | None:
    """Return instant and id, None for what is no alert."""
    texts = ("id", "rule", "severity", "account_id", "at")
    if not all(isinstance(alert.get(name), str) for name in texts) or not _ID.fullmatch(
        alert["id"]
    ):
        return None
    try:
        return parse_time(alert["at"]), alert["id"]
    except ValueError:
        return None


def severity_rank(alert: Json) -> int:
    """Return how severe *alert* is, 0 for the most severe."""
    severity = alert["severity"]
    return SEVERITIES.index(severity) if severity in SEVERITIES else len(SEVERITIES)


def _until(mute: Mapping[str, Any] | None) -> float | None:
    try:
        return None if mute is None else parse_time(mute["until"])
    except (KeyError, TypeError, ValueError):
        return None


def _facts(value: Json, *names: str) -> Json:
    return {name: value.get(name) for name in names}


def _note(kept: "OrderedDict[Any, V]", key: Any, value: V | None) -> None:
    kept.pop(key, None)
    if value is not None:
        kept[key] = value
    if len(kept) > MOST_ACTIONS:
        kept.popitem(last=False)


_objects = msgspec.json.Decoder(Json)


def object_in(value: bytes | None) -> Json | None:
    """Return the JSON object in *value*, None for anything else."""
    try:
        return None if value is None else _objects.decode(value)
    except msgspec.MsgspecError:
        return None
