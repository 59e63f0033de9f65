"""Settings: environment variables ``SURGELINE_*``, read here and nowhere else."""

import re
from pathlib import Path
from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import Field, ValidationError, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from stream.errors import InvalidSetting

Port = Annotated[int, Field(ge=0, le=65_535)]
Seconds = Annotated[float, Field(gt=0, le=3_600)]


class Settings(BaseSettings):
    """Everything that can be set from outside; frozen, validated at start."""

    model_config = SettingsConfigDict(env_prefix="SURGELINE_", frozen=True, extra="ignore")

    kafka_url: str = Field(
        "127.0.0.1:9092", description="Kafka brokers, host:port, several with commas"
    )
    redis_url: str = Field(
        "redis://127.0.0.1:6379/0", description="Redis 7 or newer, redis://host:port/db"
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
    on_missing_state: Literal["stop", "replay"] = Field(
        "stop",
        description="when Redis holds no fence although the group has committed: stop, or replay from the log's beginning",
    )
    on_data_gone: Literal["stop", "continue"] = Field(
        "stop", description="when retention passed the fence: stop, or go on from the oldest record"
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

    @field_validator("replication")
    @classmethod
    def _replicas(cls, value: int) -> int:
        if value == 0:
            raise ValueError("must be at least 1, or -1 for the brokers' default")
        return value

    @field_validator("model", mode="before")
    @classmethod
    def _no_model(cls, value: object) -> object:
        return None if value == "" else value

    @field_validator("model")
    @classmethod
    def _readable(cls, value: Path | None) -> Path | None:
        if value is not None and not value.is_file():
            raise ValueError("must be a readable file")
        return value

    @property
    def brokers(self) -> list[str]:
        """Return the brokers as host:port strings."""
        return [broker.strip() for broker in self.kafka_url.split(",")]


def load_settings(**overrides: object) -> Settings:
    """Return the settings of the environment, *overrides* (from the command line) first.

    Raises InvalidSetting: one sentence that names the variable and what it must be.
    """
    given = {name: value for name, value in overrides.items() if value is not None}
    try:
        return Settings(**given)  # type: ignore[arg-type]
    except ValidationError as error:
        raise InvalidSetting(_sentence(error)) from None


def _sentence(error: ValidationError) -> str:
    first = error.errors(include_url=False)[0]
    rule = first["msg"].removeprefix("Value error, ").removeprefix("Input ")
    name = str(first["loc"][0])
    shown = first.get("input")
    value = f"={shown}" if isinstance(shown, str | int | float | Path) and "url" not in name else ""
    return f"SURGELINE_{name.upper()}{value}: {rule}."


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
