"""A benchmark on an Apache Kafka and a Redis of its own, from the command line."""

import argparse
import asyncio
import json
import sys
import tempfile
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

from rich.table import Table

from stream.cli.output import terminal
from tests.bench.meter import machine
from tests.bench.processes import NotMeasured
from tests.kafka_node import ServerUnavailable
from tests.servers import KafkaServer, RedisServer

Measure = Callable[[str, str, Path], Coroutine[Any, Any, dict[str, Any]]]
"""From Kafka's address, Redis' URL and a directory to the figures."""


def measured_on_kafka(
    name: str, description: str | None, measure: Measure, table: Callable[[dict[str, Any]], Table]
) -> int:
    """Run the benchmark *name* as asked for, print its table; return the exit code."""
    parser = argparse.ArgumentParser(prog=f"python -m tests.bench.{name}", description=description)
    parser.add_argument("--json", type=Path, help="write the figures to this file")
    asked = parser.parse_args()

    try:
        with (
            KafkaServer(java_options=()) as kafka,
            RedisServer() as redis,
            tempfile.TemporaryDirectory() as own,
        ):
            described = machine()
            figures = asyncio.run(measure(kafka.address, redis.url, Path(own)))
    except (NotMeasured, ServerUnavailable) as error:
        print(error, file=sys.stderr)
        return 1
    terminal().print(table(figures))
    if asked.json is not None:
        written = {"machine": described, **figures}
        asked.json.write_text(json.dumps(written, indent=2) + "\n", encoding="utf-8")
    return 0
