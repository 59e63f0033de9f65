"""The backup file: what it looks like, written and read as a stream.

A backup is one gzip file of several members, so `zcat FILE | head -1` shows its header. Inside:

- one line of JSON, padded with spaces to `HEADER_BYTES` bytes (see `Header`). It stands in a member
  of its own that is not compressed, so that it can be written again, with the number of keys,
  when all keys are written;
- records, each a length (4 bytes, big endian) and as many bytes of MessagePack:
  ``["string", key, ttl, value]``, ``["hash", key, ttl, [field, value, ...]]``,
  ``["list", key, ttl, [element, ...]]`` or
  ``["zset", key, ttl, [[member, score], ...]]``, where ttl is the rest of the key's life in
  milliseconds or nil. A large hash or sorted set is spread over several records, and a record may
  come twice: reading them in order, each adding to its key, gives what was stored. ``sl:meta``
  comes last;
- a length of 0 and one line of JSON, ``{"sha256": "..."}``, over all records with their lengths,
  in order, and then the header line.

The types are those of the data, not Redis' own dump format, which only some versions read.
"""

import hashlib
import json
import struct
import zlib
from collections.abc import Iterator
from dataclasses import asdict, dataclass, fields
from gzip import BadGzipFile, GzipFile
from pathlib import Path
from typing import Any, BinaryIO, Final

import msgspec

from stream.errors import BadBackup

VERSION: Final = 1
"""Of this layout; other versions are refused."""
HEADER_BYTES: Final = 1_024
LONGEST_RECORD: Final = 2**30
"""A value of Redis is at most half of it."""

LONGEST_TRAILER: Final = 4_096

_LENGTH: Final = struct.Struct(">I")
_GZIP: Final = 31
"""zlib's window size that stands for a gzip member."""
_LEVEL: Final = 6


class StringRecord(msgspec.Struct, frozen=True, array_like=True, tag="string"):
    """A key that holds bytes."""

    key: bytes
    ttl_ms: int | None
    value: bytes


class HashRecord(msgspec.Struct, frozen=True, array_like=True, tag="hash"):
    """A key that holds a hash, or some fields of it."""

    key: bytes
    ttl_ms: int | None
    fields: list[bytes]
    """Field, value, field, value, ..."""


class SortedSetRecord(msgspec.Struct, frozen=True, array_like=True, tag="zset"):
    """A key that holds a sorted set, or some members of it."""

    key: bytes
    ttl_ms: int | None
    members: list[tuple[bytes, float]]


class ListRecord(msgspec.Struct, frozen=True, array_like=True, tag="list"):
    """A key that holds a list, or the next elements of it."""

    key: bytes
    ttl_ms: int | None
    elements: list[bytes]


Record = StringRecord | HashRecord | SortedSetRecord | ListRecord


@dataclass(frozen=True, slots=True)
class Header:
    """What a backup says of itself."""

    format: int
    """Version of the key layout."""
    partitions: int
    digest: str
    """Of the scoring model."""
    clock: str
    created_at: str
    """RFC 3339."""
    keys: int

    def line(self) -> bytes:
        """Return the header as it stands in the file."""
        text = json.dumps({"surgeline_backup": VERSION} | asdict(self)).encode()
        return text.ljust(HEADER_BYTES - 1) + b"\n"


@dataclass(frozen=True, slots=True)
class Mark:
    """A place that a writer can go back to."""

    position: int
    digest: "hashlib._Hash"
    keys: int


class BackupWriter:
    """Writes a backup to *file*, which can seek; it is complete after `finish`."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._digest = hashlib.sha256()
        self._encode = msgspec.msgpack.Encoder().encode
        self._member = zlib.compressobj(_LEVEL, zlib.DEFLATED, _GZIP)
        self.keys = 0
        self._last = b""
        file.write(_plain_member(b"\n".rjust(HEADER_BYTES)))

    def mark(self) -> Mark:
        """End what can be taken back, and return the place reached."""
        self._file.write(self._member.flush())
        self._member = zlib.compressobj(_LEVEL, zlib.DEFLATED, _GZIP)
        return Mark(self._file.tell(), self._digest.copy(), self.keys)

    def back_to(self, mark: Mark) -> None:
        """Forget what was written since *mark*."""
        self._file.seek(mark.position)
        self._file.truncate()
        self._digest = mark.digest.copy()
        self._member = zlib.compressobj(_LEVEL, zlib.DEFLATED, _GZIP)
        self.keys = mark.keys
        self._last = b""

    def write(self, record: Record) -> None:
        """Add *record*; records of one key come one after the other."""
        self.keys += record.key != self._last
        self._last = record.key
        packed = self._encode(record)
        framed = _LENGTH.pack(len(packed)) + packed
        self._digest.update(framed)
        self._file.write(self._member.compress(framed))

    def finish(self, header: Header) -> int:
        """Write the check sum, and *header* in its place; return the bytes of the file."""
        line = header.line()
        self._digest.update(line)
        trailer = json.dumps({"sha256": self._digest.hexdigest()}).encode() + b"\n"
        self._file.write(self._member.compress(_LENGTH.pack(0) + trailer))
        self._file.write(self._member.flush())
        size_bytes = self._file.tell()
        self._file.seek(0)
        self._file.write(_plain_member(line))
        return size_bytes


class BackupReader:
    """Reads the backup at *path*; every method raises BadBackup when it is not to be trusted.

    What `records` yielded is known to be true only when it has come to its end.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._decode = msgspec.msgpack.Decoder(Record).decode

    def header(self) -> Header:
        """Return the header."""
        with self._opened() as file:
            return self._header(self._line(file))

    def records(self) -> Iterator[Record]:
        """Yield every record, and check the whole file on the way."""
        with self._opened() as file:
            line = self._line(file)
            self._header(line)
            digest = hashlib.sha256()
            while packed := self._packed(file, digest):
                yield self._record(packed)
            digest.update(line)
            self._check_end(self._read(file, LONGEST_TRAILER), digest.hexdigest())

    def _opened(self) -> GzipFile:
        try:
            return GzipFile(self._path, "rb")
        except OSError as error:
            raise BadBackup(f"{self._path} cannot be read: {error.strerror or error}.") from error

    def _read(self, file: GzipFile, size: int) -> bytes:
        try:
            return file.read(size)
        except (EOFError, BadGzipFile, zlib.error) as error:
            raise self._damaged() from error
        except OSError as error:
            raise BadBackup(f"{self._path} cannot be read: {error.strerror or error}.") from error

    def _line(self, file: GzipFile) -> bytes:
        try:
            line = self._read(file, HEADER_BYTES)
        except BadBackup as error:
            if isinstance(error.__cause__, BadGzipFile | zlib.error):
                raise BadBackup(f"{self._path} is no backup of Surgeline.") from error
            raise
        if line.strip():
            return line
        raise self._damaged()  # a backup that was broken off has no header yet

    def _header(self, line: bytes) -> Header:
        try:
            found: Any = json.loads(line)
            version = found["surgeline_backup"]
        except (ValueError, KeyError, TypeError) as error:
            raise BadBackup(f"{self._path} is no backup of Surgeline.") from error
        if version != VERSION:
            raise BadBackup(
                f"{self._path} is a backup of version {version!r} and this Surgeline reads "
                f"version {VERSION}: restore it with the version that wrote it."
            )
        try:
            known = {field.name: found[field.name] for field in fields(Header)}
            return msgspec.convert(known, Header)
        except (KeyError, msgspec.ValidationError) as error:
            raise self._damaged() from error

    def _packed(self, file: GzipFile, digest: "hashlib._Hash") -> bytes:
        """Return the next record as it is packed, nothing after the last."""
        length = self._read(file, _LENGTH.size)
        if len(length) < _LENGTH.size:
            raise self._damaged()
        (size,) = _LENGTH.unpack(length)
        if not size:
            return b""
        packed = self._read(file, size) if size <= LONGEST_RECORD else b""
        if len(packed) < size:
            raise self._damaged()
        digest.update(length)
        digest.update(packed)
        return packed

    def _record(self, packed: bytes) -> Record:
        try:
            record: Record = self._decode(packed)
        except (msgspec.MsgspecError, ValueError) as error:
            raise self._damaged() from error
        return record

    def _check_end(self, trailer: bytes, digest: str) -> None:
        try:
            wanted = json.loads(trailer)["sha256"]
        except (ValueError, KeyError, TypeError) as error:
            raise self._damaged() from error
        if wanted != digest:
            raise BadBackup(
                f"{self._path} is damaged: its content does not have the check sum that it names. "
                "Take another backup."
            )

    def _damaged(self) -> BadBackup:
        return BadBackup(
            f"{self._path} is damaged or not complete, or no backup of Surgeline: take another one."
        )


def _plain_member(content: bytes) -> bytes:
    """Return *content* as a gzip member that is as long for all content of that length."""
    member = zlib.compressobj(0, zlib.DEFLATED, _GZIP)
    return member.compress(content) + member.flush()
