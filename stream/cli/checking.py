"""The command that looks whether all is well: doctor."""

import os
import sys
from typing import TYPE_CHECKING

import typer
from rich import box
from rich.table import Table

from stream.cli.operating import quiet_libraries
from stream.cli.options import Json, KafkaUrl, ModelFile, RedisUrl
from stream.cli.output import print_json, terminal, text

if TYPE_CHECKING:
    from stream.doctor.facts import Check

STYLES = {"ok": "green", "warning": "yellow", "problem": "bold red", "unknown": "dim"}


def register(app: typer.Typer) -> None:
    """Add this module's commands to *app*."""
    app.command()(doctor)


def doctor(
    kafka_url: KafkaUrl = None,
    redis_url: RedisUrl = None,
    model: ModelFile = None,
    as_json: Json = False,
) -> None:
    """Look whether all is well: Kafka, Redis, topics, stored scores, workers, permissions.

    With the settings of a worker, it looks with a worker's eyes. Reads only, for ten seconds at
    most; ends with exit code 1 if there is a problem.
    """
    from stream.doctor.examination import examined, is_well
    from stream.model_file import read_model
    from stream.settings import load_settings

    settings = load_settings(kafka_url=kafka_url, redis_url=redis_url, model=model)
    quiet_libraries()
    checks, still_runs = examined(settings, read_model(settings.model))
    if as_json:
        print_json(
            {"check": c.name, "level": c.level.value, "found": c.found, "do": c.do} for c in checks
        )
    else:
        terminal().print(_table(checks))
    code = 0 if is_well(checks) else 1
    if still_runs:  # a call to a frozen server: nobody waits for its end
        sys.stdout.flush()
        os._exit(code)
    raise typer.Exit(code)


def _table(checks: "list[Check]") -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, header_style="bold")
    table.add_column("check", no_wrap=True)
    table.add_column("", no_wrap=True)
    table.add_column("what was found, and what to do", overflow="fold")
    for check in checks:
        said = text(f"{check.found} {check.do}" if check.do else check.found)
        table.add_row(text(check.name), text(check.level.value, STYLES[check.level.value]), said)
    return table
