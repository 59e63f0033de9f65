"""Records of the output topics, taken into what the board keeps and told to who listens."""

from dataclasses import dataclass
from typing import Any, Final

import msgspec

from stream.board.alert_book import AlertBook, RecordAt, object_in
from stream.board.broadcast import Broadcast
from stream.board.keeper import Keeper
from stream.board.log_tail import Followed, LogTail
from stream.board.metrics import BoardMetrics
from stream.board.moves import Moves
from stream.board.rows import Change
from stream.topics import ALERT_ACTIONS, ALERTS, DELIVERIES, SCORE_CHANGES

LAST_ALERTS: Final = 50_000
"""Read at the start, for the moves of 30 days; far fewer are kept whole."""
LAST_DELIVERIES: Final = 50_000

_change = msgspec.json.Decoder(Change)


@dataclass
class Intake:
    """Takes records; what it cannot read is counted and passed over."""

    keeper: Keeper
    book: AlertBook
    moves: Moves
    broadcast: Broadcast
    metrics: BoardMetrics
    tail: LogTail

    def followed(self) -> dict[str, Followed]:
        """Return what the tail is to follow."""
        return {
            SCORE_CHANGES: Followed(self.take_scores, last=0),
            ALERTS: Followed(self.take_alert, last=LAST_ALERTS),
            ALERT_ACTIONS: Followed(self.take_action, last=None),
            DELIVERIES: Followed(self.take_delivery, last=LAST_DELIVERIES),
        }

    def take_scores(self, record: Any) -> None:
        """Take what a worker announced of an account."""
        if record.value is None:
            return
        try:
            change = _change.decode(record.value)
        except msgspec.MsgspecError:
            self.metrics.malformed.labels(SCORE_CHANGES).inc()
            return
        self.keeper.changed(change)
        for each in change.transitions:
            self.moves.add(change.account_id, each)
        self.broadcast.scores(change.account_id, one_line(record.value))

    def take_alert(self, record: Any) -> None:
        """Take an alert; only those raised from now on are told."""
        alert = object_in(record.value)
        if alert is None:
            self.metrics.malformed.labels(ALERTS).inc()
            return
        new = self.book.add(alert)
        self.moves.add(str(alert.get("account_id")), alert)
        if new and self.tail.caught_up:
            self.broadcast.alert(alert["account_id"], one_line(record.value))

    def take_action(self, record: Any) -> None:
        """Take what somebody did about an alert."""
        at = RecordAt(record.partition, record.offset)
        self.book.acted(_key(record), object_in(record.value), at)

    def take_delivery(self, record: Any) -> None:
        """Take what became of an alert."""
        self.book.delivered(_key(record), object_in(record.value))


def one_line(value: bytes) -> bytes:
    """Return the JSON in *value* without line ends, which would break an event in two."""
    if b"\n" in value or b"\r" in value:
        return msgspec.json.encode(msgspec.json.decode(value))
    return value


def _key(record: Any) -> str:
    return (record.key or b"").decode("utf-8", "replace")
