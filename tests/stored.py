"""Accounts in a real Redis, written by the commit script as a worker writes them."""

import secrets
from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import Any

from scoring.fold import Account
from scoring.model import ScoringModel, default_model
from scoring.report import newest_time
from scoring.rules import Rules
from stream.routing import shard_of
from stream.state_store import FORMAT, Answer, Commit, RedisStore
from stream.writing import account_writer
from tests.builders import announce_alert, announce_errand, fold_all, new_account

PARTITIONS = 4

Json = dict[str, Any]


def meta(model: ScoringModel | None = None, *, clock: str = "event") -> dict[str, str | int]:
    digest = (model or default_model()).digest
    return {"partitions": PARTITIONS, "clock": clock, "format": FORMAT, "digest": digest}


def folded(events: Iterable[Json]) -> dict[str, Account]:
    """Fold events of several accounts, in the order given."""
    accounts: dict[str, Account] = {}
    for event in events:
        account_id = event["account_id"]
        account = accounts.setdefault(account_id, new_account(account_id))
        fold_all([event], account)
    return accounts


async def store_accounts(
    url: str, accounts: Mapping[str, Account], *, clock: str = "event"
) -> None:
    """Commit *accounts* to an emptied Redis, shard by shard, and leave the meta of a worker."""
    store = RedisStore(url)
    try:
        await store.erase()
        await store.write_meta(meta(clock=clock))
        by_shard: dict[int, list[Account]] = defaultdict(list)
        for account in accounts.values():
            by_shard[shard_of(account.state.account_id, PARTITIONS)].append(account)
        write = account_writer(Rules.of(default_model()), announce_alert, announce_errand)
        for shard, members in by_shard.items():
            now = newest_time(account.state for account in members)
            assert now is not None
            fence = await store.claim(shard, "tests")
            commit = Commit(shard, "tests", fence.seq, secrets.token_hex(4), [], time=now)
            commit.accounts = [write(account, now)[0] for account in members]
            commit.names = {n: text for each in commit.accounts for n, text in each.names.items()}
            assert await store.commit(commit) is Answer.APPLIED
    finally:
        await store.close()
