from collections.abc import Iterator

import pytest

from tests.integration.worker_kit import Servers
from tests.secure_servers import Pki, secure_kafka
from tests.servers import KafkaServer, require_servers

EMBEDDED_OR_KAFKA = (
    pytest.param("embedded", marks=pytest.mark.embedded),
    pytest.param("kafka", marks=pytest.mark.kafka),
)


@pytest.fixture(scope="module", params=EMBEDDED_OR_KAFKA)
def servers(request: pytest.FixtureRequest) -> Servers:
    """Give the session's servers of each kind: embedded, then Apache Kafka with Redis."""
    if request.param == "embedded":
        embedded = request.getfixturevalue("embedded_servers")
        return Servers(embedded.kafka, embedded.redis_url, session_seconds="3")
    kafka = request.getfixturevalue("kafka_server")
    return Servers(kafka.address, request.getfixturevalue("redis_server").url, session_seconds="6")


KAFKA_ONLY = pytest.mark.parametrize("servers", [EMBEDDED_OR_KAFKA[1]], indirect=True)
"""For slow tests to which the kind of broker makes no difference: the other run pays for them."""


@pytest.fixture(scope="session")
def pki(tmp_path_factory: pytest.TempPathFactory) -> Pki:
    """Give the certificates of the session's servers with TLS."""
    return Pki(tmp_path_factory.mktemp("pki"))


@pytest.fixture(scope="session")
def secure(pki: Pki) -> Iterator[KafkaServer]:
    """Give the Kafka with TLS, users and access rules of this process; places have their own rules."""
    require_servers(own=True)
    with secure_kafka(pki) as server:
        yield server
