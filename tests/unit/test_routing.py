"""Accounts go to the partitions to which Kafka's Java client would send them."""

import pytest

from stream.routing import shard_finder, shard_of

JAVA_HASHES = {
    "21": -973_932_308,
    "foobar": -790_332_482,
    "a-little-bit-long-string": -985_981_536,
    "a-little-bit-longer-string": -1_486_304_829,
    "lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8": -58_897_971,
    "abc": 479_470_107,
}
"""Text -> what murmur2 of Kafka's Java client makes of it, by that client's own tests."""


@pytest.mark.parametrize("partitions", [1, 2, 3, 8, 12, 4_096, 2**31 - 1])
@pytest.mark.parametrize("account_id", JAVA_HASHES)
def test_shard_is_the_partition_of_kafkas_java_client(account_id: str, partitions: int) -> None:
    positive = JAVA_HASHES[account_id] & 0x7FFF_FFFF

    assert shard_of(account_id, partitions) == positive % partitions


def test_text_is_hashed_as_utf8() -> None:
    # Worked out from murmur2's definition over the bytes c3 a9.
    assert shard_of("é", 2**31 - 1) == murmur2(b"\xc3\xa9") & 0x7FFF_FFFF


@pytest.mark.parametrize("account_id", ["a", "ab", "abc", "abcd", "日本", "𝄞" * 512, "\ud800"])
def test_finder_finds_what_the_partitioner_says(account_id: str) -> None:
    find = shard_finder(12)

    assert [find(account_id), find(account_id)] == [shard_of(account_id, 12)] * 2
    assert 0 <= find(account_id) < 12


def test_accounts_spread_over_all_shards() -> None:
    shards = [shard_of(f"account-{number}", 8) for number in range(8_000)]

    assert all(800 < shards.count(shard) < 1_200 for shard in range(8))


def murmur2(data: bytes) -> int:
    """Return MurmurHash2 (Appleby, 2008) of *data* with the seed that Kafka chose, unsigned."""
    m, mask = 0x5BD1_E995, 0xFFFF_FFFF
    h = 0x9747_B28C ^ len(data)
    whole = len(data) // 4 * 4
    for start in range(0, whole, 4):
        k = int.from_bytes(data[start : start + 4], "little") * m & mask
        h = (h * m & mask) ^ ((k ^ k >> 24) * m & mask)
    if data[whole:]:
        h = (h ^ int.from_bytes(data[whole:], "little")) * m & mask
    h = (h ^ h >> 13) * m & mask
    return h ^ h >> 15
