"""The append-only file of a Redis, as an accident leaves it: older, or cut in a transaction."""

import re
import shutil
from pathlib import Path
from typing import Any, NamedTuple

import redis

from tests.system.harness import eventually

KEPT_WHOLE = ("auto-aof-rewrite-percentage 0",)
"""With this line of its configuration, the file only grows."""
MULTI = b"*1\r\n$5\r\nMULTI\r\n"
EXEC = b"*1\r\n$4\r\nEXEC\r\n"
FENCED = re.compile(
    rb"sl:\{(\d+)\}:fence\r\n\$6\r\ncommit\r\n.*?\$3\r\nseq\r\n\$\d+\r\n(\d+)\r\n", re.DOTALL
)


class CutCommit(NamedTuple):
    """A commit of which the file holds the beginning only."""

    shard: int
    seq: int
    """The sequence number that the shard had after it."""


def append_only_directory(client: "redis.Redis") -> Path:
    """Return where the Redis of *client* keeps its append-only file."""
    settings: Any = client.config_get("dir", "appenddirname")
    return Path(settings["dir"], settings["appenddirname"])


def copied(directory: Path, to: Path) -> Path:
    """Copy the files as they are now, while Redis writes to them; return the copy."""
    copy = to / "earlier"
    shutil.rmtree(copy, ignore_errors=True)
    shutil.copytree(directory, copy)
    return copy


def put_back(copy: Path, directory: Path) -> None:
    """Replace the files of a Redis that does not run."""
    shutil.rmtree(directory)
    shutil.copytree(copy, directory)


def rewrite(client: "redis.Redis") -> None:
    """Have Redis write its append-only file anew, as the runbook asks after a short read.

    Redis drops a transaction that the file's end cuts off, but leaves its whole commands in the
    file, where the next start would run them together with what was appended since.
    """
    client.bgrewriteaof()
    assert eventually(
        lambda: not client.info("persistence")["aof_rewrite_in_progress"], within_seconds=30
    )


def cut_in_last_commit(directory: Path) -> CutCommit:
    """End the file of a Redis that does not run in the middle of its last transaction."""
    (file,) = directory.glob("*.incr.aof")
    written = file.read_bytes()
    end = written.rindex(EXEC)
    begin = written.rindex(MULTI, 0, end)
    fenced = FENCED.findall(written[begin:end])
    assert len(fenced) == 1, "the last transaction is no commit"
    with file.open("r+b") as cut:
        cut.truncate((begin + end) // 2)
    return CutCommit(*map(int, fenced[0]))
