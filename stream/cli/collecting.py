"""Commands of the collector: serve it, and make write keys for it."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from stream.cli.options import KafkaUrl
from stream.cli.output import say
from stream.cli.running import PortFile, run_fast


class KeyKind(StrEnum):
    """Where a write key is kept."""

    SERVER = "server"
    BROWSER = "browser"


def register(app: typer.Typer) -> None:
    """Add this module's commands to *app*."""
    app.command()(collector)
    app.command(name="collector-key")(collector_key)


def collector(
    host: Annotated[str | None, typer.Option(help="Instead of SURGELINE_COLLECTOR_HOST.")] = None,
    port: Annotated[
        int | None, typer.Option(min=0, max=65_535, help="Instead of SURGELINE_COLLECTOR_PORT.")
    ] = None,
    kafka_url: KafkaUrl = None,
    port_file: PortFile = None,
) -> None:
    """Take events over HTTP (Segment, CloudEvents, our own) to Kafka until it is told to stop."""
    from stream.logs import process_logs
    from stream.settings import load_settings

    settings = load_settings(collector_host=host, collector_port=port, kafka_url=kafka_url)
    with process_logs("collector", settings.log_level, settings.log_format):
        from stream.collector.serving import run_collector

        run_fast(run_collector(settings, port_file=port_file))


def collector_key(
    source: Annotated[str, typer.Argument(help="The `source` of the events that come with it.")],
    kind: Annotated[
        KeyKind, typer.Option(help="browser: stands in pages, and sends what visitors do alone.")
    ] = KeyKind.SERVER,
    origin: Annotated[
        list[str] | None,
        typer.Option(help="Whose pages may use it, such as https://www.example.com; repeatable."),
    ] = None,
    file: Annotated[
        Path | None,
        typer.Option(help="Add it to this file, instead of SURGELINE_COLLECTOR_KEYS_FILE."),
    ] = None,
) -> None:
    """Make a write key for the collector and print it, once: the file holds only its hash."""
    from stream.collector.write_keys import add_key_line, new_key
    from stream.settings import load_settings

    key, line = new_key(source, kind.value, origin or [])
    chosen = file or load_settings().collector_keys_file
    if chosen is None:
        say(f"add this line to the file that SURGELINE_COLLECTOR_KEYS_FILE will name: {line}")
    else:
        add_key_line(chosen, line)
        say(f"a key of {source} is in {chosen}; the collector knows it within seconds.")
    print(key)
