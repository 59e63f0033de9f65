"""The resolver with exactly the rights that deploy/kafka and deploy/redis give it."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.directory import account, identify
from tests.integration.worker_kit import Place, Servers, record_of
from tests.secure_servers import (
    Pki,
    SecureRedis,
    apply_kafka_rules,
    kafka_settings,
    secure_redis,
)
from tests.servers import KafkaServer
from tests.system.harness import Json

pytestmark = [pytest.mark.kafka]

RESOLVER = "surgeline-operator"
"""Stands for the resolver in Kafka: the rules of the operator are given to nobody here."""
AS_OF = "2026-02-01T00:00:00Z"


@pytest.fixture(scope="module")
def redis_(pki: Pki) -> Iterator[SecureRedis]:
    with secure_redis(pki) as server:
        yield server


@pytest.fixture
def place(secure: KafkaServer, redis_: SecureRedis, pki: Pki, tmp_path: Path) -> Iterator[Place]:
    servers = Servers(secure.address, redis_.test_url, "6", redis_is_own=True)
    own = redis_.settings("worker", **pki.client("REDIS"))
    with Place(servers, tmp_path, **own) as found:
        apply_kafka_rules(
            secure,
            tmp_path,
            SURGELINE_TOPIC_PREFIX=found.prefix,
            SURGELINE_GROUP=found.group,
            RESOLVER=f"User:{RESOLVER}",
            OPERATOR="User:nobody",
        )
        found.declare_topics()
        yield found


def visits() -> list[Json]:
    common = {"source": "web", "type": "page_visit", "url": "https://x.example/"}
    return [
        common | {"id": f"v{n}", "time": f"2026-01-1{n}T00:00:00Z", "anonymous_id": "a"}
        for n in range(4)
    ]


def test_the_resolver_feeds_the_directory_and_attributes_by_its_rules(
    place: Place, secure: KafkaServer, redis_: SecureRedis, pki: Pki
) -> None:
    worker = kafka_settings(secure.listeners["SASL"], "surgeline-worker", "SCRAM-SHA-512", pki)
    own = kafka_settings(secure.listeners["SASL"], RESOLVER, "SCRAM-SHA-512", pki)
    place.ready_worker(**worker)
    place.redis.acl_log_reset()
    resolver = place.ready_resolver(**own, **redis_.settings("resolver"))

    place.produce([record_of(each) for each in visits()])
    place.wait_resolved()
    known = [account("acme", "acme.com"), identify("a", at=AS_OF, email="x@acme.com")]
    place.produce([record_of(each) for each in known])
    place.wait_resolved()

    (found,) = place.answer("account", "acme", "--as-of", AS_OF)
    assert found["events"] == 4, place.logs()
    log: Any = place.redis.acl_log()
    denied = {(e["username"], e["object"]) for e in log if not e["object"].startswith("client|")}
    assert denied == set()
    assert resolver.terminate(within_seconds=20) == 0
