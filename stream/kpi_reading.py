"""Reading facts for the KPIs: from Redis, or from files of recorded events."""

from collections import defaultdict
from collections.abc import Iterable
from math import inf
from typing import Final

from scoring.kpis.columns import Bounds, Facts, facts_of
from scoring.kpis.facts import FactPacker, Names
from scoring.rules import Rules
from scoring.transitions import walk
from stream.offline import OfflineFacts, OfflineRun, score_lines
from stream.reader import StoredScores, moment
from stream.state_store import (
    ANY_SHARD,
    FACT_LOGS,
    FACTS_FORMAT,
    FORMAT,
    RedisStore,
    shard_prefix,
)

FETCHED: Final = 500


def bounds_of(rules: Rules) -> Bounds:
    """Return how much is remembered under *rules*."""
    kept = rules.model.kpis
    return Bounds(kept.keep_seconds, kept.most_facts)


def facts_of_lines(
    lines: Iterable[bytes], rules: Rules, *, until: float | None, now: float
) -> tuple[Facts, OfflineRun, float]:
    """Return the facts of *lines*, one JSON record each, what became of them, and their end.

    That is *until* where it is given (Unix seconds), else just after the newest event: the end
    of a period is no part of it. Surges that nothing but time ends are followed up to there.
    """
    kept = OfflineFacts(FactPacker(rules.read_page))
    run = score_lines(lines, rules=rules, as_of=None, now=now, facts=kept)
    end = (run.as_of or now) + 0.001 if until is None else until
    for account in run.accounts.values():
        if account.state.instant is not None and account.state.instant < end:
            walk(account.state, account.live, end, rules)
            kept.take(account)
    found = facts_of(kept.logs(), names=kept.names, spend=kept.spend, bounds=bounds_of(rules))
    return found, run, end


async def stored_facts(stored: StoredScores) -> Facts:
    """Return all facts in Redis."""
    store = stored.store
    logs: list[tuple[str, bytes, bytes]] = []
    names: Names = {}
    spend: list[tuple[float, bytes]] = []
    known = await _accounts_with_facts(store)
    for shard in stored.shards:
        names |= await store.names(shard)
        spend += await store.spend(shard)
        ordered = sorted(known[shard_prefix(shard)])
        for start in range(0, len(ordered), FETCHED):
            some = ordered[start : start + FETCHED]
            found = await store.facts(shard, some)
            logs += [(each, *pair) for each, pair in zip(some, found, strict=True)]
    meta = await store.meta()
    remembering = int(meta.get("format", FORMAT)) >= FACTS_FORMAT
    since = float(meta.get("facts_since", -inf)) if remembering else inf
    # Taken one by one, so that nothing is held twice.
    taken = (logs.pop() for _ in range(len(logs)))
    return facts_of(taken, names=names, spend=spend, bounds=bounds_of(stored.rules), since=since)


async def _accounts_with_facts(store: RedisStore) -> dict[str, set[str]]:
    """Return prefix of a shard -> ids of its accounts with facts: all keys are gone through twice."""
    found: dict[str, set[str]] = defaultdict(set)
    for log in FACT_LOGS:
        between = f"{log}:"
        async for keys in store.keys(f"{ANY_SHARD}{between}*"):
            for key in keys:
                prefix, _, account_id = key.decode().partition(between)
                found[prefix].add(account_id)
    return found


async def stored_now(stored: StoredScores) -> float:
    """Return the time up to which periods of stored facts run, unless they are given an end."""
    return await moment(stored, None, None)
