r"""Record batches as aiokafka reads them, but with header names of any bytes.

Kafka keeps whatever a producer sends; the protocol says that a header's name is UTF-8, brokers
do not look, and aiokafka raises UnicodeDecodeError out of a fetch when it is not. The batch
would be fetched again for ever, and every record behind it with it. Here such a name is read
with its bytes escaped (``\xff``): names of headers decide nothing, the record does.
"""

import struct
from collections.abc import Iterator
from typing import Any, Final

import aiokafka.consumer.fetcher
from aiokafka.record.default_records import _DefaultRecordBatchPy
from aiokafka.record.memory_records import MemoryRecords

_fetcher: Any = aiokafka.consumer.fetcher

_LENGTH: Final = struct.Struct(">8xi")
"""What every batch begins with, whatever its format: base offset and length of the rest."""


class Escaping(bytearray):
    """Bytes that are read as text without ever failing, and so are their slices."""

    def __getitem__(self, key: Any) -> Any:
        found = super().__getitem__(key)
        return Escaping(found) if isinstance(key, slice) else found

    def decode(self, encoding: str = "utf-8", errors: str = "strict") -> str:  # noqa: ARG002
        """Return the text, bytes that are none as escapes, whatever *errors* says."""
        return super().decode(encoding, "backslashreplace")


class AnyHeaders:
    """One batch; iterating it yields every record."""

    def __init__(self, batch: Any, data: memoryview) -> None:
        self._batch = batch
        self._data = data

    def __getattr__(self, name: str) -> Any:
        return getattr(self._batch, name)

    def __next__(self) -> Any:
        return next(self._batch)

    def __iter__(self) -> Iterator[Any]:
        try:
            yield from self._batch
        except UnicodeDecodeError:
            # From the beginning again: the fetcher passes over the offsets that it has had.
            batch = _DefaultRecordBatchPy(bytes(self._data))
            batch._maybe_uncompress()  # noqa: SLF001  # what it reads is replaced before it does
            batch._buffer = Escaping(batch._buffer)  # noqa: SLF001
            yield from batch


class Batches:
    """The batches of one fetch from one partition: what aiokafka calls memory records."""

    def __init__(self, data: bytes) -> None:
        self._data = memoryview(data)
        self._at = 0
        self._batches: Any = MemoryRecords(data)

    def has_next(self) -> bool:
        """Tell whether a whole batch is left."""
        found: bool = self._batches.has_next()
        return found

    def size_in_bytes(self) -> int:
        """Return the size of the fetch."""
        return len(self._data)

    def next_batch(self) -> AnyHeaders:
        """Return the next batch; has_next() has told that there is one."""
        begin = self._at
        (length,) = _LENGTH.unpack_from(self._data, begin)
        self._at = begin + _LENGTH.size + length
        return AnyHeaders(self._batches.next_batch(), self._data[begin : self._at])


def accept_any_header_name() -> None:
    """Make the consumers of this process read headers of any name; there is no setting for it."""
    _fetcher.MemoryRecords = Batches
