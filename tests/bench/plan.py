"""The plan: what the process of one row is told."""

import time
from pathlib import Path

import msgspec

from stream.settings import Settings, load_settings

PARTITIONS = 4
SESSION_SECONDS = 6.0
"""The embedded broker takes half of it to form a group; it does not touch the throughput."""


class Plan(msgspec.Struct, frozen=True):
    """One run of one row."""

    row: str
    kafka: str
    redis_url: str
    group: str
    records: int
    """How many records to handle."""
    report: str
    """File that the report is written to."""
    started_at: float = 0.0
    """Unix seconds at which the process was started."""
    topic_prefix: str = ""
    partitions: int = PARTITIONS
    log_level: str = "warning"

    def started_now(self) -> "Plan":
        return msgspec.structs.replace(self, started_at=time.time())

    @property
    def report_path(self) -> Path:
        return Path(self.report)

    @property
    def settings(self) -> Settings:
        return load_settings(
            kafka_url=self.kafka,
            redis_url=self.redis_url,
            group=self.group,
            topic_prefix=self.topic_prefix,
            partitions=self.partitions,
            session_seconds=SESSION_SECONDS,
        )

    @property
    def environment(self) -> dict[str, str]:
        """Return the same settings as variables for the real command."""
        return {
            "SURGELINE_KAFKA_URL": self.kafka,
            "SURGELINE_REDIS_URL": self.redis_url,
            "SURGELINE_GROUP": self.group,
            "SURGELINE_TOPIC_PREFIX": self.topic_prefix,
            "SURGELINE_PARTITIONS": str(self.partitions),
            "SURGELINE_SESSION_SECONDS": str(SESSION_SECONDS),
            "SURGELINE_WORKER_PORT": "0",
            "SURGELINE_LOG_LEVEL": self.log_level,
        }
