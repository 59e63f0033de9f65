"""The notifier: alerts from Kafka to real endpoints, and what is remembered of them."""

import asyncio
import datetime as dt
import hashlib
import hmac
import time
from collections.abc import Iterator
from email import message_from_string
from pathlib import Path
from typing import Any

import aiokafka
import pytest

from tests.alerts import alert_json
from tests.integration.conftest import KAFKA_ONLY
from tests.integration.notifier_kit import (
    HASTY,
    QUICK,
    SECRET,
    MailServer,
    Receiver,
    deliveries,
    notifier,
    outcomes,
    receiving,
    told,
    wait_drained,
    webhook,
    write_routes,
)
from tests.integration.worker_kit import Place, Sent, Servers
from tests.system.harness import eventually, rows

# aiokafka's own types are incomplete.
_aiokafka: Any = aiokafka


@pytest.fixture
def place(servers: Servers, tmp_path: Path) -> Iterator[Place]:
    with Place(servers, tmp_path) as found:
        found.declare_topics()
        yield found


@pytest.fixture
def crm() -> Iterator[Receiver]:
    with receiving() as receiver:
        yield receiver


def test_a_webhook_gets_the_whole_alert_signed_and_with_its_id_as_key(
    place: Place, crm: Receiver
) -> None:
    notifier(place, write_routes(place, webhook("crm", crm)))

    place.produce([told("acme")])

    (alert,) = crm.wait_taken(1)
    posted = crm.posted[0]
    parts = dict(part.split("=", 1) for part in posted.headers["Surgeline-Signature"].split(","))
    signed = parts["t"].encode() + b"." + posted.body
    assert parts["v1"] == hmac.new(SECRET.encode(), signed, hashlib.sha256).hexdigest()
    assert abs(time.time() - int(parts["t"])) < 60
    assert posted.key == alert["id"]
    assert alert == alert_json(at=alert["at"])


def test_what_was_delivered_is_recorded_in_the_partition_of_the_alert(
    place: Place, crm: Receiver
) -> None:
    running = notifier(place, write_routes(place, webhook("crm", crm)))

    records = [told("acme"), told("globex")]
    place.produce(records)

    found = deliveries(place, 2)
    partitions = {
        each.json["account_id"]: each.partition for each in place.read("deliveries", bool)
    }
    assert {key.split("|")[1] for key in found} == {"crm"}
    assert [each["outcome"] for each in found.values()] == ["delivered", "delivered"]
    assert all(partitions[r.key.decode()] == r.partition for r in records if r.key and partitions)
    assert running.metric("surgeline_notifications_total", outcome="delivered") == 2
    assert running.metric("surgeline_notification_delay_seconds_count") == 2


@KAFKA_ONLY
def test_people_get_mail_with_what_happened_why_and_what_to_do(place: Place) -> None:
    with MailServer() as server:
        url = f"mailto://127.0.0.1:{server.port}?from=s@example.com&to={{owner_email}}&format=text"
        routes = write_routes(place, f'[routes.mail]\nurl = "{url}"\n', default=["mail"])
        notifier(place, routes)

        place.produce([told("acme")])

        assert eventually(lambda: server.mails, within_seconds=30), place.logs()
        (mail,) = server.mails
    message = message_from_string(mail.text)
    text = message.get_payload(decode=True)
    assert isinstance(text, bytes)
    assert "rep7@example.com" in mail.to[0]
    assert "Acme Inc: high value page" in message["Subject"]
    assert "Next: Call while they are reading." in text.decode()


@KAFKA_ONLY
def test_the_same_alerts_again_deliver_nothing_even_after_a_restart(
    place: Place, crm: Receiver
) -> None:
    routes = write_routes(place, webhook("crm", crm))
    running = notifier(place, routes)
    hour = [told("acme", n) for n in range(20)]
    place.produce([*hour, *hour])
    crm.wait_taken(20)
    wait_drained(running)
    assert running.terminate(within_seconds=20) == 0

    again = notifier(place, routes)
    place.produce([*hour, told("acme", 99)])
    taken = crm.wait_taken(21)
    wait_drained(again)

    assert [each["cause"]["id"] for each in taken] == [*(f"e{n}" for n in range(20)), "e99"]
    assert len(crm.posted) == 21


@KAFKA_ONLY
def test_alerts_of_a_replay_are_delivered_only_when_that_is_asked_for(
    place: Place, crm: Receiver
) -> None:
    routes = write_routes(place, webhook("crm", crm))
    replayed = [told("acme", n, clock="event", at="2024-01-01T00:00:00Z") for n in range(3)]
    running = notifier(place, routes)
    place.produce([*replayed, told("acme", 9)])
    assert [each["clock"] for each in crm.wait_taken(1)] == ["wall"]
    assert running.metric("surgeline_notifications_total", outcome="skipped") == 3
    running.terminate(within_seconds=20)

    notifier(place, routes, SURGELINE_NOTIFY_REPLAYS="true")
    place.produce(replayed)

    assert [each["clock"] for each in crm.wait_taken(4)] == ["wall", "event", "event", "event"]


@KAFKA_ONLY
def test_an_alert_that_is_no_news_any_more_is_recorded_as_expired(
    place: Place, crm: Receiver
) -> None:
    notifier(place, write_routes(place, webhook("crm", crm, "max_age_hours = 1.0")))
    long_ago = (dt.datetime.now(dt.UTC) - dt.timedelta(hours=2)).isoformat()

    place.produce([told("acme", 0, at=long_ago), told("acme", 1)])

    assert outcomes(place, 2) == ["delivered", "expired"]
    assert [each["cause"]["id"] for each in crm.taken] == ["e1"]


@KAFKA_ONLY
def test_what_is_held_in_quiet_hours_survives_a_restart_and_comes_as_one_digest(
    place: Place, crm: Receiver
) -> None:
    ends = (dt.datetime.now(dt.UTC) + dt.timedelta(seconds=25)).replace(microsecond=0)
    hours = (
        f'quiet_hours = {{ from = "{_clock(ends, -3_600)}", to = "{_clock(ends)}", zone = "UTC" }}'
    )
    routes = write_routes(place, webhook("crm", crm, hours, 'urgent = ["high"]'))
    running = notifier(place, routes)
    place.produce([told("acme", 0), told("globex", 1), told("acme", 2, severity="high")])
    assert [each["severity"] for each in crm.wait_taken(1)] == ["high"]
    assert eventually(
        lambda: running.metric("surgeline_notifications_held") == 2, within_seconds=20
    )
    running.kill()

    notifier(place, routes)

    assert eventually(lambda: len(crm.posted) == 2, within_seconds=60), place.logs()
    digest = crm.posted[1].json
    assert dt.datetime.now(dt.UTC) >= ends
    assert digest["type"] == "digest"
    assert sorted(each["account_id"] for each in digest["alerts"]) == ["acme", "globex"]
    assert outcomes(place, 3) == ["delivered", "digested", "digested"]


def _clock(moment: dt.datetime, seconds: int = 0) -> str:
    return (moment + dt.timedelta(seconds=seconds)).strftime("%H:%M:%S")


@KAFKA_ONLY
def test_what_is_too_much_for_an_owner_comes_as_a_digest_and_others_are_not_limited(
    place: Place, crm: Receiver
) -> None:
    limit = "rate_limit = { alerts = 2, minutes = 60 }"
    notifier(place, write_routes(place, webhook("crm", crm, limit, "digest_minutes = 0.05")))

    mine = [told("acme", n) for n in range(6)]
    place.produce([*mine, told("globex", 7, owner_id="rep-8")])

    assert outcomes(place, 7) == ["delivered"] * 3 + ["digested"] * 4
    singles = [each.json["alert"] for each in crm.posted if each.json["type"] == "alert"]
    (digest,) = [each.json for each in crm.posted if each.json["type"] == "digest"]
    assert sorted(each["cause"]["id"] for each in singles) == ["e0", "e1", "e7"]
    assert [each["cause"]["id"] for each in digest["alerts"]] == ["e2", "e3", "e4", "e5"]


@KAFKA_ONLY
def test_a_muted_account_is_not_told_of_until_it_is_unmuted(place: Place, crm: Receiver) -> None:
    notifier(place, write_routes(place, webhook("crm", crm)))
    muted = place.run("mute", "account", "acme", "--for", "4h", "--by", "me")
    assert muted.returncode == 0, muted.stderr
    assert eventually(lambda: _is_muted(place), within_seconds=30)

    lifted = place.run("unmute", "account", "acme")

    assert lifted.returncode == 0, lifted.stderr
    assert eventually(lambda: not _is_muted(place), within_seconds=30)


def _is_muted(place: Place) -> bool:
    """Ask by an alert of its own: nothing else says when the notifier has heard of it."""
    number = time.time_ns()
    sent = told("acme", number)
    place.produce([sent])
    key = f"{alert_json('acme', number)['id']}|crm".encode()
    found = place.read("deliveries", lambda all_: any(each.key == key for each in all_))
    outcome: str = next(each for each in found if each.key == key).json["outcome"]
    return outcome == "muted"


@KAFKA_ONLY
def test_a_muted_rule_is_muted_for_a_notifier_that_starts_later(
    place: Place, crm: Receiver
) -> None:
    assert place.run("mute", "rule", "surge_started", "--for", "1h").returncode == 0

    notifier(place, write_routes(place, webhook("crm", crm)))
    place.produce([told("acme", 0, rule="surge_started"), told("acme", 1)])

    assert outcomes(place, 2) == ["delivered", "muted"]


@KAFKA_ONLY
def test_what_no_try_delivers_becomes_a_dead_letter_with_the_reason(place: Place) -> None:
    gone = Receiver()
    notifier(place, write_routes(place, webhook("crm", gone, HASTY)))

    place.produce([told("acme")])

    (letter,) = place.read("dead-letters", bool)
    assert outcomes(place, 1) == ["dead"]
    assert letter.headers["surgeline-reason"] == b"undeliverable"
    assert letter.headers["surgeline-topic"] == b"alerts"
    assert b"route crm: no connection" in letter.headers["surgeline-detail"]
    assert letter.json["account_id"] == "acme"


@KAFKA_ONLY
def test_a_dead_letter_that_is_replayed_is_tried_again_and_delivered_once(place: Place) -> None:
    crm = Receiver()
    running = notifier(place, write_routes(place, webhook("crm", crm, HASTY)))
    record = told("acme")
    place.produce([record])
    assert outcomes(place, 1) == ["dead"]
    crm.start()

    asyncio.run(produce_again(place, record, times=2))

    assert eventually(
        lambda: running.metric("surgeline_notifications_total", outcome="delivered") == 1,
        within_seconds=20,
    )
    place.produce([told("acme", 1)])
    assert [each["cause"]["id"] for each in crm.wait_taken(2)] == ["e0", "e1"]
    crm.stop()


async def produce_again(place: Place, record: Sent, *, times: int) -> None:
    async with _aiokafka.AIOKafkaProducer(bootstrap_servers=place.kafka) as producer:
        for _ in range(times):
            await producer.send_and_wait(
                f"{place.prefix}{record.topic}",
                record.value,
                record.key,
                partition=record.partition,
                headers=[("surgeline-replayed-from", b"0/0")],
            )


@KAFKA_ONLY
def test_what_is_no_alert_is_a_dead_letter_and_the_next_goes_on(
    place: Place, crm: Receiver
) -> None:
    notifier(place, write_routes(place, webhook("crm", crm)))
    good = told("acme")

    place.produce([Sent("alerts", b"{", b"acme", good.partition), good])

    assert len(crm.wait_taken(1)) == 1
    (letter,) = place.read("dead-letters", bool)
    assert letter.headers["surgeline-reason"] == b"not_json"


@KAFKA_ONLY
def test_what_was_held_for_a_route_that_is_gone_is_a_dead_letter(
    place: Place, crm: Receiver
) -> None:
    limit = "rate_limit = { alerts = 1, minutes = 60 }"
    first = notifier(place, write_routes(place, webhook("crm", crm, limit)))
    place.produce([told("acme", 0), told("acme", 1)])
    assert eventually(lambda: first.metric("surgeline_notifications_held") == 1, within_seconds=20)
    first.terminate(within_seconds=20)

    notifier(place, write_routes(place, webhook("other", crm), default=["other"]))

    assert outcomes(place, 2) == ["dead", "delivered"]
    (letter,) = place.read("dead-letters", bool)
    assert b"no such route" in letter.headers["surgeline-detail"]


@KAFKA_ONLY
def test_alerts_are_listed_the_newest_last_and_each_once(place: Place) -> None:
    records = [told("acme", n, at=f"2026-01-0{n + 1}T00:00:00Z") for n in range(3)]
    place.produce([*records, records[0], told("globex", 9, at="2026-01-02T12:00:00Z")])

    every = rows(place.run("alerts", "--json").stdout)
    of_one = rows(place.run("alerts", "--json", "--account", "acme", "--limit", "2").stdout)
    shown = place.run("alerts").stdout

    assert [each["cause"]["id"] for each in every] == ["e0", "e1", "e9", "e2"]
    assert [each["cause"]["id"] for each in of_one] == ["e1", "e2"]
    assert shown.splitlines()[-1].count("ann of Acme Inc spent 2 min on /pricing (2).") == 1


def test_a_sample_is_sent_to_a_route_on_request(place: Place, crm: Receiver) -> None:
    routes = write_routes(place, webhook("crm", crm), webhook("gone", Receiver()))

    sent = place.run("notify", "test", "crm", "--routes", routes)
    failed = place.run("notify", "test", "gone", "--routes", routes)
    unknown = place.run("notify", "test", "nobody", "--routes", routes)

    assert sent.returncode == 0, sent.stderr
    assert crm.posted[0].json["test"] is True
    assert (failed.returncode, unknown.returncode) == (1, 1)
    assert "Route gone does not take it: no connection" in failed.stderr
    assert "There is no route nobody; the file has: crm, gone." in unknown.stderr


def test_a_wrong_file_ends_the_start_with_one_sentence(place: Place) -> None:
    routes = write_routes(place, "[routes.crm]\nurl = 5\n")

    done = place.run("notifier", "--routes", routes, SURGELINE_LOG_FORMAT="text")

    assert done.returncode == 1
    assert "routes.crm.url: Input should be a valid string." in done.stderr
    assert "Traceback" not in done.stderr


@KAFKA_ONLY
def test_no_log_line_holds_an_address_or_a_key(place: Place) -> None:
    running = notifier(
        place,
        write_routes(place, webhook("crm", Receiver(), QUICK)),
        SURGELINE_LOG_LEVEL="debug",
    )

    place.produce([told("acme")])

    assert eventually(
        lambda: running.metric("surgeline_notification_failures_total") > 2, within_seconds=20
    )
    assert SECRET not in running.log()
    assert "/hook" not in running.log()
