"""The command import: accounts and contacts from CSV files."""

import asyncio
import datetime as dt
from collections.abc import Iterator
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from stream.cli.options import Json, KafkaUrl
from stream.cli.output import plain, print_json, say

if TYPE_CHECKING:
    from stream.csv_columns import Layout
    from stream.importing import Complaint, Row


class Imported(StrEnum):
    """What a file holds."""

    ACCOUNTS = "accounts"
    CONTACTS = "contacts"


def register(app: typer.Typer) -> None:
    """Add this module's commands to *app*."""
    app.command("import")(import_)


def import_(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="CSV with a heading, UTF-8.")],
    *,
    kind: Annotated[
        Imported | None, typer.Option("--kind", help="Without it the columns tell.")
    ] = None,
    mapping: Annotated[
        list[str] | None,
        typer.Option("--map", metavar="COLUMN=FIELD", help="What a column of another name means."),
    ] = None,
    target: Annotated[
        bool, typer.Option(help="Whether accounts are targets where no column says so.")
    ] = True,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Look at every row and send nothing.")
    ] = False,
    skip_bad: Annotated[
        bool, typer.Option("--skip-bad", help="Send the good rows though others are bad.")
    ] = False,
    kafka_url: KafkaUrl = None,
    as_json: Json = False,
) -> None:
    """Send accounts or contacts of a CSV file to their topic, as exported by HubSpot or Salesforce.

    Every bad row is reported with its line; as long as there is one, nothing is sent (exit code
    1), unless --skip-bad is given.
    """
    from stream.importing import CsvFile, Row
    from stream.settings import load_settings

    opened = CsvFile(
        file,
        kind=None if kind is None else kind.value.removesuffix("s"),
        own=_mapping(mapping or []),
    )
    now = dt.datetime.now(dt.UTC).isoformat().replace("+00:00", "Z")
    if not as_json:
        _say_layout(opened.layout)
    rows: list[Row] = []
    bad = 0
    for each in opened.rows(target=target, now=now):
        if isinstance(each, Row):
            rows.append(each)
            continue
        bad += 1
        _report(file, each, as_json=as_json)
    say(f"{len(rows)} good rows of {opened.layout.kind}s, {bad} bad ones.")
    if bad and not skip_bad:
        if not dry_run:
            say("nothing was sent; mend them, or leave them out with --skip-bad.")
        raise typer.Exit(1)
    if not dry_run:
        asyncio.run(_send(rows, load_settings(kafka_url=kafka_url)))
        say(f"sent {len(rows)} records.")


def _mapping(given: list[str]) -> dict[str, str]:
    own = {}
    for each in given:
        column, separator, field = each.rpartition("=")
        if not separator or not column or not field:
            raise typer.BadParameter(f"{each!r} must be COLUMN=FIELD", param_hint="--map")
        own[column] = field.strip()
    return own


def _say_layout(layout: "Layout") -> None:
    if layout.unused:
        say(f"columns that are not used: {', '.join(layout.unused)}.")


def _report(file: Path, complaint: "Complaint", *, as_json: bool) -> None:
    if as_json:
        print_json([{"line": complaint.line, "detail": complaint.detail}])
    else:
        print(plain(f"{file}:{complaint.line}: {complaint.detail}"))


async def _send(rows: "list[Row]", settings: Any) -> None:
    from stream.importing import records_of
    from stream.kafka_admin import declare_topics, wait_for_kafka
    from stream.replay import replay_producer, send_lines

    await wait_for_kafka(settings, lambda error: say(f"{error} Waiting for it."))
    await declare_topics(settings)
    lines: Iterator[bytes] = records_of(rows)
    async with replay_producer(settings) as producer:
        await send_lines(lines, producer, prefix=settings.topic_prefix, progress=lambda _: None)
