"""Endpoints that fail and notifiers that die: nothing lost, nothing repeated once recorded."""

import socket
import threading
import time
from collections import Counter
from collections.abc import Iterator
from email import message_from_string
from pathlib import Path

import pytest

from tests.integration.conftest import KAFKA_ONLY
from tests.integration.notifier_kit import (
    QUICK,
    Answer,
    Judge,
    MailServer,
    Receiver,
    deliveries,
    in_order,
    mail,
    notifier,
    outcomes,
    receiving,
    start_notifier,
    told,
    wait_drained,
    webhook,
    write_routes,
)
from tests.integration.worker_kit import Place, Servers
from tests.system.harness import PATIENCE, Json, eventually

pytestmark = [pytest.mark.faults, KAFKA_ONLY]

ACCOUNTS = [f"account-{n}" for n in range(8)]
ALERTS = [told(account, n) for n in range(5) for account in ACCOUNTS]


@pytest.fixture
def place(servers: Servers, tmp_path: Path) -> Iterator[Place]:
    with Place(servers, tmp_path) as found:
        found.declare_topics()
        yield found


def keys_of(alerts: list[Json]) -> list[str]:
    return [each["id"] for each in alerts]


def slow(number: int, _: Json) -> Answer:
    if number <= 8:
        time.sleep(1.0)  # longer than the route waits
        return Answer(504)
    return Answer()


FAULTS: dict[str, Judge] = {
    "slow": slow,
    "429 with Retry-After": lambda n, _: Answer(429, {"Retry-After": "1"}) if n <= 3 else Answer(),
    "500 twice in a row": lambda n, _: Answer(500) if n % 7 < 2 else Answer(),
    "503 at first": lambda n, _: Answer(503) if n <= 20 else Answer(),
    "500 for one account": lambda n, body: (
        Answer(500) if n < 60 and body["alert"]["account_id"] == ACCOUNTS[0] else Answer()
    ),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_an_endpoint_that_fails_gets_every_alert_once_and_in_order(
    place: Place, fault: str
) -> None:
    with receiving(FAULTS[fault]) as crm:
        running = notifier(
            place, write_routes(place, webhook("crm", crm, QUICK, "timeout_seconds = 0.5"))
        )

        place.produce(ALERTS)

        taken = crm.wait_taken(len(ALERTS))
        wait_drained(running)
    assert outcomes(place, len(ALERTS)) == ["delivered"] * len(ALERTS)
    assert len(set(keys_of(taken))) == len(taken) == len(ALERTS)
    assert in_order(taken)
    assert running.metric("surgeline_notification_failures_total") > 0


def test_a_pause_that_is_asked_for_is_kept(place: Place) -> None:
    asked: list[float] = []

    def judge(number: int, _: Json) -> Answer:
        asked.append(time.monotonic())
        return Answer(429, {"Retry-After": "2"}) if number == 1 else Answer()

    with receiving(judge) as crm:
        notifier(place, write_routes(place, webhook("crm", crm, QUICK)))
        place.produce([told("acme")])
        crm.wait_taken(1)

    assert asked[1] - asked[0] >= 2.0


def test_an_endpoint_that_is_dead_for_a_while_gets_all_when_it_is_back(place: Place) -> None:
    crm = Receiver()
    running = notifier(place, write_routes(place, webhook("crm", crm, QUICK)))
    place.produce(ALERTS)
    failures = "surgeline_notification_failures_total"
    assert eventually(lambda: running.metric(failures) >= 20, within_seconds=60)

    crm.start()

    taken = crm.wait_taken(len(ALERTS))
    wait_drained(running)
    crm.stop()
    assert sorted(keys_of(taken)) == sorted({each["id"] for each in taken})
    assert len(taken) == len(ALERTS)
    assert in_order(taken)


def test_a_dead_endpoint_does_not_delay_the_others_however_much_waits_for_it(
    place: Place,
) -> None:
    many = [told(f"account-{n % 50}", n) for n in range(2_500)]
    dead = Receiver()
    with receiving() as crm:
        routes = write_routes(
            place,
            webhook("crm", crm, "concurrency = 16"),
            webhook("dead", dead, QUICK, "always = true", "concurrency = 16"),
        )
        running = notifier(place, routes)
        place.produce(many)

        taken = crm.wait_taken(len(many))
        assert len(taken) == len(many)
        waiting = running.metric("surgeline_notifications_waiting", route="dead")
        assert 500 < waiting <= 2_000
        dead.start()
        late = dead.wait_taken(len(many))
        wait_drained(running)
    dead.stop()
    assert in_order(taken)
    assert in_order(late)
    assert len(set(keys_of(late))) == len(late) == len(many)


def test_what_a_dead_endpoint_waits_for_is_kept_by_kafka_when_the_notifier_is_killed(
    place: Place,
) -> None:
    many = [told(f"account-{n % 50}", n) for n in range(1_500)]
    dead = Receiver()
    with receiving() as crm:
        routes = write_routes(
            place, webhook("crm", crm), webhook("dead", dead, QUICK, "always = true")
        )
        running = notifier(place, routes)
        place.produce(many)
        crm.wait_taken(len(many))
        wait_recorded(place, running, len(many))
        running.kill()

        dead.start()
        again = notifier(place, routes)
        late = dead.wait_taken(len(many))
        wait_drained(again)
    dead.stop()
    assert len(set(keys_of(late))) == len(late) == len(many)
    assert len(crm.taken) == len(many)
    assert in_order(late)


def wait_recorded(place: Place, running: object, count: int) -> None:
    assert len(deliveries(place, count)) >= count, running


def test_a_kill_in_the_middle_of_a_delivery_repeats_that_one_under_the_same_key(
    place: Place,
) -> None:
    reached, go_on = threading.Event(), threading.Event()

    def judge(_: int, body: Json) -> Answer:
        if body["alert"]["account_id"] == "acme" and not reached.is_set():
            reached.set()
            go_on.wait(PATIENCE * 60)  # the notifier is killed meanwhile
        return Answer()

    with receiving(judge) as crm:
        routes = write_routes(place, webhook("crm", crm, QUICK, "timeout_seconds = 60.0"))
        running = notifier(place, routes)
        place.produce([told("globex", n) for n in range(5)])
        crm.wait_taken(5)
        deliveries(place, 5)
        place.produce([told("acme", n) for n in range(3)])
        assert reached.wait(PATIENCE * 30)
        running.kill()
        go_on.set()

        again = notifier(place, routes)
        crm.wait_taken(9)
        wait_drained(again)

        seen = Counter(each.key for each in crm.posted)
        acme = [each["cause"]["id"] for each in crm.taken if each["account_id"] == "acme"]
    assert outcomes(place, 8) == ["delivered"] * 8
    assert acme == ["e0", "e0", "e1", "e2"]
    assert sorted(seen.values()) == [1] * 7 + [2]


def test_a_notifier_that_is_told_to_stop_finishes_what_is_under_way_and_repeats_nothing(
    place: Place,
) -> None:
    reached = threading.Event()

    def judge(_: int, __: Json) -> Answer:
        reached.set()
        time.sleep(0.5)
        return Answer()

    with receiving(judge) as crm:
        routes = write_routes(place, webhook("crm", crm, QUICK))
        running = notifier(place, routes)
        place.produce(ALERTS)
        assert reached.wait(PATIENCE * 30)
        assert running.terminate(within_seconds=20) == 0

        again = notifier(place, routes)
        taken = crm.wait_taken(len(ALERTS))
        wait_drained(again)
    assert len(set(keys_of(taken))) == len(taken) == len(ALERTS)
    assert in_order(taken)


def test_a_mail_server_that_is_busy_gets_every_alert_once_and_in_order(place: Place) -> None:
    with MailServer(refusals=5) as server:
        notifier(place, write_routes(place, mail("mail", server), default=["mail"]))

        place.produce([told("acme", n) for n in range(3)])

        assert outcomes(place, 3) == ["delivered"] * 3
        mails = [message_from_string(each.text) for each in server.mails]
    texts = [str(each.get_payload(decode=True)) for each in mails]
    assert [f"({n})." in text for n, text in enumerate(texts)] == [True] * 3
    assert server.refused == 5


def test_a_mail_server_that_hangs_delays_neither_webhooks_nor_the_end(place: Place) -> None:
    with socket.create_server(("127.0.0.1", 0)) as hanging, receiving() as crm:
        port = hanging.getsockname()[1]
        url = f"mailto://127.0.0.1:{port}?from=s@example.com&to=a@example.com"
        mute = f'[routes.mail]\nurl = "{url}"\nalways = true\ntimeout_seconds = 120.0\n'
        running = notifier(place, write_routes(place, mute, webhook("crm", crm)))

        place.produce(ALERTS)

        began = time.monotonic()
        crm.wait_taken(len(ALERTS))
        assert time.monotonic() - began < PATIENCE * 10.0
        assert running.terminate(within_seconds=20) == 0


def test_two_notifiers_share_the_work_and_one_takes_over_when_the_other_is_killed(
    place: Place,
) -> None:
    with receiving() as crm:
        routes = write_routes(place, webhook("crm", crm))
        first, second = (start_notifier(place, routes) for _ in range(2))
        for each in (first, second):
            each.wait_ready()
        place.produce(ALERTS)
        crm.wait_taken(len(ALERTS))
        outcomes(place, len(ALERTS))
        first.kill()

        more = [told(account, n) for n in range(5, 8) for account in ACCOUNTS]
        place.produce(more)
        taken = crm.wait_taken(len(ALERTS) + len(more))
        wait_drained(second)
    assert len(set(keys_of(taken))) == len(taken) == len(ALERTS) + len(more)
    assert in_order(taken)


def test_a_kill_while_a_digest_is_sent_repeats_it_whole_under_the_same_key(place: Place) -> None:
    reached, go_on = threading.Event(), threading.Event()

    def judge(_: int, body: Json) -> Answer:
        if body["type"] == "digest" and not reached.is_set():
            reached.set()
            go_on.wait(PATIENCE * 60)
        return Answer()

    limit = "rate_limit = { alerts = 1, minutes = 60 }"
    with receiving(judge) as crm:
        routes = write_routes(
            place, webhook("crm", crm, limit, "digest_minutes = 0.05", "timeout_seconds = 60.0")
        )
        running = notifier(place, routes)
        place.produce([told("acme", n) for n in range(4)])
        assert reached.wait(PATIENCE * 60), place.logs()
        running.kill()
        go_on.set()

        notifier(place, routes)
        assert outcomes(place, 4) == ["delivered", *["digested"] * 3]
        digests = [each for each in crm.posted if each.json["type"] == "digest"]
    assert len(digests) == 2
    assert digests[0].key == digests[1].key
    assert digests[0].body == digests[1].body
