"""The topics of Surgeline as Kafka has them, for people to look at."""

from dataclasses import dataclass
from typing import Any

from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.errors import KafkaError

from stream.kafka_admin import admin_client, partition_counts
from stream.settings import Settings
from stream.topics import topic_specs


@dataclass(frozen=True, slots=True)
class TopicFound:
    """One topic of Surgeline as Kafka has it."""

    name: str
    """With the prefix."""
    partitions: int | None
    """None while it is not declared."""
    retention_ms: int | None
    """None where nothing is deleted by age or the broker does not say; -1 keeps everything."""
    compacted: bool

    @property
    def declared(self) -> bool:
        """Tell whether Kafka has the topic."""
        return self.partitions is not None


async def find_topics(settings: Settings) -> list[TopicFound]:
    """Return every topic of Surgeline, inputs first, declared or not."""
    async with admin_client(settings) as admin:
        counts = await partition_counts(admin, settings)
        configs = await _configs(admin, [settings.topic_prefix + name for name in counts])
    found = []
    for spec in topic_specs():
        name = settings.topic_prefix + spec.name
        # A missing topic shows what it would get; an existing one only what the broker says.
        config = configs.get(name, {} if spec.name in counts else spec.config)
        policy = config.get("cleanup.policy", spec.config["cleanup.policy"])
        retention = config.get("retention.ms") if "delete" in policy else None
        found.append(
            TopicFound(
                name,
                counts.get(spec.name),
                None if retention is None else int(retention),
                "compact" in policy,
            )
        )
    return found


async def _configs(admin: Any, names: list[str]) -> dict[str, dict[str, str]]:
    """Return topic -> its settings, without topics that the broker does not describe."""
    if not names:
        return {}
    wanted = [ConfigResource(ConfigResourceType.TOPIC, name) for name in names]
    try:
        answers = await admin.describe_configs(wanted)
    except (KafkaError, TimeoutError, OSError):
        return {}
    return {
        each["resource_name"]: {
            entry["config_names"]: entry["config_value"] for entry in each["config_entries"]
        }
        for answer in answers
        for each in answer.to_object()["resources"]
        if not each["error_code"]
    }
