"""Commands that run something: worker, up, demo, replay."""

import asyncio
import datetime as dt
import signal
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from stream.cli.output import say, terminal

if TYPE_CHECKING:
    from stream.demo import Compared, Played
    from stream.stack import Stack

DEMO_PARTITIONS = 4
DEMO_SEED = 7
PICTURE_COLUMNS = 132

PortFile = Annotated[
    Path | None, typer.Option(hidden=True, help="Write the chosen HTTP port to this file.")
]


def register(app: typer.Typer) -> None:
    """Add the commands to *app*."""
    for command in (worker, up, demo, replay, settings):
        app.command()(command)


def worker(
    kafka_url: Annotated[str | None, typer.Option(help="Instead of SURGELINE_KAFKA_URL.")] = None,
    redis_url: Annotated[str | None, typer.Option(help="Instead of SURGELINE_REDIS_URL.")] = None,
    model: Annotated[Path | None, typer.Option(help="Instead of SURGELINE_MODEL.")] = None,
    clock: Annotated[
        str | None, typer.Option(help="wall or event; instead of SURGELINE_CLOCK.")
    ] = None,
    port_file: PortFile = None,
) -> None:
    """Score events from Kafka into Redis until it is told to stop."""
    from stream.logs import process_logs
    from stream.model_file import read_model
    from stream.settings import load_settings

    chosen = load_settings(kafka_url=kafka_url, redis_url=redis_url, model=model, clock=clock)
    with process_logs("worker", chosen.log_level, chosen.log_format):
        scoring_model = read_model(chosen.model)
        from stream.worker import run_worker

        run_fast(run_worker(chosen, scoring_model, port_file=port_file))


def up(
    workers: Annotated[int, typer.Option(min=1, max=64, help="Worker processes.")] = 1,
    clock: Annotated[str, typer.Option(help="wall, or event for replays.")] = "wall",
    partitions: Annotated[int, typer.Option(min=1, max=256)] = DEMO_PARTITIONS,
    ready_file: Annotated[
        Path | None, typer.Option(help="Write the addresses here as JSON once all are ready.")
    ] = None,
) -> None:
    """Run all of Surgeline in this terminal: broker, Redis and every process but the notifier."""
    from stream.settings import load_settings

    load_settings(clock=clock, embedded=True)
    _run_until_signal(_up(workers, clock, partitions, ready_file))


async def _up(workers: int, clock: str, partitions: int, ready_file: Path | None) -> None:
    from stream.stack import running_stack, write_ready_file

    async with running_stack(workers=workers, clock=clock, partitions=partitions) as stack:
        _print_addresses(stack, terminal())
        if ready_file is not None:
            write_ready_file(ready_file, stack)
        try:
            await stack.watch(say)
        finally:
            _forget(ready_file)


def _forget(ready_file: Path | None) -> None:
    if ready_file is not None:
        ready_file.unlink(missing_ok=True)


def _print_addresses(stack: "Stack", console: Console) -> None:
    at = stack.addresses
    console.print("[bold]Surgeline is up.[/bold] Ctrl-C ends all of it.")
    console.print(f"  Board     [bold]{at['board']}[/bold]")
    console.print(f"  Collector {at['collector']}")
    console.print(f"  Kafka     {at['kafka']}")
    console.print(f"  Redis     {at['redis']}")
    console.print(f"  Exporter  {at['exporter']}")
    for member in stack.workers:
        console.print(f"  {member.name:9} {member.url}/metrics")
    console.print("In another terminal:")
    console.print(f"  export SURGELINE_KAFKA_URL={at['kafka']} SURGELINE_REDIS_URL={at['redis']}")
    console.print("  surgeline top")


def demo(
    once: Annotated[bool, typer.Option(help="End after the summary.")] = False,
    seed: Annotated[int, typer.Option(help="Another market for another number.")] = DEMO_SEED,
    workers: Annotated[int, typer.Option(min=1, max=16)] = 1,
    picture: Annotated[
        Path | None, typer.Option(hidden=True, help="Save what is shown as SVG.")
    ] = None,
) -> None:
    """Play a simulated quarter of a market through the real stack, and show what it says."""
    console = terminal() if picture is None else Console(record=True, width=PICTURE_COLUMNS)
    _run_until_signal(_demo(console, once=once, seed=seed, workers=workers))
    if picture is not None:
        console.save_svg(str(picture), title="surgeline demo", clear=True)


async def _demo(console: Console, *, once: bool, seed: int, workers: int) -> None:
    from stream.demo import compare, play, play_live, simulated_lines
    from stream.settings import load_settings
    from stream.stack import running_stack

    end = dt.datetime.now(dt.UTC)
    console.print("Starting broker, Redis and Surgeline on loopback ...", style="dim")
    async with running_stack(workers=workers, clock="event", partitions=DEMO_PARTITIONS) as stack:
        at = stack.addresses
        settings = load_settings(
            embedded=True, kafka_url=at["kafka"], redis_url=at["redis"], clock="event"
        )
        lines = await asyncio.to_thread(simulated_lines, seed, end=end)
        with _bars(len(lines)) as (on_sent, on_scored):
            played = await play(lines, settings, on_sent=on_sent, on_scored=on_scored)
        _print_played(played, console)
        _print_compared(await compare(lines, settings), console)
        if once:
            return
        del lines
        _print_addresses(stack, console)
        console.print("Live events follow, a few a second:", style="dim")
        watching = asyncio.create_task(stack.watch(say))
        playing = asyncio.create_task(play_live(settings, seed, lambda e: _print_event(e, console)))
        try:
            await asyncio.wait((watching, playing), return_when=asyncio.FIRST_EXCEPTION)
            await watching
        finally:
            watching.cancel()
            playing.cancel()


@contextmanager
def _bars(total: int) -> Iterator[Any]:
    columns = (
        TextColumn("{task.description:>8}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=Console(stderr=True)) as progress:
        sending = progress.add_task("produced", total=total)
        scoring = progress.add_task("scored", total=total)
        yield (
            lambda count: progress.advance(sending, count),
            lambda count: progress.update(scoring, completed=count),
        )


def _print_played(played: "Played", console: Console) -> None:
    from scoring.model import default_model
    from scoring.rules import Rules
    from stream.cli.pages import print_funnel
    from stream.cli.reading import print_accounts

    print_funnel(played.funnel, console)
    print_accounts(played.top, Rules.of(default_model()), console)
    rate = played.sent.records / played.seconds
    console.print(
        f"{played.sent.records:,} events in {played.seconds:.1f} s, from the first produced to the "
        f"last scored: {rate:,.0f} events/s."
    )


def _print_compared(compared: "Compared", console: Console) -> None:
    if compared.wrong:
        shown = ", ".join(compared.wrong[:5])
        say(f"the stream's scores differ from the core's for {len(compared.wrong)}: {shown}")
        raise typer.Exit(1)
    console.print(
        f"[green]Checked:[/green] the scores of all {compared.accounts} accounts equal "
        f"`surgeline score` over the same events (largest difference "
        f"{compared.largest_difference:.1e}, allowed 1e-09)."
    )


def _print_event(event: dict[str, Any], console: Console) -> None:
    what = event.get("url") or event.get("topic") or event.get("action") or ""
    who = event.get("account_id", "")
    console.print(
        f"  {event['time']}  {who:24} {event['type']:12} {what}", style="dim", markup=False
    )


def replay(
    files: Annotated[list[str], typer.Argument(help="JSONL files, .gz too; - is standard input.")],
    wait: Annotated[bool, typer.Option(help="Return when all is scored.")] = False,
    kafka_url: Annotated[str | None, typer.Option(help="Instead of SURGELINE_KAFKA_URL.")] = None,
    redis_url: Annotated[str | None, typer.Option(help="Instead of SURGELINE_REDIS_URL.")] = None,
) -> None:
    """Send recorded events to their topics."""
    from stream.settings import load_settings

    chosen = load_settings(kafka_url=kafka_url, redis_url=redis_url)
    asyncio.run(_replay(files, chosen, wait=wait))


async def _replay(files: list[str], settings: Any, *, wait: bool) -> None:
    from stream.event_files import EventFiles
    from stream.kafka_admin import declare_topics, wait_for_kafka
    from stream.redis_access import open_store
    from stream.replay import replay_producer, scored, send_lines

    await wait_for_kafka(settings, lambda error: say(f"{error} Waiting for it."))
    partitions = await declare_topics(settings)
    lines = [line for line in EventFiles(files) if line.strip()]
    with _bars(len(lines)) as (on_sent, on_scored):
        async with replay_producer(settings) as producer:
            sent = await send_lines(lines, producer, prefix=settings.topic_prefix, progress=on_sent)
        if wait:
            store = open_store(settings)
            await scored(sent, store, partitions=partitions, progress=on_scored)
            await store.close()
    unroutable = f", {sent.unroutable} of them dead letters" if sent.unroutable else ""
    say(f"sent {sent.records} records{unroutable}.")


def settings(
    markdown: Annotated[bool, typer.Option(help="As a Markdown table.")] = False,
) -> None:
    """List the environment variables that set things, their defaults and meaning."""
    from stream.settings import settings_help

    rows = settings_help()
    if markdown:
        print("| variable | default | meaning |\n| --- | --- | --- |")
        for name, default, meaning in rows:
            print(f"| `{name}` | {f'`{default}`' if default else ''} | {meaning} |")
        return
    table = Table(box=None, pad_edge=False)
    for title in ("variable", "default", "meaning"):
        table.add_column(title)
    for row in rows:
        table.add_row(*row)
    terminal().print(table)


def run_fast(work: Coroutine[Any, Any, None]) -> None:
    """Run *work* on uvloop where there is one."""
    try:
        import uvloop
    except ImportError:
        asyncio.run(work)
    else:
        uvloop.run(work)


def _run_until_signal(work: Coroutine[Any, Any, None]) -> None:
    """Run *work*, cancelling it at SIGINT or SIGTERM so that it ends what it started."""

    async def run() -> None:
        task = asyncio.ensure_future(work)
        loop = asyncio.get_running_loop()
        for each in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(each, task.cancel)
        with suppress(asyncio.CancelledError):
            await task

    asyncio.run(run())
