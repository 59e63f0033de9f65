"""Commands that copy what is stored to a file and back: backup, restore."""

import asyncio
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from stream.cli.operating import quiet_libraries, refuse_while_working
from stream.cli.options import KafkaUrl, ModelFile, RedisUrl
from stream.cli.output import say

if TYPE_CHECKING:
    from stream.backup import Backup
    from stream.backup_file import Header
    from stream.settings import Settings

BackupFile = Annotated[
    Path, typer.Argument(metavar="FILE", dir_okay=False, help="The backup, one file.")
]


def register(app: typer.Typer) -> None:
    """Add this module's commands to *app*."""
    app.command()(backup)
    app.command()(restore)


def backup(
    file: BackupFile,
    *,
    force: Annotated[bool, typer.Option("--force", help="Replace FILE if it exists.")] = False,
    hold_writes: Annotated[
        bool,
        typer.Option(
            "--hold-writes",
            help="Let Redis hold back writes while a shard is read, 8 s at most; workers wait.",
        ),
    ] = False,
    redis_url: RedisUrl = None,
) -> None:
    """Copy all that Redis holds of this Surgeline to a file.

    Workers may go on. Each shard is read as of one commit; one that is written to all the time is
    given up after five readings, unless --hold-writes is set.
    """
    from stream.settings import load_settings

    settings = load_settings(redis_url=redis_url)
    done = asyncio.run(_backup(settings, file, force=force, hold_writes=hold_writes))
    say(f"wrote {done.header.keys} keys to {file} ({done.size_bytes / 2**20:.1f} MiB).")


async def _backup(settings: "Settings", file: Path, *, force: bool, hold_writes: bool) -> "Backup":
    from stream.backup import take_backup
    from stream.redis_access import open_store

    store = open_store(settings)
    try:
        return await take_backup(store, file, now=time.time(), force=force, hold_writes=hold_writes)
    finally:
        await store.close()


def restore(
    file: BackupFile,
    *,
    force: Annotated[
        bool, typer.Option("--force", help="First delete all Surgeline keys from Redis.")
    ] = False,
    redis_url: RedisUrl = None,
    kafka_url: KafkaUrl = None,
    model: ModelFile = None,
) -> None:
    """Write the keys of a backup to Redis; stop the workers first.

    The next worker goes on where the backup was taken, and scores from Kafka what came since.
    """
    from stream.reader import redis_place
    from stream.settings import load_settings

    settings = load_settings(redis_url=redis_url, kafka_url=kafka_url, model=model)
    quiet_libraries()
    header = asyncio.run(_restore(settings, file, force=force))
    place = redis_place(settings.redis_url)
    say(f"restored {header.keys} keys of {header.created_at} to Redis at {place}.")
    _warn_of_other_settings(settings, header)


async def _restore(settings: "Settings", file: Path, *, force: bool) -> "Header":
    from stream.backup import restore_backup
    from stream.backup_file import BackupReader
    from stream.redis_access import open_store

    BackupReader(file).header()  # a wrong file is said before servers are asked
    await refuse_while_working(settings, must_answer=False)
    store = open_store(settings)
    try:
        return await restore_backup(store, file, force=force)
    finally:
        await store.close()


def _warn_of_other_settings(settings: "Settings", header: "Header") -> None:
    """Say where a worker of *settings* would refuse the scores that were restored."""
    from stream.model_file import read_model

    ours = {"clock": settings.clock, "digest": read_model(settings.model).digest}
    theirs = {"clock": header.clock, "digest": header.digest}
    for name, value in ours.items():
        if value != theirs[name]:
            say(
                f"warning: the backup has {name} {theirs[name]} and these settings have {value}: "
                "a worker starts only with those of the backup."
            )
