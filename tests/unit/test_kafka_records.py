"""Record batches whose headers have names that are no text."""

import pytest
from aiokafka.record import default_records
from aiokafka.record.memory_records import MemoryRecords

from stream.kafka_records import Batches

PLAIN, GZIP = 0, 1


class Bytes(str):
    """A header name that is encoded as bytes that are no UTF-8."""

    __slots__ = ()

    def encode(self, *_: object) -> bytes:
        return b"\xff!"


def batch(first: int, *names: str, compression: int = PLAIN) -> bytes:
    """Return a batch of one record for each of *names*, the offsets counted from *first*."""
    builder = default_records._DefaultRecordBatchBuilderPy(
        magic=2,
        compression_type=compression,
        is_transactional=False,
        producer_id=-1,
        producer_epoch=-1,
        base_sequence=-1,
        batch_size=1_000_000,
    )
    for number, name in enumerate(names):
        value = f"value {first + number}".encode()
        builder.append(number, 7, b"key", value, [(name, b"1"), ("last", None)])
    data = bytearray(builder.build())
    data[:8] = first.to_bytes(8, "big")
    return bytes(data)


def read(data: bytes) -> list[tuple[int, bytes, str]]:
    batches, found = Batches(data), []
    while batches.has_next():
        for record in batches.next_batch():
            assert (record.key, record.timestamp, record.headers[1]) == (b"key", 7, ("last", None))
            found.append((record.offset, record.value, record.headers[0][0]))
    return found


@pytest.mark.parametrize("compression", [PLAIN, GZIP])
def test_name_that_is_no_text_is_escaped_and_its_neighbours_are_read(compression: int) -> None:
    data = batch(40, "plain", "näme") + batch(50, "a", Bytes("b"), "c", compression=compression)
    data += batch(60, "after")

    found = read(data)

    # The batch is read again from its beginning; the fetcher passes over offsets that it had.
    assert list(dict.fromkeys(found)) == [
        (40, b"value 40", "plain"),
        (41, b"value 41", "näme"),
        (50, b"value 50", "a"),
        (51, b"value 51", "\\xff!"),
        (52, b"value 52", "c"),
        (60, b"value 60", "after"),
    ]


def test_the_library_alone_cannot_read_such_a_batch() -> None:
    records = MemoryRecords(batch(0, Bytes("b")))

    with pytest.raises(UnicodeDecodeError):
        list(records.next_batch() or ())


def test_half_a_batch_at_the_end_of_a_fetch_waits_for_the_next() -> None:
    whole, half = batch(0, "a"), batch(1, "b")[:-5]

    found = Batches(whole + half)

    assert found.has_next()
    assert [record.offset for record in found.next_batch()] == [0]
    assert not found.has_next()
    assert found.size_in_bytes() == len(whole + half)
