"""How servers let us in: what is refused at the start, and that no secret is ever shown."""

import os
import re
import subprocess
import traceback
from pathlib import Path
from typing import Any

import faust
import pytest
from faust.types.auth import AuthProtocol

from stream.errors import InvalidSetting
from stream.kafka_security import client_arguments, faust_credentials
from stream.redis_access import access_arguments
from stream.settings import ACCESS, load_settings
from stream.topics import INPUTS, OUTPUTS
from tests.certificates import Authority, Signed, encrypted
from tests.system.harness import SURGELINE, environment

ROOT = Path(__file__).parents[2]
CANARY = "c4n4ry"
SASL = {
    "KAFKA_SECURITY": "sasl_tls",
    "KAFKA_USERNAME": "worker",
    "KAFKA_PASSWORD": CANARY,
}


@pytest.fixture(autouse=True)
def nothing_set(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.upper().startswith("SURGELINE_"):
            monkeypatch.delenv(name)


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture(scope="module")
def signed(authority: Authority) -> Signed:
    return authority.sign("worker")


def load(monkeypatch: pytest.MonkeyPatch, **settings: str) -> Any:
    for name, value in settings.items():
        monkeypatch.setenv(f"SURGELINE_{name}", value)
    return load_settings()


REFUSED: list[tuple[str, dict[str, str]]] = [
    ("KAFKA_SECURITY=ssl", {"KAFKA_SECURITY": "ssl"}),
    ("KAFKA_MECHANISM=GSSAPI", SASL | {"KAFKA_MECHANISM": "GSSAPI"}),
    ("KAFKA_USERNAME", SASL | {"KAFKA_USERNAME": ""}),
    ("KAFKA_PASSWORD", SASL | {"KAFKA_PASSWORD": ""}),
    ("KAFKA_USERNAME", {"KAFKA_USERNAME": "worker"}),
    ("KAFKA_PASSWORD", {"KAFKA_PASSWORD": CANARY}),
    ("KAFKA_USERNAME", SASL | {"KAFKA_SECURITY": "tls"}),
    ("KAFKA_SECURITY=sasl_plaintext", SASL | {"KAFKA_SECURITY": "sasl_plaintext"}),
    ("KAFKA_ALLOW_CLEARTEXT=maybe", SASL | {"KAFKA_ALLOW_CLEARTEXT": "maybe"}),
    ("KAFKA_PASSWORD", SASL | {"KAFKA_PASSWORD_FILE": "/no/such"}),
    ("KAFKA_CA_FILE=/no/such", SASL | {"KAFKA_CA_FILE": "/no/such"}),
    ("KAFKA_CA_FILE", SASL | {"KAFKA_CA_FILE": __file__}),
    ("KAFKA_CA_FILE", {"KAFKA_CA_FILE": __file__}),
    ("KAFKA_CERT_FILE", SASL | {"KAFKA_CERT_FILE": __file__}),
    ("KAFKA_CERT_FILE", SASL | {"KAFKA_KEY_FILE": __file__}),
    ("REDIS_USERNAME", {"REDIS_URL": f"redis://u:{CANARY}@h", "REDIS_USERNAME": "u"}),
    ("REDIS_PASSWORD", {"REDIS_URL": f"redis://u:{CANARY}@h", "REDIS_PASSWORD": CANARY}),
    ("REDIS_PASSWORD", {"REDIS_USERNAME": "u"}),
    ("REDIS_PASSWORD", {"REDIS_URL": "redis://u@h"}),
    ("REDIS_CA_FILE", {"REDIS_CA_FILE": __file__}),
    ("REDIS_CA_FILE", {"REDIS_URL": "rediss://h", "REDIS_CA_FILE": __file__}),
    ("REDIS_URL", {"REDIS_URL": f"rediss://:{CANARY}@h/0?ssl_cert_reqs=none"}),
]


@pytest.mark.parametrize(("names", "settings"), REFUSED)
def test_wrong_access_is_told_in_one_sentence(
    names: str, settings: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(InvalidSetting) as raised:
        load(monkeypatch, **settings)

    sentence = str(raised.value)
    assert sentence.startswith(f"SURGELINE_{names}")
    assert "\n" not in sentence
    assert sentence.endswith(".")
    assert CANARY not in "".join(traceback.format_exception(raised.value))


@pytest.mark.parametrize("server", ["KAFKA", "REDIS"])
def test_secret_is_read_from_its_file(
    server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "password"
    file.write_text(f"{CANARY} with blanks \n")
    kafka = {"KAFKA_SECURITY": "sasl_tls", "KAFKA_USERNAME": "u"} if server == "KAFKA" else {}

    settings = load(monkeypatch, **kafka, **{f"{server}_PASSWORD_FILE": str(file)})

    secret = getattr(settings, f"{server.lower()}_password")
    assert secret.get_secret_value() == f"{CANARY} with blanks "


@pytest.mark.parametrize("content", [b"", b"\n", b"\xff\xfe"])
def test_secret_file_without_a_secret_is_told(
    content: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "password"
    file.write_bytes(content)

    with pytest.raises(InvalidSetting, match="SURGELINE_REDIS_PASSWORD_FILE="):
        load(monkeypatch, REDIS_PASSWORD_FILE=str(file))


def test_encrypted_key_is_told_and_nobody_is_asked(
    signed: Signed, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = encrypted(signed.key, tmp_path / "locked.key")

    with pytest.raises(InvalidSetting, match=r"SURGELINE_KAFKA_KEY_FILE its key.*not encrypted"):
        load(
            monkeypatch,
            KAFKA_SECURITY="tls",
            KAFKA_CERT_FILE=str(signed.certificate),
            KAFKA_KEY_FILE=str(key),
        )


def test_key_of_another_certificate_is_told(
    authority: Authority, signed: Signed, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = authority.sign("other")

    with pytest.raises(InvalidSetting, match="SURGELINE_REDIS_CERT_FILE="):
        load(
            monkeypatch,
            REDIS_URL="rediss://h",
            REDIS_CERT_FILE=str(signed.certificate),
            REDIS_KEY_FILE=str(other.key),
        )


def test_secrets_are_in_no_representation(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = load(monkeypatch, **SASL, REDIS_URL=f"redis://:{CANARY}@h/0")

    shown = [repr(settings), str(settings), repr(faust_credentials(settings))]
    assert not [text for text in shown if CANARY in text]


def test_settings_command_shows_no_value_of_this_environment() -> None:
    env = environment(**{f"SURGELINE_{name}": value for name, value in SASL.items()})
    for options in ([], ["--markdown"]):
        done = subprocess.run(
            [SURGELINE, "settings", *options], capture_output=True, text=True, env=env, check=True
        )
        assert "SURGELINE_KAFKA_PASSWORD" in done.stdout
        assert CANARY not in done.stdout + done.stderr


@pytest.mark.parametrize(
    ("security", "ours", "fausts"),
    [
        ("plaintext", "PLAINTEXT", None),
        ("tls", "SSL", AuthProtocol.SSL),
        ("sasl_tls", "SASL_SSL", AuthProtocol.SASL_SSL),
        ("sasl_plaintext", "SASL_PLAINTEXT", AuthProtocol.SASL_PLAINTEXT),
    ],
)
def test_faust_and_our_clients_speak_the_same(
    security: str,
    ours: str,
    fausts: AuthProtocol | None,
    authority: Authority,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    user = {k: v for k, v in SASL.items() if "sasl" in security} | {"KAFKA_SECURITY": security}
    files = {"KAFKA_CA_FILE": str(authority.file)} if security.endswith("tls") else {}
    settings = load(monkeypatch, **user, **files, KAFKA_ALLOW_CLEARTEXT="true")

    arguments, credentials = client_arguments(settings), faust_credentials(settings)

    assert arguments["security_protocol"] == ours
    assert getattr(credentials, "protocol", None) == fausts
    if "sasl" in security:
        assert isinstance(credentials, faust.SASLCredentials)
        assert arguments["sasl_mechanism"] == credentials.mechanism.value == "SCRAM-SHA-512"
        assert arguments["sasl_plain_password"] == credentials.password == CANARY


def test_tls_always_checks_certificate_and_host(
    authority: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = load(
        monkeypatch,
        KAFKA_SECURITY="tls",
        KAFKA_CA_FILE=str(authority.file),
        REDIS_URL="rediss://h",
    )

    context, redis = client_arguments(settings)["ssl_context"], access_arguments(settings)

    assert context.check_hostname
    assert context.verify_mode.name == "CERT_REQUIRED"
    assert redis["ssl_check_hostname"]
    assert redis["ssl_cert_reqs"] == "required"


def test_embedded_servers_are_spoken_to_without_security(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in (SASL | {"REDIS_PASSWORD": CANARY}).items():
        monkeypatch.setenv(f"SURGELINE_{name}", value)

    settings = load_settings(embedded=True)

    assert client_arguments(settings)["security_protocol"] == "PLAINTEXT"
    assert access_arguments(settings) == {}


def test_every_setting_of_access_is_open_by_default() -> None:
    named = {f for f in type(load_settings()).model_fields if f.startswith(("kafka_", "redis_"))}

    assert named - {"kafka_url", "redis_url"} == set(ACCESS)


CLIENTS = re.compile(
    r"bootstrap_servers=|Redis\.from_url\(|redis\.asyncio\.from_url\(|RedisStore\("
)
MADE_IN = {
    "stream/embedded.py": "its own servers on loopback let everybody in",
    "stream/exporter.py": "the one synchronous client, with access_arguments",
    "stream/redis_access.py": "open_store",
    "stream/state_store.py": "the store itself",
}


def test_every_client_gets_its_access_from_one_place() -> None:
    makers = {
        str(path.relative_to(ROOT))
        for path in (ROOT / "stream").rglob("*.py")
        if CLIENTS.search(path.read_text(encoding="utf-8"))
    }

    assert makers == set(MADE_IN)


def test_nothing_evaluates_or_unpickles() -> None:
    forbidden = re.compile(r"\b(pickle|marshal|shelve|yaml\.load|eval\(|exec\()")
    found = [
        f"{path.name}: {line}"
        for folder in ("scoring", "stream")
        for path in (ROOT / folder).rglob("*.py")
        for line in path.read_text(encoding="utf-8").splitlines()
        if forbidden.search(line)
    ]

    assert found == []


def test_access_rules_name_every_topic_of_kafka() -> None:
    script = (ROOT / "deploy" / "kafka" / "acls.sh").read_text(encoding="utf-8")
    lists = dict(re.findall(r"^(\w+)='([^']*)'", script, re.MULTILINE))

    assert {*lists["inputs"].split(), *lists["between"].split()} == set(INPUTS)
    assert {*lists["announced"].split(), *lists["delivered"].split()} == set(OUTPUTS)


def test_access_rules_of_redis_let_nobody_in_without_a_password() -> None:
    lines = (ROOT / "deploy" / "redis" / "users.acl.example").read_text().splitlines()

    assert lines[0] == "user default off"
    for line in lines[1:]:
        assert " on >CHANGE-ME-" in line
        assert " resetchannels " in line
        assert " -@all " in line
        assert "nopass" not in line
        assert not re.search(r"\+@|\+\*|allcommands| ~\* |allkeys", line)
