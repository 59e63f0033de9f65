"""The notifier on a Kafka that lets each user do what deploy/kafka/acls.sh gives it, and no more."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.notifier_kit import (
    HASTY,
    Receiver,
    notifier,
    outcomes,
    receiving,
    told,
    webhook,
    write_routes,
)
from tests.integration.worker_kit import Place, Servers
from tests.secure_servers import Pki, apply_kafka_rules, kafka_settings
from tests.servers import KafkaServer, RedisServer
from tests.system.harness import rows

pytestmark = [pytest.mark.kafka]

USER = "surgeline-worker"
"""Stands for the notifier: the rules of the worker are given to nobody here."""


@pytest.fixture
def place(secure: KafkaServer, redis_server: RedisServer, tmp_path: Path) -> Iterator[Place]:
    servers = Servers(secure.address, redis_server.url, "6")
    with Place(servers, tmp_path) as found:
        apply_kafka_rules(
            secure,
            tmp_path,
            SURGELINE_TOPIC_PREFIX=found.prefix,
            SURGELINE_GROUP=found.group,
            NOTIFIER=f"User:{USER}",
            WORKER="User:nobody",
        )
        yield found


def test_the_notifier_delivers_and_buries_by_its_rules(
    place: Place, secure: KafkaServer, pki: Pki
) -> None:
    def user(role: str) -> dict[str, str]:
        return kafka_settings(secure.listeners["SASL"], role, "SCRAM-SHA-512", pki)

    declared = place.run("topics", "--create", **user("surgeline-operator"))
    assert declared.returncode == 0, declared.stderr
    muted = place.run("mute", "account", "mum", "--for", "1h", **user("surgeline-operator"))
    assert muted.returncode == 0, muted.stderr
    gone = Receiver()
    with receiving() as crm:
        routes = write_routes(
            place,
            webhook("crm", crm),
            webhook("gone", gone, HASTY, "rules = ['lost']"),
            default=["crm", "gone"],
        )
        running = notifier(place, routes, **user(USER))
        place.produce([told("acme"), told("mum"), told("acme", 1, rule="lost")])

        assert outcomes(place, 4) == ["dead", "delivered", "delivered", "muted"]
    assert place.read("dead-letters", bool)
    listed = place.run("alerts", "--json", **user("surgeline-reader"))
    assert len(rows(listed.stdout)) == 3, listed.stderr
    assert running.terminate(within_seconds=20) == 0


def test_a_user_who_may_not_be_in_the_notifier_s_group_is_refused(
    place: Place, secure: KafkaServer, pki: Pki
) -> None:
    producer = kafka_settings(secure.listeners["SASL"], "surgeline-producer", "PLAIN", pki)
    place.declare_topics()

    done = place.run("notifier", SURGELINE_LOG_FORMAT="text", **producer)

    assert done.returncode == 1
    assert f"to use consumer group {place.group}-notifier" in done.stderr
