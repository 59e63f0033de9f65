"""Routing: which shard an account belongs to."""

from collections.abc import Callable
from functools import lru_cache

from aiokafka.partitioner import murmur2

ACCOUNTS_REMEMBERED = 1_000_000


def shard_of(account_id: str, partitions: int) -> int:
    """Return the shard of *account_id*: Kafka's default partitioner over its UTF-8 bytes.

    >>> shard_of("acme", 1)
    0
    """
    digest: int = murmur2(account_id.encode("utf-8", "surrogatepass"))
    return (digest & 0x7FFFFFFF) % partitions


def shard_finder(partitions: int) -> Callable[[str], int]:
    """Return shard_of for *partitions* that remembers accounts: murmur2 costs 2.5 µs."""

    @lru_cache(maxsize=ACCOUNTS_REMEMBERED)
    def find(account_id: str) -> int:
        return shard_of(account_id, partitions)

    return find
