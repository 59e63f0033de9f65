"""What the notifier remembers."""

import json

from stream.notify.held import item_of
from stream.notify.memory import KEPT_SECONDS, Memory, decode_delivery, delivery, message_of
from stream.notify.partitions import Partition
from stream.notify.policy import Outcome
from tests.alerts import alert, alert_json

NOW = 1_767_261_600.0

Entry = tuple[bytes | None, bytes | None]


def partition() -> Partition:
    def fail(error: BaseException) -> None:
        raise error

    return Partition(2, on_fault=fail)


def entry(number: int, outcome: Outcome, *, now: float = NOW) -> Entry:
    message = message_of(delivery(alert(number=number), "ann", outcome, now=now), 2)
    return message.key, message.value


def held(number: int, *, digest: str | None = None) -> Entry:
    key, value = entry(number, Outcome.HELD)
    extra = {"digest": digest, "offset": 7, "alert": alert_json(number=number)}
    return key, json.dumps(json.loads(value or b"") | extra).encode()


def test_a_record_says_alert_route_account_outcome_time_and_detail() -> None:
    message = message_of(delivery(alert(), "ann", Outcome.DEAD, now=NOW, detail="answered 404"), 2)

    assert message.key == f"{alert().id}|ann".encode()
    assert message.partition == 2
    assert json.loads(message.value or b"") == {
        "alert_id": alert().id,
        "route": "ann",
        "account_id": "acme",
        "outcome": "dead",
        "at": "2026-01-01T10:00:00Z",
        "detail": "answered 404",
    }


def test_what_was_settled_is_remembered_and_what_was_held_is_held_again() -> None:
    memory = Memory()

    found = memory.load([entry(1, Outcome.DELIVERED), held(2)], now=NOW)

    assert memory.outcome(alert(number=1).id, "ann") is Outcome.DELIVERED
    assert memory.outcome(alert(number=1).id, "bob") is None
    assert memory.outcome(alert(number=2).id, "ann") is None
    assert [each.alert_id for each in found.held.values()] == [alert(number=2).id]


def test_of_one_alert_the_newest_record_counts() -> None:
    memory = Memory()

    found = memory.load([held(1), held(1, digest="d"), entry(1, Outcome.DIGESTED)], now=NOW)

    assert not found.held
    assert memory.outcome(alert(number=1).id, "ann") is Outcome.DIGESTED


def test_what_is_held_comes_back_whole() -> None:
    found = Memory().load([held(1, digest="d")], now=NOW)
    each = next(iter(found.held.values()))

    item = item_of(each, partition(), topic="alerts")

    assert item is not None
    assert item.alert.sentence == alert(number=1).sentence
    assert (item.digest, item.record.offset, item.held_at) == ("d", 7, NOW)


def test_what_no_alert_can_come_back_to_is_forgotten() -> None:
    memory = Memory()
    old = entry(1, Outcome.DELIVERED, now=NOW - KEPT_SECONDS - 1.0)

    found = memory.load([old, entry(2, Outcome.DELIVERED)], now=NOW)

    assert found.old == [old[0]]
    assert len(memory) == 1


def test_records_that_are_none_of_ours_are_passed_over() -> None:
    memory = Memory()

    found = memory.load([(b"x", b"\xff"), (None, b"{}"), (b"y", None)], now=NOW)

    assert (len(memory), found.held, found.old) == (0, {}, [])
    assert decode_delivery(b"[]") is None
