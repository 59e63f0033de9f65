"""Commands on records that broke the contract: dead-letters list, dead-letters replay."""

import asyncio
import heapq
from collections.abc import AsyncIterator, Iterable
from typing import TYPE_CHECKING, Annotated

import typer
from rich import box
from rich.table import Table

from scoring.errors import Reason
from stream.cli.operating import quiet_libraries
from stream.cli.options import Json, KafkaUrl
from stream.cli.output import print_json, say, terminal, text

if TYPE_CHECKING:
    from stream.dead_letter_log import DeadLetterLog, Replayed
    from stream.dead_letters import Chosen, DeadLetter, Summary
    from stream.settings import Settings

TABLE_ROWS = 100

Reasons = Annotated[
    list[Reason] | None, typer.Option("--reason", help="Only with this reason; repeatable.")
]
Topics = Annotated[
    list[str] | None,
    typer.Option("--topic", metavar="NAME", help="Only from this input topic; repeatable."),
]
Since = Annotated[
    str | None,
    typer.Option("--since", metavar="TIME", help="Only those written at or after this time."),
]


def register(app: typer.Typer) -> None:
    """Add this module's commands to *app*."""
    group = typer.Typer(
        help="Look at records that broke the contract, and send them again.", no_args_is_help=True
    )
    group.command("list")(list_letters)
    group.command("replay")(replay_letters)
    app.add_typer(group, name="dead-letters")


def list_letters(
    *,
    reason: Reasons = None,
    topic: Topics = None,
    since: Since = None,
    limit: Annotated[
        int | None,
        typer.Option(
            "--limit", min=1, help="The newest so many; without it 100, and all with --json."
        ),
    ] = None,
    summary: Annotated[
        bool, typer.Option("--summary", help="Only how many there are, by topic and reason.")
    ] = False,
    kafka_url: KafkaUrl = None,
    as_json: Json = False,
) -> None:
    """List dead letters, the newest last.

    With --json each line holds a whole record, its value as text (where it is text) and in
    base64, so that `dead-letters replay` can read it back.
    """
    from stream.settings import load_settings

    settings = load_settings(kafka_url=kafka_url)
    chosen = _chosen(reason, topic, since)
    quiet_libraries()
    if summary:
        counted = asyncio.run(_summary(settings, chosen))
        if as_json:
            print_json(counted.rows())
        else:
            terminal().print(_summary_table(counted))
    elif as_json:
        asyncio.run(_print_json(settings, chosen, limit))
    else:
        asyncio.run(_print_table(settings, chosen, limit or TABLE_ROWS))


def replay_letters(
    files: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[FILE]...",
            help="Lines of `dead-letters list --json`, repaired; - is standard input. "
            "Without files: the letters in Kafka.",
        ),
    ] = None,
    *,
    reason: Reasons = None,
    topic: Topics = None,
    since: Since = None,
    limit: Annotated[
        int | None, typer.Option("--limit", min=1, help="At most so many, the oldest first.")
    ] = None,
    again: Annotated[
        bool, typer.Option("--again", help="Also those that were replayed before.")
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only say what would be sent.")
    ] = False,
    kafka_url: KafkaUrl = None,
) -> None:
    """Send dead letters to the topics that they came from, as they were.

    With their key, time stamp and headers. A letter is replayed once: a receipt in `dead-letters`
    says that it was. A record that is still bad becomes a new dead letter.
    """
    from stream.settings import load_settings

    settings = load_settings(kafka_url=kafka_url)
    chosen = _chosen(reason, topic, since)
    quiet_libraries()
    counted, done = asyncio.run(
        _replay(settings, files or [], chosen, limit=limit, again=again, dry_run=dry_run)
    )
    if dry_run:
        terminal().print(_summary_table(counted))
    verb = "would replay" if dry_run else "replayed"
    letters = "1 dead letter" if done.records == 1 else f"{done.records} dead letters"
    say(f"{verb} {letters}{_passed_over(done)}.")


def _passed_over(done: "Replayed") -> str:
    parts = []
    if done.before:
        parts.append(f"{done.before} replayed before (--again replays them)")
    if done.unroutable:
        parts.append(f"{done.unroutable} that no topic takes")
    return f"; passed over {' and '.join(parts)}" if parts else ""


def _chosen(reasons: list[Reason] | None, topics: list[str] | None, since: str | None) -> "Chosen":
    from scoring.report import parse_time
    from stream.dead_letters import FILES, Chosen
    from stream.topics import ALERTS, INPUTS

    known = (*INPUTS, ALERTS, FILES)
    for name in topics or []:
        if name not in known:
            raise typer.BadParameter(f"must be one of {', '.join(known)}.", param_hint="--topic")
    try:
        at = None if since is None else parse_time(since)
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="--since") from None
    return Chosen(frozenset(each.value for each in reasons or []), frozenset(topics or []), at)


async def _summary(settings: "Settings", chosen: "Chosen") -> "Summary":
    from stream.dead_letter_log import open_dead_letters
    from stream.dead_letters import Summary

    counted = Summary()
    async with open_dead_letters(settings) as log:
        done = await log.receipts()
        async for letter in log.letters(chosen):
            counted.add(letter, was_replayed=letter.identity in done)
    return counted


async def _print_json(settings: "Settings", chosen: "Chosen", limit: int | None) -> None:
    from stream.dead_letter_log import open_dead_letters
    from stream.dead_letter_rows import row_of

    async with open_dead_letters(settings) as log:
        done = await log.receipts()
        if limit is None:
            async for letter in log.letters(chosen):
                print_json([row_of(letter, was_replayed=letter.identity in done)])
        else:
            found, _ = await _newest(log, chosen, limit)
            print_json(row_of(each, was_replayed=each.identity in done) for each in found)


async def _print_table(settings: "Settings", chosen: "Chosen", limit: int) -> None:
    from stream.dead_letter_log import open_dead_letters

    async with open_dead_letters(settings) as log:
        done = await log.receipts()
        found, total = await _newest(log, chosen, limit)
    terminal().print(_table(found, done))
    if total > len(found):
        say(f"these are the newest {len(found)} of {total}; --limit shows more, --summary counts.")


async def _newest(
    log: "DeadLetterLog", chosen: "Chosen", limit: int
) -> "tuple[list[DeadLetter], int]":
    """Return the newest *limit* letters, the newest last, and how many there are."""
    heap: list[tuple[float, int, DeadLetter]] = []
    total = 0
    async for letter in log.letters(chosen):
        total += 1
        entry = letter.time, total, letter
        if len(heap) < limit:
            heapq.heappush(heap, entry)
        else:
            heapq.heappushpop(heap, entry)
    return [letter for _, _, letter in sorted(heap)], total


async def _replay(
    settings: "Settings",
    files: list[str],
    chosen: "Chosen",
    *,
    limit: int | None,
    again: bool,
    dry_run: bool,
) -> "tuple[Summary, Replayed]":
    from stream.dead_letter_log import Replay, open_dead_letters
    from stream.dead_letters import Summary
    from stream.kafka_admin import Reached, declare_topics
    from stream.replay import replay_producer

    if not dry_run:
        await declare_topics(settings)
    counted = Summary()
    async with (
        open_dead_letters(settings) as log,
        Reached(settings),
        replay_producer(settings) as p,
    ):
        done = await log.receipts()
        replay = Replay(
            None if dry_run else p,
            set() if again else done,
            prefix=settings.topic_prefix,
            partitions=len(log.partitions),
        )
        async for letter in _in_files(files, chosen) if files else log.letters(chosen):
            known = letter.identity in done
            if await replay.add(letter):
                counted.add(letter, was_replayed=known)
            if replay.count.records == limit:
                break
        await replay.finish()
    return counted, replay.count


async def _in_files(files: list[str], chosen: "Chosen") -> "AsyncIterator[DeadLetter]":
    from stream.dead_letter_rows import letter_of_row
    from stream.event_files import EventFiles

    lines = EventFiles(files)
    for number, line in enumerate(lines, start=1):
        if line.strip():
            letter = letter_of_row(line, place=lines.place(number))
            if letter in chosen:
                yield letter


def _table(found: "Iterable[DeadLetter]", done: set[str]) -> Table:
    from scoring.report import rfc3339

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, header_style="bold")
    table.add_column("written", no_wrap=True)
    table.add_column("origin", overflow="fold")
    table.add_column("reason", no_wrap=True)
    table.add_column("detail", overflow="fold")
    table.add_column("value begins", overflow="fold")
    table.add_column("replayed")
    for each in found:
        table.add_row(
            text(rfc3339(float(int(each.time)))),
            text(each.identity),
            text(each.reason, "yellow"),
            text(each.detail),
            text(each.beginning, "dim"),
            text("yes" if each.identity in done else "", "green"),
        )
    return table


def _summary_table(counted: "Summary") -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, header_style="bold")
    table.add_column("topic")
    table.add_column("reason")
    table.add_column("letters", justify="right")
    table.add_column("replayed", justify="right")
    table.add_column("newest")
    for row in counted.rows():
        table.add_row(*(text(value) for value in row.values()))
    return table
