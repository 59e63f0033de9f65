"""Command for people's rights: forget."""

import asyncio
from typing import TYPE_CHECKING, Annotated, Any

import typer

from stream.cli.operating import quiet_libraries
from stream.cli.options import KafkaUrl, RedisUrl
from stream.cli.output import plain, say

if TYPE_CHECKING:
    from stream.outputs import Message
    from stream.people.erasing import Erasure
    from stream.people.naming import Person
    from stream.settings import Settings

SHOWN = 20


def register(app: typer.Typer) -> None:
    """Add this module's command to *app*."""
    app.command()(forget)


def forget(
    who: Annotated[str, typer.Argument(metavar="CONTACT|EMAIL", help="A contact's id or address.")],
    *,
    check: Annotated[
        bool, typer.Option("--check", help="Only look whether Redis still names the person.")
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    redis_url: RedisUrl = None,
    kafka_url: KafkaUrl = None,
) -> None:
    """Erase a person from all that Redis holds, keep their account's sums, and prove it.

    Workers must run: they erase in the scores. Afterwards, and with --check alone, every key is
    searched for the id and the address; where one is left it is printed, and the exit code is 1.
    Kafka's records stay until their retention ends: the runbook says how to remove them.
    """
    from stream.settings import load_settings

    settings = load_settings(redis_url=redis_url, kafka_url=kafka_url)
    if not (check or yes):
        typer.confirm(f"Erase {plain(who)} for good?", abort=True, err=True)
    quiet_libraries()
    if check:
        _report(asyncio.run(_left(settings, who)), who)
        return
    done = asyncio.run(_erased(settings, who))
    accounts = "1 account" if len(done.accounts) == 1 else f"{len(done.accounts)} accounts"
    beside = "1 entry" if done.entries == 1 else f"{done.entries} entries"
    say(f"erased {who} in {accounts} and {beside} beside them.")
    _report(done.left, who)


def _report(left: list[str], who: str) -> None:
    if not left:
        say(f"no key names {who}.")
        return
    number = "1 key names" if len(left) == 1 else f"{len(left)} keys name"
    say(f"{number} {who} still:")
    for key in left[:SHOWN]:
        print(plain(key))
    if len(left) > SHOWN:
        print(f"... and {len(left) - SHOWN} more")
    raise typer.Exit(1)


async def _left(settings: "Settings", who: str) -> list[str]:
    from stream.people.erasing import left_of, who_is
    from stream.redis_access import let_in, open_store

    store = open_store(settings)
    try:
        await let_in(store.meta)
        return await left_of(store, await who_is(store, who))
    finally:
        await store.close()


async def _erased(settings: "Settings", who: str) -> "Erasure":
    from stream.errors import NotFound
    from stream.people.erasing import Eraser, who_is
    from stream.reader import redis_place
    from stream.redis_access import let_in, open_store
    from stream.replay import replay_producer

    store = open_store(settings)
    try:
        meta = await let_in(store.meta)
        if "partitions" not in meta:
            raise NotFound(f"Redis at {redis_place(settings.redis_url)} holds no Surgeline scores.")
        person: Person = await who_is(store, who)
        async with replay_producer(settings) as producer:
            eraser = Eraser(
                store,
                _sender(producer, settings.topic_prefix),
                partitions=int(meta["partitions"]),
                clock=meta.get("clock", "wall"),
            )
            return await eraser.erase(person)
    finally:
        await store.close()


def _sender(producer: Any, prefix: str) -> Any:
    from stream.outputs import produce

    async def send(messages: "list[Message]") -> list[tuple[int, int]]:
        waiting = [await produce(producer, each, prefix=prefix) for each in messages]
        stored = await asyncio.gather(*waiting)
        return [(each.partition, each.offset) for each in stored]

    return send
