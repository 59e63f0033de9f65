"""Redis over TLS, with users who may do what their process needs and nothing else."""

import subprocess
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import redis

from tests.integration.worker_kit import Place, Servers, record_of
from tests.secure_servers import CANARY, Pki, SecureRedis, password_of, secure_redis
from tests.servers import KafkaServer
from tests.system.harness import SURGELINE, environment, eventually, market

pytestmark = [pytest.mark.kafka]

STARTS = ("worker", "exporter", "top")
"""Commands that ask Redis first."""
COMMAND_SECONDS = 30
OTHERS_KEY = "another-program"


@pytest.fixture(scope="module")
def secure(pki: Pki) -> Iterator[SecureRedis]:
    with secure_redis(pki) as server:
        yield server


def refused(command: str, **settings: str) -> str:
    """Return the one line with which *command* refused to start, without a password in it."""
    done = subprocess.run(
        [SURGELINE, command],
        capture_output=True,
        text=True,
        env=environment(SURGELINE_LOG_LEVEL="debug", SURGELINE_LOG_FORMAT="text", **settings),
        timeout=COMMAND_SECONDS,
        check=False,
    )
    assert done.returncode == 1, done.stderr
    assert done.stdout == ""
    assert CANARY not in done.stderr
    assert "Traceback" not in done.stderr
    return done.stderr.splitlines()[-1]


@pytest.mark.parametrize("command", STARTS)
def test_wrong_password_ends_the_start(command: str, secure: SecureRedis, pki: Pki) -> None:
    settings = secure.settings("reader", **pki.client("REDIS"))

    sentence = refused(command, **settings | {"SURGELINE_REDIS_PASSWORD": f"{CANARY}wrong"})

    assert "SURGELINE_REDIS_PASSWORD" in sentence


@pytest.mark.parametrize("command", STARTS)
def test_unknown_authority_ends_the_start(command: str, secure: SecureRedis, pki: Pki) -> None:
    strangers = {"SURGELINE_REDIS_CA_FILE": str(pki.stranger.file)}

    sentence = refused(command, **secure.settings("reader", **strangers))

    assert "SURGELINE_REDIS_CA_FILE" in sentence


def test_no_user_ends_the_start(secure: SecureRedis, pki: Pki) -> None:
    sentence = refused("top", SURGELINE_REDIS_URL=secure.url, **pki.client("REDIS"))

    assert "SURGELINE_REDIS_USERNAME" in sentence


def test_certificate_of_another_host_ends_the_start(pki: Pki) -> None:
    with secure_redis(pki, certificate=pki.elsewhere) as server:
        sentence = refused("top", **server.settings("reader", **pki.client("REDIS")))

    assert "SURGELINE_REDIS_URL" in sentence
    assert "another host" in sentence


def test_client_certificate_is_shown_when_redis_wants_one(pki: Pki) -> None:
    with secure_redis(pki, wants_certificates=True) as server:
        with_it = refused("top", **server.settings("reader", **pki.client("REDIS", pki.worker)))
        forged = refused("top", **server.settings("reader", **pki.client("REDIS", pki.forged)))
        without = refused("top", **server.settings("reader", **pki.client("REDIS")))

    assert "holds no Surgeline scores yet" in with_it
    assert "SURGELINE_REDIS_CERT_FILE" in forged
    assert "SURGELINE_REDIS_CERT_FILE" in without


def test_password_may_come_from_a_file(secure: SecureRedis, pki: Pki, tmp_path: Path) -> None:
    file = tmp_path / "password"
    file.write_text(password_of("surgeline-reader") + "\n")
    settings = secure.settings("reader", SURGELINE_REDIS_PASSWORD_FILE=str(file))
    del settings["SURGELINE_REDIS_PASSWORD"]

    assert "holds no Surgeline scores yet" in refused("top", **settings, **pki.client("REDIS"))


@pytest.fixture(scope="module")
def scored(
    secure: SecureRedis, kafka_server: KafkaServer, pki: Pki, tmp_path_factory: Any
) -> Iterator[Place]:
    """Give a place whose worker has scored as the user of deploy/redis for it."""
    servers = Servers(kafka_server.address, secure.test_url, "6", redis_is_own=True)
    directory = tmp_path_factory.mktemp("scored")
    with Place(
        servers,
        directory,
        **secure.settings("worker", **pki.client("REDIS")),
        SURGELINE_LOG_LEVEL="debug",
    ) as place:
        place.redis.set(OTHERS_KEY, "1")
        place.redis.acl_log_reset()
        place.declare_topics()
        place.ready_worker()
        place.wait_scored(place.produce(record_of(each) for each in market(7, events=300)))
        yield place


def denials(place: Place) -> set[tuple[str, str]]:
    """Return (user, what was denied) of all that Redis has denied since it was asked last."""
    entries: Any = place.redis.acl_log()
    place.redis.acl_log_reset()
    # Newer clients introduce themselves, and do without where they may not.
    shown = {(each["username"], each["object"]) for each in entries}
    return {each for each in shown if not each[1].startswith("client|") and each[0] != "default"}


def test_worker_scores_by_its_rules_alone(scored: Place) -> None:
    done = scored.run("doctor")

    assert len(scored.hashes()) > 0
    assert denials(scored) <= {("surgeline-worker", "config|get")}, done.stdout
    assert "may not" not in done.stdout


def test_no_password_is_logged_or_served_by_a_worker(scored: Place) -> None:
    (worker,) = scored.workers

    assert "debug" in worker.log()
    assert CANARY not in worker.log()
    assert CANARY not in worker.get("/metrics")[1] + worker.get("/healthz")[1]


def as_user(secure: SecureRedis, role: str, pki: Pki) -> "redis.Redis":
    return redis.Redis.from_url(
        secure.url,
        username=f"surgeline-{role}",
        password=password_of(f"surgeline-{role}"),
        ssl_ca_certs=str(pki.trusted.file),
    )


def test_reading_commands_read_by_the_readers_rules(scored: Place, secure: SecureRedis) -> None:
    reader = secure.settings("reader")
    denials(scored)

    accounts = scored.answer("top", "--all", **reader)
    one = accounts[0]["account_id"]

    assert scored.answer("account", one, **reader)[0]["account_id"] == one
    assert scored.run("explain", one, **reader).returncode == 0
    assert scored.answer("top", "--limit", "3", **reader) == accounts[:3]
    assert scored.answer("funnel", **reader)
    assert scored.answer("kpis", **reader)
    assert denials(scored) == set()


def test_exporter_exports_by_its_rules(scored: Place, secure: SecureRedis, tmp_path: Path) -> None:
    denials(scored)
    port = tmp_path / "port"
    settings = secure.settings("exporter", SURGELINE_EXPORTER_PORT="0")
    with subprocess.Popen(
        [SURGELINE, "exporter", "--port-file", str(port)],
        env=scored.environment(**settings),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as process:
        try:
            assert eventually(port.exists, within_seconds=COMMAND_SECONDS)
            url = f"http://127.0.0.1:{port.read_text()}/metrics"
            assert eventually(
                lambda: "surgeline_kpi_computed" in scraped(url), within_seconds=COMMAND_SECONDS
            )
            scrape = scraped(url)
        finally:
            process.terminate()
        output = process.communicate(timeout=COMMAND_SECONDS)[0]

    assert "surgeline_up 1.0" in scrape
    assert 'surgeline_funnel_accounts{stage="target"' in scrape
    assert "surgeline_redis_memory_used_bytes" in scrape
    assert CANARY not in scrape + output
    assert denials(scored) == set()


def scraped(url: str) -> str:
    with urllib.request.urlopen(url, timeout=COMMAND_SECONDS) as answer:
        body: bytes = answer.read()
    return body.decode()


DENIED = {
    "worker": (("GET", OTHERS_KEY), ("FLUSHALL",), ("CONFIG", "GET", "*"), ("KEYS", "*"),
               ("ACL", "LIST"), ("SET", OTHERS_KEY, "2"), ("SUBSCRIBE", "x"), ("SHUTDOWN",)),
    "exporter": (("HGETALL", "sl:{0}:outbox"), ("MGET", "sl:{0}:state:a"),
                 ("HSET", "sl:meta", "a", "b"),
                 ("GET", OTHERS_KEY), ("EVAL", "return 1", "0"), ("CONFIG", "GET", "*")),
    "reader": (("HSET", "sl:meta", "a", "b"), ("UNLINK", "sl:meta"), ("GET", OTHERS_KEY),
               ("EVAL", "return 1", "0"), ("SCRIPT", "LOAD", "return 1"), ("FLUSHDB",)),
    "operator": (("GET", OTHERS_KEY), ("FLUSHDB",), ("EVAL", "return 1", "0"),
                 ("CONFIG", "SET", "maxmemory", "1"), ("ACL", "LIST")),
}  # fmt: skip


@pytest.mark.parametrize("role", DENIED)
def test_user_is_denied_what_its_process_does_not_do(
    role: str, scored: Place, secure: SecureRedis, pki: Pki
) -> None:
    with as_user(secure, role, pki) as client:
        for command in DENIED[role]:
            with pytest.raises(redis.exceptions.NoPermissionError):
                client.execute_command(*command)

    assert scored.redis.get(OTHERS_KEY) == b"1"


def test_reader_cannot_reset(scored: Place, secure: SecureRedis) -> None:
    before = scored.redis.dbsize()
    (worker,) = scored.workers
    assert worker.terminate() == 0

    done = scored.run("reset", "--yes", **secure.settings("reader"))

    assert done.returncode == 1
    assert "permission" in done.stderr
    assert scored.redis.dbsize() == before


def test_operator_backs_up_and_restores_by_its_rules(
    scored: Place, secure: SecureRedis, tmp_path: Path
) -> None:
    operator, file = secure.settings("operator"), str(tmp_path / "backup")
    before = scored.hashes()
    denials(scored)

    saved = scored.run("backup", file, **operator)
    brought_back = scored.run("restore", file, "--force", **operator)

    assert (saved.returncode, brought_back.returncode) == (0, 0), saved.stderr + brought_back.stderr
    assert scored.hashes() == before
    assert denials(scored) == set()


def test_operator_resets_what_is_ours_alone(scored: Place, secure: SecureRedis) -> None:
    denials(scored)

    done = scored.run("reset", "--replay", "--yes", **secure.settings("operator"))

    assert done.returncode == 0, done.stderr
    assert set(scored.redis.scan_iter()) == {b"sl:meta", OTHERS_KEY.encode()}
    assert denials(scored) == set()
