"""Commands that operate Surgeline: topics, reset, exporter."""

import asyncio
import logging
import time
from typing import TYPE_CHECKING, Annotated

import typer
from rich import box
from rich.table import Table

from stream.cli.options import Json, KafkaUrl, ModelFile, RedisUrl
from stream.cli.output import print_json, say, terminal, text
from stream.cli.running import PortFile

if TYPE_CHECKING:
    from stream.settings import Settings
    from stream.topic_list import TopicFound

DAY_MS = 86_400_000


def register(app: typer.Typer) -> None:
    """Add this module's commands to *app*."""
    app.command()(topics)
    app.command()(reset)
    app.command()(exporter)


def topics(
    create: Annotated[
        bool, typer.Option("--create", help="Declare the missing ones, as a worker's start does.")
    ] = False,
    kafka_url: KafkaUrl = None,
    as_json: Json = False,
) -> None:
    """List the topics: partitions, retention, and whether Kafka has them."""
    from stream.settings import load_settings

    settings = load_settings(kafka_url=kafka_url)
    quiet_libraries()
    found = asyncio.run(_topics(settings, create=create))
    if as_json:
        print_json(
            {
                "topic": each.name,
                "declared": each.declared,
                "partitions": each.partitions,
                "retention_ms": each.retention_ms,
                "compacted": each.compacted,
            }
            for each in found
        )
    else:
        terminal().print(_topics_table(found))


async def _topics(settings: "Settings", *, create: bool) -> "list[TopicFound]":
    from stream.kafka_admin import declare_topics
    from stream.topic_list import find_topics

    if create:
        await declare_topics(settings)
    return await find_topics(settings)


def _topics_table(found: "list[TopicFound]") -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, header_style="bold")
    table.add_column("topic", overflow="fold")
    table.add_column("partitions", justify="right")
    table.add_column("kept")
    table.add_column("state")
    for each in found:
        state = text("declared", "green") if each.declared else text("missing", "yellow")
        table.add_row(text(each.name), text(each.partitions), text(_kept(each)), state)
    return table


def _kept(topic: "TopicFound") -> str:
    if topic.compacted:
        return "newest of each key"
    if topic.retention_ms is None:
        return "as the broker says"
    if topic.retention_ms < 0:
        return "for ever"
    days, rest = divmod(topic.retention_ms, DAY_MS)
    return f"{topic.retention_ms / DAY_MS:.2f} days" if rest else f"{days} days"


def quiet_libraries() -> None:
    """Let Kafka's client not log what the command itself says in one sentence."""
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL + 1)


def reset(
    replay: Annotated[
        bool, typer.Option("--replay", help="Let workers score again from the log's beginning.")
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    redis_url: RedisUrl = None,
    kafka_url: KafkaUrl = None,
    model: ModelFile = None,
) -> None:
    """Delete all scores from Redis; stop the workers first.

    Without --replay the next worker's start stops, unless SURGELINE_ON_MISSING_STATE=replay is
    set, so that nobody rebuilds by accident what the log does not hold any more.
    """
    from stream.reader import redis_place
    from stream.settings import load_settings

    settings = load_settings(redis_url=redis_url, kafka_url=kafka_url, model=model)
    place = redis_place(settings.redis_url)
    if not yes:
        typer.confirm(f"Delete all Surgeline keys from Redis at {place}?", abort=True, err=True)
    quiet_libraries()
    erased = asyncio.run(_reset(settings, replay=replay))
    say(f"deleted {erased} keys from Redis at {place}.")
    if replay:
        say("the next start scores everything again, from the beginning of Kafka's log.")
    else:
        say(
            "the next start stops if the group has scored before, unless "
            "SURGELINE_ON_MISSING_STATE=replay is set."
        )


async def _reset(settings: "Settings", *, replay: bool) -> int:
    from stream.kafka_admin import input_partitions
    from stream.model_file import read_model
    from stream.people.keeping import erased_in_accounts, put_back
    from stream.redis_access import open_store
    from stream.state_store import FORMAT

    digest = read_model(settings.model).digest
    await refuse_while_working(settings, must_answer=replay)
    # Everything that can fail comes before the first key is gone.
    partitions = await input_partitions(settings) if replay else None
    store = open_store(settings)
    try:
        people = await erased_in_accounts(store) if replay else {}
        erased = await store.erase()
        if replay:
            await put_back(store, people, partitions or settings.partitions)
            await store.write_meta(
                {
                    "partitions": partitions or settings.partitions,
                    "clock": settings.clock,
                    "format": FORMAT,
                    "digest": digest,
                    "created_at": int(time.time()),
                    "replay": 1,
                }
            )
    finally:
        await store.close()
    return erased


async def refuse_while_working(settings: "Settings", *, must_answer: bool) -> None:
    """Raise RefusedStart while workers or resolvers run; say so when that cannot be known."""
    from stream.errors import RefusedStart, Unreachable
    from stream.kafka_admin import group_members

    for process, group in (("worker", settings.group), ("resolver", f"{settings.group}-resolver")):
        try:
            members = await group_members(settings.model_copy(update={"group": group}))
        except Unreachable as error:
            if must_answer:
                raise
            say(f"warning: {error} Whether a worker is running is not known.")
            return
        if members is None:
            say("warning: the broker does not say whether a worker is running; none must be.")
            return
        if members:
            whose = f"1 {process} is" if members == 1 else f"{members} {process}s are"
            raise RefusedStart(
                f"{whose} in consumer group {group}: stop all {process}s first. One that was "
                f"killed leaves after {settings.session_seconds:g} s."
            )


def exporter(
    redis_url: RedisUrl = None,
    model: ModelFile = None,
    port_file: PortFile = None,
) -> None:
    """Serve the funnel as Prometheus metrics until it is told to stop."""
    from stream.exporter import run_exporter
    from stream.logs import process_logs
    from stream.model_file import read_model
    from stream.settings import load_settings

    settings = load_settings(redis_url=redis_url, model=model)
    with process_logs("exporter", settings.log_level, settings.log_format):
        run_exporter(settings, read_model(settings.model), port_file=port_file)
