"""Kafka over TLS with users and access rules: every way in, and every refusal."""

import asyncio
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import aiokafka
import aiokafka.admin
import httpx
import pytest
from aiokafka.errors import TopicAuthorizationFailedError

from stream.kafka_security import client_arguments
from stream.settings import Settings
from tests.integration.worker_kit import Place, Servers
from tests.secure_servers import (
    CANARY,
    MECHANISMS,
    Pki,
    apply_kafka_rules,
    kafka_settings,
    password_of,
)
from tests.servers import KafkaServer, RedisServer
from tests.system.harness import PATIENCE, market, write_lines

# aiokafka's own types are incomplete.
_aiokafka: Any = aiokafka
_admin: Any = aiokafka.admin

pytestmark = [pytest.mark.kafka]

WAYS = (*MECHANISMS, "certificate")
TOPIC_DENIED = TopicAuthorizationFailedError.errno
ANSWER_SECONDS = 15


@pytest.fixture(scope="module")
def place(
    secure: KafkaServer, redis_server: RedisServer, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Place]:
    """Give a place with the rules of deploy/kafka, and the topics that its operator declared."""
    directory = tmp_path_factory.mktemp("place")
    servers = Servers(secure.address, redis_server.url, "6")
    debug = {"SURGELINE_LOG_LEVEL": "debug", "SURGELINE_LOG_FORMAT": "text"}
    with Place(servers, directory, **debug) as place:
        names = {"SURGELINE_TOPIC_PREFIX": place.prefix, "SURGELINE_GROUP": place.group}
        apply_kafka_rules(secure, directory, **names)
        yield place


class Access:
    """The settings by which users come in."""

    def __init__(self, secure: KafkaServer, pki: Pki) -> None:
        self._secure = secure
        self._pki = pki

    def user(self, role: str, way: str = "SCRAM-SHA-512") -> dict[str, str]:
        """Return the settings of the user of *role*; a certificate there is for the worker only."""
        if way == "certificate":
            assert role == "worker"
            return self.certificate()
        user = f"surgeline-{role}"
        return kafka_settings(self._secure.listeners["SASL"], user, way, self._pki)

    def certificate(self, **others: str) -> dict[str, str]:
        """Return the settings of the worker's certificate."""
        return {
            "SURGELINE_KAFKA_URL": self._secure.listeners["MTLS"],
            "SURGELINE_KAFKA_SECURITY": "tls",
            **self._pki.client("KAFKA", self._pki.worker),
            **others,
        }

    def clear(self, **others: str) -> dict[str, str]:
        """Return the settings of a password without TLS."""
        return {
            "SURGELINE_KAFKA_URL": self._secure.listeners["CLEAR"],
            "SURGELINE_KAFKA_SECURITY": "sasl_plaintext",
            "SURGELINE_KAFKA_MECHANISM": "PLAIN",
            "SURGELINE_KAFKA_USERNAME": "surgeline-reader",
            "SURGELINE_KAFKA_PASSWORD": password_of("surgeline-reader"),
            "SURGELINE_KAFKA_ALLOW_CLEARTEXT": "true",
            **others,
        }


@pytest.fixture(scope="module")
def access(secure: KafkaServer, pki: Pki) -> Access:
    return Access(secure, pki)


def run(place: Place, *arguments: str, **settings: str) -> "subprocess.CompletedProcess[str]":
    """Run a command, and look that it shows no password."""
    done = place.run(*arguments, **settings)
    assert CANARY not in done.stdout + done.stderr
    return done


def refused(place: Place, *arguments: str, **settings: str) -> str:
    """Return the last line of a command that refused, with neither password nor traceback."""
    done = run(place, *arguments, **settings)
    assert done.returncode == 1, done.stderr
    assert "Traceback" not in done.stderr
    return done.stderr.splitlines()[-1]


@pytest.mark.parametrize("mechanism", MECHANISMS)
def test_wrong_password_is_refused(mechanism: str, place: Place, access: Access) -> None:
    wrong = access.user("reader", mechanism) | {"SURGELINE_KAFKA_PASSWORD": f"{CANARY}wrong"}

    sentence = refused(place, "topics", **wrong)

    assert "SURGELINE_KAFKA_USERNAME=surgeline-reader" in sentence
    assert "SURGELINE_KAFKA_PASSWORD" in sentence


@pytest.mark.parametrize("command", ["worker", "replay"])
def test_wrong_password_is_not_waited_on(
    command: str, place: Place, access: Access, tmp_path: Path
) -> None:
    wrong = access.user("worker") | {"SURGELINE_KAFKA_PASSWORD": f"{CANARY}wrong"}
    files = [str(write_lines(tmp_path / "none.jsonl", []))] if command == "replay" else []

    assert "SURGELINE_KAFKA_PASSWORD" in refused(place, command, *files, **wrong)


def test_mechanism_that_kafka_does_not_offer_is_refused(place: Place, access: Access) -> None:
    other = access.clear(SURGELINE_KAFKA_MECHANISM="SCRAM-SHA-256")

    assert "SURGELINE_KAFKA_MECHANISM=SCRAM-SHA-256" in refused(place, "topics", **other)


def test_unknown_authority_is_refused(place: Place, access: Access, pki: Pki) -> None:
    strangers = {"SURGELINE_KAFKA_CA_FILE": str(pki.stranger.file)}

    assert "SURGELINE_KAFKA_CA_FILE" in refused(
        place, "topics", **access.user("reader") | strangers
    )


def test_certificate_of_another_host_is_refused(
    place: Place, access: Access, secure: KafkaServer
) -> None:
    elsewhere = access.certificate(SURGELINE_KAFKA_URL=secure.listeners["ELSEWHERE"])

    assert "another host" in refused(place, "topics", **elsewhere)


def test_client_certificate_must_be_one_that_kafka_trusts(
    place: Place, access: Access, pki: Pki
) -> None:
    forged = access.certificate(**pki.client("KAFKA", pki.forged))
    none = access.certificate(SURGELINE_KAFKA_CERT_FILE="", SURGELINE_KAFKA_KEY_FILE="")

    assert "SURGELINE_KAFKA_CERT_FILE" in refused(place, "topics", **forged)
    assert "SURGELINE_KAFKA_CERT_FILE" in refused(place, "topics", **none)


def test_wrong_protocol_is_hinted_at(place: Place, access: Access, secure: KafkaServer) -> None:
    without = {"SURGELINE_KAFKA_URL": secure.listeners["SASL"]}
    needless = access.certificate(SURGELINE_KAFKA_URL=secure.address)

    assert "SURGELINE_KAFKA_SECURITY=plaintext" in refused(place, "topics", **without)
    assert "SURGELINE_KAFKA_SECURITY=tls" in refused(place, "topics", **needless)


def test_password_goes_without_tls_only_with_consent(place: Place, access: Access) -> None:
    silent = access.clear(SURGELINE_KAFKA_ALLOW_CLEARTEXT="")

    assert run(place, "topics", **access.clear()).returncode == 0
    assert "SURGELINE_KAFKA_ALLOW_CLEARTEXT" in refused(place, "topics", **silent)


def test_worker_cannot_declare_topics(place: Place, access: Access) -> None:
    assert "does not allow us to create" in refused(place, "worker", **access.user("worker"))


def test_operator_declares_topics(place: Place, access: Access) -> None:
    done = run(place, "topics", "--create", "--json", **access.user("operator"))

    assert done.returncode == 0, done.stderr


def test_reader_lists_topics_with_their_retention(place: Place, access: Access) -> None:
    rows = place.answer("topics", **access.user("reader"))

    assert all(each["declared"] for each in rows)
    assert all(each["retention_ms"] for each in rows if not each["compacted"])


@pytest.mark.parametrize("way", WAYS)
def test_worker_scores_by_every_way_in(
    way: str, place: Place, access: Access, tmp_path: Path
) -> None:
    sender = access.user("producer", way if way in MECHANISMS else "PLAIN")
    events = [each | {"source": way} for each in market(WAYS.index(way), events=100)]
    before = place.committed()

    with_worker = place.ready_worker(**access.user("worker", way))
    done = run(place, "replay", str(write_lines(tmp_path / "e.jsonl", events)), "--wait", **sender)

    assert done.returncode == 0, done.stderr
    assert place.committed() == before + len(events)
    shown = with_worker.log() + with_worker.get("/metrics")[1] + with_worker.get("/readyz")[1]
    assert "surgeline_" in shown
    assert CANARY not in shown
    assert with_worker.terminate(within_seconds=ANSWER_SECONDS) == 0


def test_worker_announces_by_its_rules(place: Place) -> None:
    assert place.outbox() == 0
    assert place.read("score-changes", lambda found: len(found) > 0)


def test_collector_takes_events_by_its_rules(place: Place, access: Access) -> None:
    collector = place.ready_collector(**access.user("collector"))
    visit = {"type": "page", "messageId": "c1", "properties": {"url": "https://x.example/"}}

    answer = httpx.post(f"{collector.url}/v1/page", json=visit, auth=("web", ""), timeout=20)

    assert answer.json() == {"success": True}
    assert place.read("page-visits", lambda found: any(r.json["id"] == "c1" for r in found))
    assert CANARY not in collector.log()
    assert collector.terminate(within_seconds=ANSWER_SECONDS) == 0


@pytest.mark.parametrize("role", ["producer", "operator"])
def test_others_cannot_score(role: str, place: Place, access: Access) -> None:
    sentence = refused(place, "worker", **access.user(role))

    assert f"does not allow user surgeline-{role} to use consumer group" in sentence


def test_reader_cannot_send_events(place: Place, access: Access, tmp_path: Path) -> None:
    file = write_lines(tmp_path / "e.jsonl", market(9, events=10))

    sentence = refused(place, "replay", str(file), **access.user("reader"))

    assert "does not allow user surgeline-reader" in sentence


def test_producer_cannot_reset(place: Place, access: Access) -> None:
    before = place.hashes()

    assert "consumer group" in refused(place, "reset", "--yes", **access.user("producer"))

    assert place.hashes() == before


def settings_of(environment: dict[str, str]) -> Settings:
    names = {name.removeprefix("SURGELINE_").lower(): text for name, text in environment.items()}
    return Settings(**names)  # type: ignore[arg-type]


def test_worker_may_neither_read_nor_write_what_is_not_its_own(
    place: Place, access: Access, secure: KafkaServer
) -> None:
    other = f"{place.prefix}payroll"

    async def denied() -> list[int]:
        async with _admin_of(secure.address) as admin:
            await admin.create_topics([_admin.NewTopic(other, 1, 1)])
        arguments = client_arguments(settings_of(access.user("worker")))
        async with _admin_of(**arguments) as admin:
            created = await admin.create_topics([_admin.NewTopic(f"{other}2", 1, 1)])
            deleted = await admin.delete_topics([f"{place.prefix}page-visits"])
        async with _aiokafka.AIOKafkaProducer(**arguments) as producer:
            with pytest.raises(TopicAuthorizationFailedError):
                await producer.send_and_wait(other, b"1")
        return [
            created.to_object()["topic_errors"][0]["error_code"],
            deleted.to_object()["topic_error_codes"][0]["error_code"],
        ]

    assert asyncio.run(denied()) == [TOPIC_DENIED, TOPIC_DENIED]


@pytest.mark.parametrize("role", ["producer", "reader", "collector"])
def test_others_cannot_read_events(role: str, place: Place, access: Access) -> None:
    settings = settings_of(access.user(role))

    async def read() -> None:
        async with _aiokafka.AIOKafkaConsumer(**client_arguments(settings)) as consumer:
            consumer.assign([_aiokafka.TopicPartition(f"{place.prefix}page-visits", 0)])
            await consumer.seek_to_beginning()
            await asyncio.wait_for(consumer.getone(), PATIENCE * ANSWER_SECONDS)

    with pytest.raises(TopicAuthorizationFailedError):
        asyncio.run(read())


def _admin_of(bootstrap_servers: Any, **arguments: Any) -> Any:
    return _Admin(_admin.AIOKafkaAdminClient(bootstrap_servers=bootstrap_servers, **arguments))


class _Admin:
    def __init__(self, client: Any) -> None:
        self._client = client

    async def __aenter__(self) -> Any:
        await self._client.start()
        return self._client

    async def __aexit__(self, *_: object) -> None:
        await self._client.close()
