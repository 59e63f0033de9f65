"""The command kpis: figures of a period as a table, JSON, CSV or a report to be mailed."""

import asyncio
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from stream.cli.options import Json, ModelFile, RedisUrl
from stream.cli.output import print_json, say, terminal, text

if TYPE_CHECKING:
    from scoring.kpis.engine import Figure
    from scoring.kpis.period import Period
    from stream.settings import Settings

PERIOD_SECONDS = 30 * 86_400.0


def register(app: typer.Typer) -> None:
    """Add this module's command to *app*."""
    app.command()(kpis)


def kpis(
    files: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[FILE...]", help="Recorded events (JSON lines, gzip, -) instead of Redis."
        ),
    ] = None,
    *,
    begin: Annotated[
        str | None,
        typer.Option("--from", metavar="TIME", help="Begin of the period; absent: 30 days before."),
    ] = None,
    end: Annotated[
        str | None,
        typer.Option("--to", metavar="TIME", help="Its end, no part of it; absent: now."),
    ] = None,
    tier: Annotated[
        str | None, typer.Option("--tier", help="Only this tier: all, 1, 2, 3 or none.")
    ] = None,
    as_json: Json = False,
    as_csv: Annotated[bool, typer.Option("--csv", help="Print CSV.")] = False,
    html: Annotated[
        Path | None,
        typer.Option("--html", metavar="FILE", help="Write one page with charts, to be mailed."),
    ] = None,
    accounts: Annotated[
        bool, typer.Option("--accounts", help="Print what is known per account, as JSON.")
    ] = False,
    definitions: Annotated[
        bool, typer.Option("--definitions", help="Print what each KPI means, and end.")
    ] = False,
    redis_url: RedisUrl = None,
    model: ModelFile = None,
) -> None:
    """Compute the KPIs of a period, in total and per tier, with the accounts behind each.

    A dash stands where there is not enough data; --json says why. Times are like 2026-01-31 (UTC
    midnight) or 2026-01-31T09:00:00Z. With files, the same from recorded events.
    """
    from scoring.kpis.definitions import definitions_markdown
    from scoring.kpis.engine import kpis_of
    from stream.settings import load_settings

    if definitions:
        print(definitions_markdown(), end="")
        return
    settings = load_settings(redis_url=redis_url, model=model)
    period = _period(settings, files, _seconds(begin, "--from"), _seconds(end, "--to"))
    if accounts:
        _print_accounts(period, tier)
        return
    figures = [each for each in kpis_of(period) if tier in (None, each.tier)]
    if html is not None:
        _write(html, period, figures)
    if as_csv:
        from stream.kpi_table import write_csv

        write_csv(figures, sys.stdout)
    elif as_json:
        print_json(_rows(period, figures))
    elif html is None:
        _print_table(period, figures)


def _seconds(given: str | None, option: str) -> float | None:
    from scoring.report import parse_time

    try:
        return None if given is None else parse_time(given)
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint=option) from None


def _period(
    settings: "Settings", files: list[str] | None, begin: float | None, end: float | None
) -> "Period":
    from scoring.kpis.engine import kpi_period
    from scoring.rules import Rules
    from stream.event_files import EventFiles
    from stream.kpi_reading import facts_of_lines
    from stream.model_file import read_model

    if files:
        rules = Rules.of(read_model(settings.model))
        facts, run, end = facts_of_lines(EventFiles(files), rules, until=end, now=time.time())
        dead = sum(run.dead.values())
        if dead:
            say(f"{dead} bad records are left out; `surgeline score` says which.")
    else:
        facts, rules, end = asyncio.run(_stored(settings, end))
    begin = end - PERIOD_SECONDS if begin is None else begin
    if begin >= end:
        raise typer.BadParameter("the period ends before it begins.", param_hint="--from")
    return kpi_period(facts, rules, begin, end)


async def _stored(settings: "Settings", end: float | None) -> Any:
    from stream.kpi_reading import stored_facts, stored_now
    from stream.reader import open_scores

    async with open_scores(settings) as stored:
        facts = await stored_facts(stored)
        return facts, stored.rules, await stored_now(stored) if end is None else end


def _rows(period: "Period", figures: "list[Figure]") -> Iterator[dict[str, Any]]:
    from scoring.report import rfc3339
    from stream.kpi_table import row

    span = {"from": rfc3339(period.start), "to": rfc3339(period.end)}
    return (row(figure) | span for figure in figures)


def _print_accounts(period: "Period", tier: str | None) -> None:
    from scoring.kpis.per_account import per_account

    wanted = {None: True, "all": True}
    print_json(
        each
        for each in per_account(period)
        if wanted.get(tier, str(each["tier"] or "none") == tier)
    )


def _write(path: Path, period: "Period", figures: "list[Figure]") -> None:
    from stream.errors import SurgelineError
    from stream.kpi_report import report

    try:
        path.write_text(report(period, figures), encoding="utf-8")
    except OSError as error:
        raise SurgelineError(f"{path} cannot be written: {error.strerror or error}.") from error
    say(f"wrote {path}.")


def _print_table(period: "Period", figures: "list[Figure]") -> None:
    from rich.table import Table

    from scoring.report import rfc3339
    from stream.kpi_table import MOST_ROWS, UNLISTED, behind, lines, shown

    tiers = list(dict.fromkeys(figure.tier for figure in figures))
    table = Table(box=None, header_style="dim", pad_edge=False)
    for name in ("KPI", "figure", "by"):
        table.add_column(name, overflow="fold")
    for name in (*tiers, "accounts"):
        table.add_column(name if name in ("all", "accounts") else f"tier {name}", justify="right")
    stage, last, rows = "", "", 0
    for kpi, measure, labels, own in lines(figures):
        if kpi.id in UNLISTED:
            continue
        rows = rows + 1 if last == f"{kpi.id} {measure.name}" else 1
        if rows > MOST_ROWS and not measure.exported:
            continue
        if kpi.stage != stage:
            stage = kpi.stage
            table.add_row(text(stage, "bold"))
        title = text(kpi.title) if last.partition(" ")[0] != kpi.id else text("")
        last = f"{kpi.id} {measure.name}"
        values = [shown(own.get(tier), measure.unit) for tier in tiers]
        name = measure.name.replace("_", " ")
        table.add_row(title, text(name), text(labels), *values, behind(own))
    console = terminal()
    console.print(table)
    span = f"{rfc3339(period.start)} to {rfc3339(period.end)}"
    console.print(f"{len(period.facts.accounts)} accounts, {span}", style="dim")
