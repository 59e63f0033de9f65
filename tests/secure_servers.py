"""Kafka and Redis as they should run: TLS, users, and exactly the access rules in deploy/."""

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pytest

from stream.embedded import find_redis, free_port, redis_process_id
from tests.certificates import Authority, Signed
from tests.kafka_node import SHORT_LIVED, ServerUnavailable, find_jars, find_java
from tests.server_hosts import LocalProcess
from tests.servers import LOOPBACK, KafkaServer, Server, run_apart

ROOT = Path(__file__).parents[1]
REDIS_USERS = ROOT / "deploy" / "redis" / "users.acl.example"
KAFKA_RULES = ROOT / "deploy" / "kafka" / "acls.sh"
CANARY = "c4n4ry-"
"""What every password begins with; it must never be seen."""
KAFKA_ROLES = ("worker", "collector", "producer", "reader", "operator")
KAFKA_USERS = tuple(f"surgeline-{role}" for role in KAFKA_ROLES)
MECHANISMS = ("PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512")

_RULES = """\
import java.nio.file.*;

public class Rules {
    public static void main(String[] files) throws Exception {
        for (String call : Files.readAllLines(Path.of(files[0])))
            org.apache.kafka.tools.AclCommand.main(call.split("\\t"));
    }
}
"""
"""Calls kafka-acls once a line: a Java of its own for each of the rules takes half a minute."""
_MODULES = "org.apache.kafka.common.security"


def password_of(user: str) -> str:
    """Return the right password of *user*."""
    return f"{CANARY}{user}"


class Pki:
    """The certificates of one test module, and of an authority that nobody trusts."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.trusted = Authority(directory)
        self.stranger = Authority(directory, "stranger")
        self.server = self.trusted.sign("server", hosts=(LOOPBACK,))
        self.elsewhere = self.trusted.sign("elsewhere", hosts=("elsewhere.example",))
        self.worker = self.trusted.sign("surgeline-worker")
        self.forged = self.stranger.sign("forged-worker")

    def client(self, server: str, signed: Signed | None = None) -> dict[str, str]:
        """Return the settings of TLS with *server*, KAFKA or REDIS."""
        settings = {f"SURGELINE_{server}_CA_FILE": str(self.trusted.file)}
        if signed is not None:
            settings[f"SURGELINE_{server}_CERT_FILE"] = str(signed.certificate)
            settings[f"SURGELINE_{server}_KEY_FILE"] = str(signed.key)
        return settings


@contextmanager
def secure_kafka(pki: Pki) -> Iterator[KafkaServer]:
    """Run Kafka with access control and four more listeners.

    SASL (TLS with password), MTLS (client certificate), CLEAR (password without TLS) and
    ELSEWHERE (TLS with another host's certificate). On the one without security everybody may
    do everything: it is for the test itself.
    """
    config = {
        "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
        "super.users": "User:ANONYMOUS",
        "ssl.keystore.type": "PEM",
        "ssl.keystore.location": str(pki.server.both),
        "ssl.truststore.type": "PEM",
        "ssl.truststore.location": str(pki.trusted.file),
        "listener.name.elsewhere.ssl.keystore.location": str(pki.elsewhere.both),
        "listener.name.mtls.ssl.client.auth": "required",
        "listener.name.mtls.ssl.principal.mapping.rules": "RULE:^CN=(.*)$/$1/",
        "sasl.enabled.mechanisms": "",
        **_sasl("sasl", MECHANISMS),
        **_sasl("clear", ("PLAIN",)),
    }
    scram = [
        f"--add-scram={mechanism}=[name={user},password={password_of(user)}]"
        for mechanism in MECHANISMS[1:]
        for user in KAFKA_USERS
    ]
    listeners = {"SASL": "SASL_SSL", "MTLS": "SSL", "CLEAR": "SASL_PLAINTEXT", "ELSEWHERE": "SSL"}
    with KafkaServer(config=config, listeners=listeners, format_arguments=scram) as server:
        yield server


def _sasl(listener: str, mechanisms: tuple[str, ...]) -> dict[str, str]:
    users = " ".join(f'user_{user}="{password_of(user)}"' for user in KAFKA_USERS)
    modules = {
        "PLAIN": f"{_MODULES}.plain.PlainLoginModule required {users};",
        "SCRAM-SHA-256": f"{_MODULES}.scram.ScramLoginModule required;",
        "SCRAM-SHA-512": f"{_MODULES}.scram.ScramLoginModule required;",
    }
    of = f"listener.name.{listener}"
    return {f"{of}.sasl.enabled.mechanisms": ",".join(mechanisms)} | {
        f"{of}.{each.lower()}.sasl.jaas.config": modules[each] for each in mechanisms
    }


def apply_kafka_rules(kafka: KafkaServer, directory: Path, **settings: str) -> None:
    """Run deploy/kafka/acls.sh with Kafka's own kafka-acls, all of its calls in one Java."""
    calls, program, source = (directory / name for name in ("calls", "kafka-acls.sh", "Rules.java"))
    program.write_text(f"#!/bin/sh\nIFS='\t'\nprintf '%s\\n' \"$*\" >> '{calls}'\n")
    program.chmod(0o755)
    source.write_text(_RULES)
    env = {**os.environ, "SURGELINE_KAFKA_URL": kafka.address, "KAFKA_ACLS": str(program)}
    calls.unlink(missing_ok=True)
    java = [find_java(), *SHORT_LIVED, "-cp", f"{find_jars()}/*"]
    commands: list[list[str | Path]] = [[KAFKA_RULES], [*java, source, calls]]
    for command in commands:
        done = subprocess.run(
            command, env=env | settings, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr


class SecureRedis(Server):
    """Redis that speaks TLS alone, with the users of deploy/redis and one for the test itself."""

    def __init__(self, pki: Pki, *, certificate: Signed, wants_certificates: bool = False) -> None:
        directory = Path(tempfile.mkdtemp(prefix="surgeline-redis-"))
        port = free_port()
        users = REDIS_USERS.read_text(encoding="utf-8")
        for role in ("worker", "resolver", "exporter", "reader", "operator"):
            users = users.replace(f"CHANGE-ME-{role.upper()}", password_of(f"surgeline-{role}"))
        assert "CHANGE-ME" not in users
        users += f"user test on >{password_of('test')} ~* &* +@all\n"
        (directory / "users.acl").write_text(users, encoding="utf-8")
        options = {
            "bind": LOOPBACK,
            "port": "0",
            "tls-port": str(port),
            "tls-cert-file": str(certificate.certificate),
            "tls-key-file": str(certificate.key),
            "tls-ca-cert-file": str(pki.trusted.file),
            "tls-auth-clients": "yes" if wants_certificates else "no",
            "aclfile": str(directory / "users.acl"),
            "save": "",
        }
        command = [find_redis(), *(part for k, v in options.items() for part in (f"--{k}", v))]
        host = LocalProcess(command, directory=directory, environment={})
        super().__init__(host, at=(LOOPBACK, port), directory=directory)
        self.url = f"rediss://{LOOPBACK}:{port}/0"
        self._own = "ssl_check_hostname=false&" + "&".join(
            f"{name}={file}"
            for name, file in (
                ("ssl_ca_certs", pki.trusted.file),
                ("ssl_certfile", pki.worker.certificate),
                ("ssl_keyfile", pki.worker.key),
            )
        )

    @property
    def test_url(self) -> str:
        """Return the URL by which the test itself does everything."""
        return self.url.replace("://", f"://test:{password_of('test')}@") + f"?{self._own}"

    def settings(self, role: str, **others: str) -> dict[str, str]:
        """Return the settings of the user of *role*."""
        return {
            "SURGELINE_REDIS_URL": self.url,
            "SURGELINE_REDIS_USERNAME": f"surgeline-{role}",
            "SURGELINE_REDIS_PASSWORD": password_of(f"surgeline-{role}"),
            **others,
        }

    def _answers(self) -> bool:
        return run_apart(redis_process_id(self.test_url)) == self.pid


@contextmanager
def secure_redis(pki: Pki, **options: object) -> Iterator[SecureRedis]:
    """Run a Redis with TLS and users; skip the test where none here is built with TLS."""
    try:
        server = SecureRedis(pki, **{"certificate": pki.server, **options})  # type: ignore[arg-type]
        with server:
            yield server
    except ServerUnavailable as error:
        if "tls" not in str(error).lower():
            raise
        pytest.skip(f"{shutil.which('redis-server') or 'The Redis here'} is built without TLS.")


def kafka_settings(address: str, user: str, mechanism: str, pki: Pki) -> dict[str, str]:
    """Return the settings of *user* at the listener SASL."""
    return {
        "SURGELINE_KAFKA_URL": address,
        "SURGELINE_KAFKA_SECURITY": "sasl_tls",
        "SURGELINE_KAFKA_MECHANISM": mechanism,
        "SURGELINE_KAFKA_USERNAME": user,
        "SURGELINE_KAFKA_PASSWORD": password_of(user),
        **pki.client("KAFKA"),
    }


def seen_in(text: str | Mapping[str, str]) -> bool:
    """Tell whether a password is in *text*."""
    return CANARY in str(text)
