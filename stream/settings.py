"""Settings: environment variables ``SURGELINE_*``, read here and nowhere else."""

import ipaddress
import os
import re
from pathlib import Path
from typing import Annotated, Any, Final, Literal, Self
from urllib.parse import urlsplit

from pydantic import (
    Field,
    SecretStr,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
)
from pydantic_settings import BaseSettings, SettingsConfigDict

from stream.errors import InvalidSetting
from stream.setting_rules import check_kafka_access, check_redis_access, secrets_from_files
from stream.tls import TlsFiles

Port = Annotated[int, Field(ge=0, le=65_535)]
Seconds = Annotated[float, Field(gt=0, le=3_600)]

ACCESS: Final = (
    "kafka_security",
    "kafka_mechanism",
    "kafka_username",
    "kafka_password",
    "kafka_password_file",
    "kafka_allow_cleartext",
    "kafka_ca_file",
    "kafka_cert_file",
    "kafka_key_file",
    "redis_username",
    "redis_password",
    "redis_password_file",
    "redis_ca_file",
    "redis_cert_file",
    "redis_key_file",
)
"""Settings of how servers let us in; the embedded ones let everybody on loopback in."""


class Settings(BaseSettings):
    """Everything that can be set from outside; frozen, validated at start."""

    model_config = SettingsConfigDict(env_prefix="SURGELINE_", frozen=True, extra="ignore")

    kafka_url: str = Field(
        "127.0.0.1:9092", description="Kafka brokers, host:port, several with commas"
    )
    kafka_security: Literal["plaintext", "tls", "sasl_tls", "sasl_plaintext"] = Field(
        "plaintext",
        description="how Kafka is spoken to: TLS or not, with user and password (sasl) or not",
    )
    kafka_mechanism: Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"] = Field(
        "SCRAM-SHA-512", description="how the password is shown to Kafka"
    )
    kafka_username: str | None = Field(None, description="Kafka user, with sasl")
    kafka_password: SecretStr | None = Field(None, description="its password")
    kafka_password_file: Path | None = Field(None, description="file that holds it, instead")
    kafka_allow_cleartext: bool = Field(
        default=False,
        description="true consents to sasl_plaintext, where the network sees all and a PLAIN password",
    )
    kafka_ca_file: Path | None = Field(
        None, description="PEM authorities that sign Kafka's certificates; absent: the system's"
    )
    kafka_cert_file: Path | None = Field(
        None, description="PEM client certificate, for brokers that want one"
    )
    kafka_key_file: Path | None = Field(
        None, description="its key, PEM, not encrypted; absent: in the same file"
    )
    redis_url: str = Field(
        "redis://127.0.0.1:6379/0",
        repr=False,  # it may carry a password
        description="Redis 7 or newer, redis://host:port/db; rediss:// for TLS",
    )
    redis_username: str | None = Field(None, description="Redis user; absent: the default user")
    redis_password: SecretStr | None = Field(None, description="its password")
    redis_password_file: Path | None = Field(None, description="file that holds it, instead")
    redis_ca_file: Path | None = Field(
        None, description="PEM authorities that sign Redis' certificate; absent: the system's"
    )
    redis_cert_file: Path | None = Field(
        None, description="PEM client certificate, for a Redis that wants one"
    )
    redis_key_file: Path | None = Field(
        None, description="its key, PEM, not encrypted; absent: in the same file"
    )
    group: str = Field(
        "surgeline", min_length=1, max_length=200, description="Kafka consumer group of the workers"
    )
    topic_prefix: str = Field(
        "",
        max_length=100,
        pattern=r"^[A-Za-z0-9._-]*$",
        description="put before every topic name, so that several Surgelines share a cluster",
    )
    partitions: int = Field(
        8,
        ge=1,
        le=4_096,
        description="partitions of every topic, when topics are declared; one shard each",
    )
    replication: int = Field(
        1, ge=-1, le=15, description="replicas of declared topics; -1 takes the brokers' default"
    )
    model: Path | None = Field(None, description="scoring model (TOML); absent: the default model")
    clock: Literal["wall", "event"] = Field(
        "wall",
        description="wall: scores decay against real time; event: against the newest events (replays)",
    )
    http_host: str = Field(
        "127.0.0.1", description="address on which metrics and health are served"
    )
    worker_port: Port = Field(
        9101, description="port of a worker's /metrics, /healthz, /readyz; 0 takes a free one"
    )
    exporter_port: Port = Field(
        9102, description="port of the exporter's /metrics; 0 takes a free one"
    )
    notifier_port: Port = Field(
        9103, description="port of the notifier's /metrics, /healthz, /readyz; 0 takes a free one"
    )
    resolver_port: Port = Field(
        9105, description="port of the resolver's /metrics, /healthz, /readyz; 0 takes a free one"
    )
    networks: Path | None = Field(
        None,
        description="whose IP addresses are (ASN or company database, MMDB); absent: `ip` says nothing",
    )
    waiting_events: int = Field(
        200_000,
        ge=0,
        le=100_000_000,
        description="events without an account that wait in Redis for one; beyond, the oldest go",
    )
    routes: Path | None = Field(
        None, description="who is told of which alert, and how (TOML); absent: nobody is"
    )
    notify_replays: bool = Field(
        default=False, description="true delivers the alerts of replays (event clock) too"
    )
    board_host: str = Field("127.0.0.1", description="address on which the board is served")
    board_port: Port = Field(8321, description="port of the board; 0 takes a free one")
    board_url: str | None = Field(
        None, description="address under which people open the board, for links in alerts"
    )
    board_tokens_file: Path | None = Field(
        None,
        description="who may use the board: lines name:role:hash; absent: everybody, and it is served on loopback only",
    )
    board_rate: float = Field(
        100.0, ge=0, le=1_000_000, description="requests a second of one token or address; 0: any"
    )
    collector_host: str = Field("127.0.0.1", description="address on which events are taken")
    collector_port: Port = Field(8322, description="port of the collector; 0 takes a free one")
    collector_keys_file: Path | None = Field(
        None,
        description="who may send: lines source:kind:hash and origins; absent: everybody, and it is served on loopback only",
    )
    collector_rate: float = Field(
        1_000.0,
        ge=0,
        le=1_000_000,
        description="requests a second of one source and address; 0: any",
    )
    collector_proxies: str | None = Field(
        None,
        description="proxies whose X-Forwarded-For is believed: addresses or networks, with commas",
    )
    collector_keep_ip: bool = Field(
        default=True, description="false leaves out the addresses of visitors"
    )
    flush_seconds: Seconds = Field(
        0.1, description="longest time a scored event waits for its commit"
    )
    flush_records: int = Field(
        4_000, ge=1, le=100_000, description="records after which a commit starts at once"
    )
    cache_bytes: int = Field(
        128 * 2**20, ge=2**20, description="bound on account states kept in a worker's memory"
    )
    session_seconds: float = Field(
        6.0, ge=1, le=300, description="a worker silent this long loses its partitions"
    )
    max_record_bytes: int = Field(
        1_048_576, ge=1_024, le=64 * 2**20, description="larger records are dead letters"
    )
    dead_letter_share: float = Field(
        0.5,
        ge=0,
        le=1,
        description="a worker stops when more than this share of a topic's last records is bad; 0: never",
    )
    dead_letter_window: int = Field(
        1_000, ge=1, le=1_000_000, description="records of a topic over which that share is taken"
    )
    dead_letters_in_a_row: int = Field(
        500,
        ge=0,
        le=1_000_000,
        description="a worker stops when more records in a row of a partition are bad; 0: never",
    )
    on_missing_state: Literal["stop", "replay"] = Field(
        "stop",
        description="when Redis holds no fence although the group has committed: stop, or replay from the log's beginning",
    )
    on_data_gone: Literal["stop", "continue"] = Field(
        "stop", description="when retention passed the fence: stop, or go on from the oldest record"
    )
    traces_url: str | None = Field(
        None,
        description="OTLP/HTTP address that takes traces, such as http://127.0.0.1:4318/v1/traces; absent: where OTEL_EXPORTER_OTLP_ENDPOINT says, else nowhere",
    )
    log_format: Literal["auto", "json", "text"] = Field(
        "auto",
        description="logs of worker and exporter: json or text lines; auto: text on a terminal, else json",
    )
    log_level: Literal["debug", "info", "warning", "error"] = Field(
        "info", description="least severe log line shown"
    )

    @field_validator("kafka_url")
    @classmethod
    def _brokers(cls, value: str) -> str:
        brokers = [broker.strip().removeprefix("kafka://") for broker in value.split(",")]
        for broker in brokers:
            host, _, port = broker.rpartition(":")
            number = int(port) if re.fullmatch(r"[0-9]{1,5}", port) else 0
            if not host or "/" in host or not 0 < number < 65_536:
                raise ValueError("must be host:port, several with commas")
        return ",".join(brokers)

    @field_validator("redis_url")
    @classmethod
    def _redis(cls, value: str) -> str:
        try:
            url = urlsplit(value)
            known = url.scheme in ("redis", "rediss", "unix") and (url.port or 1) > 0
        except ValueError:  # such as a port that is no number
            known = False
        if not known or (url.scheme != "unix" and not re.fullmatch(r"/?[0-9]*", url.path)):
            raise ValueError("must be like redis://127.0.0.1:6379/0")
        return value

    @field_validator("board_url", "traces_url")
    @classmethod
    def _web_address(cls, value: str | None) -> str | None:
        if value is None:
            return None
        url = urlsplit(value)
        if url.scheme not in ("http", "https") or not url.hostname or url.query or url.fragment:
            raise ValueError("must be like https://board.example.com")
        return value.rstrip("/")

    @field_validator("collector_proxies")
    @classmethod
    def _networks(cls, value: str | None) -> str | None:
        for each in value.split(",") if value else ():
            try:
                ipaddress.ip_network(each.strip())
            except ValueError:
                raise ValueError("must be addresses or networks, with commas") from None
        return value

    @field_validator("replication")
    @classmethod
    def _replicas(cls, value: int) -> int:
        if value == 0:
            raise ValueError("must be at least 1, or -1 for the brokers' default")
        return value

    @field_validator(
        "model",
        "networks",
        "routes",
        "board_url",
        "board_tokens_file",
        "collector_keys_file",
        "collector_proxies",
        "traces_url",
        *ACCESS,
        mode="before",
    )
    @classmethod
    def _absent(cls, value: object, info: ValidationInfo) -> object:
        if value != "":
            return value
        return cls.model_fields[info.field_name or ""].default

    @field_validator(
        "model",
        "networks",
        "routes",
        "board_tokens_file",
        "collector_keys_file",
        *(name for name in ACCESS if name.endswith("_file")),
    )
    @classmethod
    def _readable(cls, value: Path | None) -> Path | None:
        if value is not None and not value.is_file():
            raise ValueError("must be a readable file")
        return value

    @model_validator(mode="before")
    @classmethod
    def _secrets(cls, given: dict[str, Any]) -> dict[str, Any]:
        return secrets_from_files(given)

    @model_validator(mode="after")
    def _access(self) -> Self:
        check_kafka_access(self)
        check_redis_access(self)
        return self

    @property
    def kafka_tls(self) -> TlsFiles | None:
        """Return the files of Kafka's TLS, None where it is spoken to without."""
        if self.kafka_security not in ("tls", "sasl_tls"):
            return None
        return TlsFiles(
            "SURGELINE_KAFKA", self.kafka_ca_file, self.kafka_cert_file, self.kafka_key_file
        )

    @property
    def redis_tls(self) -> TlsFiles | None:
        """Return the files of Redis' TLS, None where it is spoken to without."""
        if not self.redis_url.startswith("rediss://"):
            return None
        return TlsFiles(
            "SURGELINE_REDIS", self.redis_ca_file, self.redis_cert_file, self.redis_key_file
        )

    @property
    def brokers(self) -> list[str]:
        """Return the brokers as host:port strings."""
        return [broker.strip() for broker in self.kafka_url.split(",")]


def load_settings(*, embedded: bool = False, **overrides: object) -> Settings:
    """Return the settings of the environment, *overrides* (from the command line) first.

    With *embedded* the settings of ACCESS are as by default, whatever the environment says.
    Raises InvalidSetting: one sentence that names the variable and what it must be.
    """
    given = {name: value for name, value in overrides.items() if value is not None}
    if embedded:
        given |= {name: Settings.model_fields[name].default for name in ACCESS}
    try:
        return Settings(**given)  # type: ignore[arg-type]
    except ValidationError as error:
        raise InvalidSetting(_sentence(error)) from None


def _sentence(error: ValidationError) -> str:
    first = error.errors(include_url=False)[0]
    rule = first["msg"].removeprefix("Value error, ").removeprefix("Input ")
    name = str(first["loc"][0])
    shown = first.get("input")
    secret = "url" in name or name.endswith("_password")
    value = f"={shown}" if isinstance(shown, str | int | float | Path) and not secret else ""
    return f"SURGELINE_{name.upper()}{value}: {rule}."


def variable_value(name: str) -> str | None:
    """Return an environment variable that a file of ours names, None where it is not set."""
    return os.environ.get(name)


def traces_wanted(settings: Settings) -> bool:
    """Tell whether traces are to be sent: to our own address, or where OpenTelemetry's say."""
    standard = ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")
    return settings.traces_url is not None or any(os.environ.get(name) for name in standard)


def settings_help() -> list[tuple[str, str, str]]:
    """Return (variable, default, meaning) of every setting, for the README and --help."""
    return [
        (
            f"SURGELINE_{name.upper()}",
            "" if field.default is None else str(field.default),
            field.description or "",
        )
        for name, field in Settings.model_fields.items()
    ]
