"""Records as Kafka's consumer hands them over, with one argument per thing that matters."""

from collections.abc import Iterable
from typing import Any

from aiokafka.structs import ConsumerRecord


def consumed(
    topic: str,
    value: bytes | None,
    *,
    at: tuple[int, int] = (0, 0),
    timestamp: int = 0,
    key: bytes | None = None,
    headers: Iterable[tuple[str, bytes | None]] = (),
) -> Any:
    """Return the record *at* (partition, offset) of *topic*; *timestamp* in Unix milliseconds."""
    return ConsumerRecord[Any, Any](
        topic=topic,
        partition=at[0],
        offset=at[1],
        timestamp=timestamp,
        timestamp_type=0,
        key=key,
        value=value,
        checksum=None,
        serialized_key_size=-1 if key is None else len(key),
        serialized_value_size=-1 if value is None else len(value),
        headers=tuple(headers),  # type: ignore[arg-type]  # a header may lack a value
    )
