"""Recorded events: JSON lines in files, plain or gzip, or on standard input."""

import gzip
import io
import sys
import zlib
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Final, cast

from stream.errors import NotFound, SurgelineError

STDIN: Final = "-"
_GZIP_MAGIC: Final = b"\x1f\x8b"


class EventFiles:
    """The lines of *names*, one file after the other; ``-`` is standard input.

    Iterates over lines as bytes, line ends included. Whether a file is compressed is seen by its
    first bytes. Raises NotFound for a file that is not there, and SurgelineError for one that
    cannot be read or breaks off.
    """

    def __init__(self, names: Sequence[str]) -> None:
        self._names = list(names)
        self._begins: list[int] = []
        self._read = 0

    def __iter__(self) -> Iterator[bytes]:
        """Yield the lines."""
        self._begins, self._read = [], 0
        for name in self._names:
            self._begins.append(self._read)
            yield from self._lines(name)

    def place(self, line: int) -> str:
        """Return file and line number there of the *line*-th line of all, counted from 1."""
        index = bisect_right(self._begins, line - 1) - 1
        return f"{_shown(self._names[index])}:{line - self._begins[index]}"

    def _lines(self, name: str) -> Iterator[bytes]:
        try:
            with _opened(name) as lines:
                for line in lines:
                    self._read += 1
                    yield line
        except (EOFError, zlib.error, OSError) as error:
            reason = (error.strerror if isinstance(error, OSError) else None) or str(error)
            kind = NotFound if isinstance(error, FileNotFoundError) else SurgelineError
            raise kind(f"{_shown(name)} cannot be read: {reason.rstrip('.')}.") from error


def _shown(name: str) -> str:
    return "standard input" if name == STDIN else name


@contextmanager
def _opened(name: str) -> Iterator[Iterable[bytes]]:
    if name == STDIN:  # stays open: it is not ours
        yield _uncompressed(sys.stdin.buffer)
    else:
        with Path(name).open("rb") as file:
            yield _uncompressed(file)


def _uncompressed(file: IO[bytes]) -> Iterable[bytes]:
    peekable = file if isinstance(file, io.BufferedReader) else None
    if peekable is None:
        peekable = io.BufferedReader(cast(io.RawIOBase, file))
    if peekable.peek(2)[:2] == _GZIP_MAGIC:
        return gzip.GzipFile(fileobj=peekable, mode="rb")
    return peekable
