"""Backup and restore of everything that one Surgeline keeps in Redis.

Scores and fence belong together: a fence newer than its scores would skip records for ever, an
older one would count them twice. Redis cannot show a whole shard as of one moment without standing
still, so a shard is read while its fence is watched: every commit raises the fence's sequence
number, so what was read between two equal fences is what one commit left. Otherwise the shard is
read again, `ATTEMPTS` times at most. Shards need not agree with each other: each has its own fence,
and from there the worker goes on after a restore.

A shard that is written to ten times a second does not settle by itself. *hold_writes* makes Redis
hold all writes back (``CLIENT PAUSE ... WRITE``) while a shard is read, `HOLD_SECONDS` at most:
workers wait for their commit that long and go on; the fence is watched all the same. Without it
the backup ends with a sentence that names the ways out.

What changes without a commit does no harm, whichever state of it is kept: the owner's token (the
next owner brings its own), announced entries that leave the outbox (announced again, under the
same id), accounts made due at once (looked at once more, or not), event ids that expire.
"""

import asyncio
import os
import secrets
from collections.abc import AsyncIterator, Iterable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Final

from scoring.report import rfc3339
from stream.backup_file import BackupReader, BackupWriter, Header, Record
from stream.backup_values import read_records, size_of, write_records
from stream.directory import PROGRESS
from stream.errors import BadBackup, NotFound, NotSettled, RefusedStart
from stream.state_store import (
    FORMAT,
    META,
    OURS,
    Fence,
    RedisStore,
    readable_format,
    shard_prefix,
)

ATTEMPTS: Final = 5
PAUSE_SECONDS: Final = 0.2
HOLD_SECONDS: Final = 8.0
"""Less than the ten seconds for which a worker waits for an answer."""
WRITES_AT_ONCE: Final = 500
BYTES_AT_ONCE: Final = 4 * 2**20


@dataclass(frozen=True, slots=True)
class Backup:
    """A finished backup."""

    header: Header
    size_bytes: int


async def take_backup(
    store: RedisStore, path: Path, *, now: float, force: bool = False, hold_writes: bool = False
) -> Backup:
    """Write all keys of Surgeline to *path*, as of *now* (Unix seconds) in its header.

    *path* appears when the backup is complete. Raises BadBackup when it exists (unless *force*) or
    cannot be written, NotFound when nothing is stored, NotSettled when a shard was written to
    whenever it was read.
    """
    meta = await store.meta()
    if "partitions" not in meta:
        raise NotFound("Redis holds no Surgeline scores: there is nothing to back up.")
    with _new_file(path, force=force) as file:
        writer = BackupWriter(file)
        partitions = int(meta["partitions"])
        for shard in range(partitions):
            await _write_shard(store, writer, shard, hold_writes=hold_writes)
        await _write_others(store, writer, partitions)
        if await store.meta() != meta:
            raise NotSettled("Scores were reset or restored during the backup: take it again.")
        await _write_keys(store, writer, [META.encode()])
        header = Header(
            format=int(meta.get("format", FORMAT)),
            partitions=partitions,
            digest=meta.get("digest", ""),
            clock=meta.get("clock", "wall"),
            created_at=rfc3339(now),
            keys=writer.keys,
        )
        size_bytes = writer.finish(header)
    return Backup(header, size_bytes)


async def restore_backup(store: RedisStore, path: Path, *, force: bool = False) -> Header:
    """Write all keys of the backup at *path*; return its header.

    The whole file is read once before the first key is written. ``sl:meta`` is written last, so
    that no worker starts on a restore that was broken off. Raises BadBackup, and RefusedStart when
    Redis holds keys of Surgeline; with *force* those are deleted first, ``sl:meta`` before all.
    """
    reader = BackupReader(path)
    header = check_backup(reader)
    if await store.holds_keys():
        if not force:
            raise RefusedStart(
                "Redis holds keys of Surgeline already: restore into an empty one, or delete them "
                "first with --force."
            )
        await store.erase()
    meta: list[Record] = []
    for records in _batches(reader.records(), meta):
        await write_records(store, records)
    await write_records(store, meta)
    return header


def check_backup(reader: BackupReader) -> Header:
    """Return the header of a backup that is whole; raises BadBackup for any other."""
    header = reader.header()
    if not readable_format(header.format):
        raise BadBackup(
            f"The backup has keys of format {header.format} and this Surgeline reads formats up to "
            f"{FORMAT}: restore it with the version that wrote it."
        )
    last: Record | None = None
    for record in reader.records():
        last = record
    if last is None or last.key != META.encode():
        raise BadBackup("The backup does not end with sl:meta: it is no backup of Surgeline.")
    return header


async def _write_shard(
    store: RedisStore, writer: BackupWriter, shard: int, *, hold_writes: bool
) -> None:
    start = writer.mark()
    for attempt in range(ATTEMPTS):
        if attempt:
            writer.back_to(start)
            await asyncio.sleep(PAUSE_SECONDS * attempt)
        async with _held(store, hold=hold_writes):
            before = await _fence(store, shard)
            await _write_matching(store, writer, f"{shard_prefix(shard)}*")
            if await _fence(store, shard) == before:
                return
    way_out = (
        f"reading it takes longer than {HOLD_SECONDS:.0f} s: stop the workers"
        if hold_writes
        else "stop the workers, wait for a quiet minute, or let --hold-writes make them wait"
    )
    raise NotSettled(f"Shard {shard} was written to during each of {ATTEMPTS} readings: {way_out}.")


async def _fence(store: RedisStore, shard: int) -> Fence:
    return (await store.fences([shard]))[shard]


@asynccontextmanager
async def _held(store: RedisStore, *, hold: bool) -> AsyncIterator[None]:
    """Let Redis hold back writes within; it goes on by itself should this process die."""
    if not hold:
        yield
        return
    await store.ask(store.client.client_pause(int(HOLD_SECONDS * 1_000), all=False))
    try:
        yield
    finally:
        await store.ask(store.client.client_unpause())


async def _write_others(store: RedisStore, writer: BackupWriter, partitions: int) -> None:
    """Write the keys that belong to no shard, and not ``sl:meta``."""
    sharded = tuple(shard_prefix(shard).encode() for shard in range(partitions))

    def is_other(key: bytes) -> bool:
        apart = key in (META.encode(), PROGRESS.encode())
        return not apart and not key.startswith(sharded)

    # Before what it speaks of: what the directory is told meanwhile is then told once more.
    await _write_keys(store, writer, [PROGRESS.encode()])
    async for keys in store.keys(OURS):
        await _write_keys(store, writer, [key for key in keys if is_other(key)])


async def _write_matching(store: RedisStore, writer: BackupWriter, pattern: str) -> None:
    """Write all keys that match *pattern*, each once, though a scan may show one twice."""
    known = set[bytes]()
    async for keys in store.keys(pattern):
        new = [key for key in dict.fromkeys(keys) if key not in known]
        known.update(new)
        await _write_keys(store, writer, new)


async def _write_keys(store: RedisStore, writer: BackupWriter, keys: list[bytes]) -> None:
    async for record in read_records(store, keys):
        writer.write(record)


def _batches(records: Iterable[Record], meta: list[Record]) -> Iterator[list[Record]]:
    """Yield *records* some at a time, but for those of ``sl:meta``, which are added to *meta*."""
    batch: list[Record] = []
    size = 0
    for record in records:
        if record.key == META.encode():
            meta.append(record)
            continue
        batch.append(record)
        size += size_of(record)
        if len(batch) >= WRITES_AT_ONCE or size >= BYTES_AT_ONCE:
            yield batch
            batch, size = [], 0
    yield batch


@contextmanager
def _new_file(path: Path, *, force: bool) -> Iterator[BinaryIO]:
    """Open a file that becomes *path* at the end of the block, and is gone if that fails.

    Only its owner may read it, as the accounts in it are nobody else's business.
    """
    refusal = BadBackup(f"{path} exists already: choose another name, or --force to replace it.")
    if path.exists() and not force:
        raise refusal
    unfinished = path.with_name(f".{path.name}.{secrets.token_hex(4)}.part")
    try:
        descriptor = os.open(unfinished, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            with os.fdopen(descriptor, "w+b") as file:
                yield file
                file.flush()
                os.fsync(file.fileno())
            if path.exists() and not force:
                raise refusal
            unfinished.replace(path)
        finally:
            unfinished.unlink(missing_ok=True)
    except OSError as error:
        raise BadBackup(f"{path} cannot be written: {error.strerror or error}.") from error
