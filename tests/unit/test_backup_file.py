"""The backup file: what was written is read, and what is damaged is refused."""

import gzip
import json
import math
import struct
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from stream.backup_file import (
    HEADER_BYTES,
    BackupReader,
    BackupWriter,
    HashRecord,
    Header,
    Record,
    SortedSetRecord,
    StringRecord,
)
from stream.errors import BadBackup

HEADER = Header(1, 3, "abc", "wall", "2026-01-31T09:00:00Z", 3)
RECORDS: list[Record] = [
    StringRecord(b"sl:{0}:state:\xff", 1_500, b"\x00\x01"),
    HashRecord(b"sl:{0}:fence", None, [b"seq", b"7"]),
    SortedSetRecord(b"sl:{0}:due", None, [(b"a", -0.0), (b"b", 5e-324)]),
]

keys = st.binary(min_size=1, max_size=40)
ttls = st.none() | st.integers(min_value=1, max_value=2**40)
doubles = st.floats(allow_nan=False, allow_infinity=False)
records = st.one_of(
    st.builds(StringRecord, keys, ttls, st.binary(max_size=200)),
    st.builds(HashRecord, keys, ttls, st.lists(st.binary(max_size=20), max_size=8)),
    st.builds(SortedSetRecord, keys, ttls, st.lists(st.tuples(st.binary(), doubles), max_size=8)),
)


def write(path: Path, content: list[Record], header: Header = HEADER) -> Path:
    with path.open("w+b") as file:
        writer = BackupWriter(file)
        for record in content:
            writer.write(record)
        writer.finish(header)
    return path


@pytest.fixture
def backup(tmp_path: Path) -> Path:
    return write(tmp_path / "backup", RECORDS)


def bits(content: list[Record]) -> list[object]:
    """Return *content* with its doubles as bits, since -0.0 equals 0.0."""
    return [
        (r.key, r.ttl_ms, [(member, struct.pack(">d", score)) for member, score in r.members])
        if isinstance(r, SortedSetRecord)
        else r
        for r in content
    ]


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(content=st.lists(records, max_size=20))
def test_what_is_written_is_read_bit_by_bit(tmp_path: Path, content: list[Record]) -> None:
    path = write(tmp_path / "backup", content)

    assert bits(list(BackupReader(path).records())) == bits(content)
    assert BackupReader(path).header() == HEADER


def test_negative_zero_keeps_its_sign(backup: Path) -> None:
    found = list(BackupReader(backup).records())[2]

    assert isinstance(found, SortedSetRecord)
    assert math.copysign(1.0, found.members[0][1]) == -1.0


def test_first_line_is_the_header_for_everybody(backup: Path) -> None:
    with gzip.open(backup) as file:
        line = file.readline()

    assert len(line) == HEADER_BYTES
    assert json.loads(line)["keys"] == 3


def test_what_was_taken_back_is_not_in_the_file(tmp_path: Path) -> None:
    path = tmp_path / "backup"
    with path.open("w+b") as file:
        writer = BackupWriter(file)
        writer.write(RECORDS[0])
        mark = writer.mark()
        writer.write(RECORDS[1])
        writer.back_to(mark)
        writer.write(RECORDS[2])
        assert writer.keys == 2
        writer.finish(HEADER)

    assert list(BackupReader(path).records()) == [RECORDS[0], RECORDS[2]]


def test_records_of_one_key_count_once(tmp_path: Path) -> None:
    with (tmp_path / "backup").open("w+b") as file:
        writer = BackupWriter(file)
        for record in (RECORDS[1], RECORDS[1], RECORDS[2]):
            writer.write(record)

    assert writer.keys == 2


def read_all(path: Path) -> None:
    reader = BackupReader(path)
    reader.header()
    for _ in reader.records():
        pass


def test_every_cut_is_noticed(backup: Path) -> None:
    whole = backup.read_bytes()
    for length in range(len(whole)):
        backup.write_bytes(whole[:length])

        with pytest.raises(BadBackup):
            read_all(backup)


def test_every_changed_byte_that_matters_is_noticed(backup: Path) -> None:
    whole = backup.read_bytes()
    unnoticed = []
    for at in range(len(whole)):
        backup.write_bytes(whole[:at] + bytes([whole[at] ^ 0x10]) + whole[at + 1 :])
        try:
            read_all(backup)
            found = list(BackupReader(backup).records())
        except BadBackup:
            continue
        if bits(found) != bits(RECORDS) or BackupReader(backup).header() != HEADER:
            unnoticed.append(at)

    assert unnoticed == []


def test_changed_content_is_told_by_its_check_sum(backup: Path) -> None:
    content = gzip.decompress(backup.read_bytes()).replace(b"seq\xc4\x017", b"seq\xc4\x018")
    backup.write_bytes(gzip.compress(content))

    with pytest.raises(BadBackup, match="check sum"):
        read_all(backup)


def test_changed_header_is_told_by_the_check_sum(backup: Path) -> None:
    content = gzip.decompress(backup.read_bytes()).replace(b'"partitions": 3', b'"partitions": 4')
    backup.write_bytes(gzip.compress(content))

    with pytest.raises(BadBackup, match="check sum"):
        read_all(backup)


def test_what_follows_the_end_is_refused(backup: Path) -> None:
    backup.write_bytes(backup.read_bytes() + gzip.compress(b"more"))

    with pytest.raises(BadBackup):
        read_all(backup)


def test_another_version_is_refused(backup: Path) -> None:
    content = gzip.decompress(backup.read_bytes())
    other = content.replace(b'"surgeline_backup": 1', b'"surgeline_backup": 9')
    backup.write_bytes(gzip.compress(other))

    with pytest.raises(BadBackup, match="version 9"):
        read_all(backup)


# Named, because a compressed file carries the second it was made in: as a test's name it would
# differ from one process of a parallel run to the next.
@pytest.mark.parametrize(
    "content",
    [
        pytest.param(b"", id="empty"),
        pytest.param(b"hello", id="plain text"),
        pytest.param(gzip.compress(b"hello"), id="compressed text"),
        pytest.param(gzip.compress(b"{}"), id="compressed object"),
    ],
)
def test_other_files_are_no_backups(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "other"
    path.write_bytes(content)

    with pytest.raises(BadBackup, match="no backup of Surgeline"):
        read_all(path)


def test_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(BadBackup, match="No such file"):
        read_all(tmp_path / "missing")


def test_unfinished_backup_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "backup"
    with path.open("w+b") as file:
        writer = BackupWriter(file)
        writer.write(RECORDS[0])
        writer.mark()

    with pytest.raises(BadBackup):
        read_all(path)
