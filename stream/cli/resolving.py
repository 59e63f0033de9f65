"""Commands of whose event it is: resolver, resolve, import."""

import time
from collections import Counter
from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich import box
from rich.table import Table

from stream.cli.options import Json, KafkaUrl, ModelFile, RedisUrl
from stream.cli.output import plain, print_json, say, terminal, text
from stream.cli.running import PortFile, run_fast

if TYPE_CHECKING:
    from scoring.attribution import Decision


def register(app: typer.Typer) -> None:
    """Add this module's commands to *app*."""
    app.command()(resolver)
    app.command()(resolve)


def resolver(
    kafka_url: KafkaUrl = None,
    redis_url: RedisUrl = None,
    model: ModelFile = None,
    port_file: PortFile = None,
) -> None:
    """Feed the directory of accounts and people, and find accounts for events that wait."""
    from stream.logs import process_logs
    from stream.model_file import read_model
    from stream.settings import load_settings

    chosen = load_settings(kafka_url=kafka_url, redis_url=redis_url, model=model)
    with process_logs("resolver", chosen.log_level, chosen.log_format):
        scoring_model = read_model(chosen.model)
        from stream.resolving.process import run_resolver

        run_fast(run_resolver(chosen, scoring_model, port_file=port_file))


def resolve(
    files: Annotated[
        list[str],
        typer.Argument(metavar="FILE...", help="JSON lines, plain or gzip; - reads stdin."),
    ],
    explain: Annotated[
        bool, typer.Option("--explain", help="List every decision, in the order of the events.")
    ] = False,
    model: ModelFile = None,
    as_json: Json = False,
) -> None:
    """Say whose events without an account are, by the accounts and contacts in the same files.

    Files count in the order given, as with `surgeline score`: what waits for an account is listed
    where it was found, after the record that led to it. --json prints decisions with --explain,
    else the counts.
    """
    from stream.model_file import read_model
    from stream.networks import open_networks
    from stream.settings import load_settings

    settings = load_settings(model=model)
    chosen = read_model(settings.model).resolution
    decisions = _decisions(files, chosen, open_networks(settings.networks), settings)
    counts: Counter[str] = Counter()
    rows = _counted(decisions, counts)
    if explain and as_json:
        print_json(rows)
    elif explain:
        for row in rows:
            print(_line(row), flush=False)
    else:
        for _ in rows:
            pass
    if as_json and not explain:
        print_json([dict(sorted(counts.items()))])
    elif not as_json:
        terminal().print(_table(counts))


def _decisions(files: list[str], model: Any, look_up: Any, settings: Any) -> "Iterator[Decision]":
    from scoring.attribution import Attribution
    from stream.event_files import EventFiles
    from stream.offline import read_events

    attribution = Attribution(model, look_up)
    lines = EventFiles(files)
    bad = 0
    for number, event, at in read_events(
        lines, now=time.time(), max_record_bytes=settings.max_record_bytes
    ):
        if isinstance(event, dict):
            yield from attribution.take(event, at)
            continue
        bad += 1
        if bad == 1:
            say(f"the first bad record, at {lines.place(number)}: {event.detail}")
    if bad:
        say(f"bad records: {bad}; they are left out.")


def _counted(decisions: "Iterator[Decision]", counts: Counter[str]) -> Iterator[dict[str, Any]]:
    from scoring.resolution import NotFound

    for each in decisions:
        event, found = each.event, each.resolution
        if found is None:
            continue
        row: dict[str, Any] = {"id": event["id"], "source": event["source"]}
        row |= {"type": event["type"], "time": event["time"].isoformat()}
        row |= {name: event[name] for name in CLUES if name in event}
        if isinstance(found, NotFound):
            row |= {"account_id": None, "why": found.why.value}
            counts[f"not found: {found.why.value}"] += 1
        else:
            row |= {"account_id": found.account_id, "by": found.by, "confidence": found.confidence}
            if found.rolled_up_from is not None:
                row["rolled_up_from"] = found.rolled_up_from
            row["backwards"] = each.backwards
            counts[found.by] += 1
            if each.backwards:
                counts["of them backwards"] += 1
        yield row


CLUES = ("contact_id", "email", "anonymous_id", "network_host", "ip")


def _line(row: dict[str, Any]) -> str:
    clues = " ".join(f"{name}={row[name]}" for name in CLUES if name in row)
    if row["account_id"] is None:
        return plain(f"{row['id']}  {clues}  ->  nobody: {row['why']}")
    later = ", backwards" if row["backwards"] else ""
    said = f"{row['account_id']} (by {row['by']}, confidence {row['confidence']:g}{later})"
    return plain(f"{row['id']}  {clues}  ->  {said}")


def _table(counts: Counter[str]) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, header_style="bold")
    table.add_column("decided by")
    table.add_column("events", justify="right")
    for name, count in sorted(counts.items()):
        table.add_row(text(name), text(count))
    return table
