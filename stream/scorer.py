"""The scorer: one micro-batch decoded, routed, deduplicated and folded; what due instants bring.

Loading states is the only thing it waits for. Between two waits it only computes, so folding
needs no locks, and a shard is sealed only between whole records.
"""

import time
from collections.abc import Callable, Iterable, Mapping
from struct import iter_unpack
from typing import Any, Final

from scoring.account import CHANNELS, utc_day
from scoring.events import TOPIC_TYPES
from scoring.fold import Outcome, fold, seen_key
from scoring.rules import Rules
from scoring.transitions import next_due, walk_due
from stream.committer import Outside
from stream.decoding import Decoded, DecodeRecord, record_decoder
from stream.outputs import dead_letter, rekeyed, unresolved
from stream.routing import shard_finder
from stream.settings import Settings
from stream.shard import CachedAccount, Shard
from stream.state_store import seen_suffix
from stream.transport import MicroBatch
from stream.writing import account_writer

ACCOUNTS_PER_COMMIT: Final = 500
"""Redis cannot stop a script that has written, so its work per call is bounded."""
DUE_PER_TICK: Final = 500

Seal = Callable[[Shard], None]


class Scorer:
    """Folds micro-batches into the accounts of claimed shards.

    Its methods call *seal* with a shard that has reached the size of a commit.
    """

    def __init__(
        self, settings: Settings, rules: Rules, *, partitions: int, outside: Outside
    ) -> None:
        self.rules = rules
        self.write = account_writer(rules)
        self._settings = settings
        self._store = outside.store
        self._metrics = outside.metrics
        self._backoff = outside.backoff
        self._shard_of = shard_finder(partitions)
        self._decoders: dict[str, DecodeRecord] = {
            topic: record_decoder(topic, max_bytes=settings.max_record_bytes)
            for topic in TOPIC_TYPES
        }

    async def score(self, shard: Shard, batch: MicroBatch, event: Any, seal: Seal) -> None:
        """Fold *batch* into *shard*; *event* is acknowledged with the commit of its last record.

        Records below the shard's next offset were scored before and are skipped.
        """
        topic = batch.topic.removeprefix(self._settings.topic_prefix)
        first = shard.next_offset(topic)
        now = time.time()
        decode = self._decoders[topic]
        decoded = [decode(record, now) for record in batch.records if record.offset >= first]
        self._metrics.batch_records.observe(len(batch.records))
        await self._load(shard, topic, decoded)
        if not shard.lost:
            for each in decoded:
                self._apply(shard, topic, each)
                if len(shard.open.dirty) >= ACCOUNTS_PER_COMMIT:
                    seal(shard)
            shard.offsets[topic] = max(first, batch.offset + 1)
        shard.open.events.append(event)

    def _apply(self, shard: Shard, topic: str, each: Decoded) -> None:
        record, event, opened = each.record, each.event, shard.open
        type_ = TOPIC_TYPES[topic]
        if event is None:
            assert each.error is not None
            opened.messages.append(
                dead_letter(record, each.error, prefix=self._settings.topic_prefix)
            )
            self._metrics.dead_letters.labels(each.error.reason.value).inc()
            outcome = Outcome.DEAD
        elif type_ == "spend":
            outcome = Outcome.SCORED  # belongs to no account: there is nothing to fold it into
        elif (account_id := event.get("account_id")) is None:
            opened.messages.append(unresolved(record, prefix=self._settings.topic_prefix))
            outcome = Outcome.UNRESOLVED
        elif (home := self._shard_of(account_id)) != shard.number or record.key is None:
            opened.messages.append(rekeyed(record, topic, account_id, home))
            outcome = Outcome.REKEYED
        else:
            account = shard.accounts[account_id]
            outcome = fold(account, event, each.time, self.rules)
            opened.dirty[account_id] = account
            opened.stamps.append(record.timestamp)
        if each.time > shard.newest.get(topic, float("-inf")) and event is not None:
            shard.newest[topic] = each.time
        opened.outcomes[type_, outcome] += 1
        opened.records += 1
        shard.offsets[topic] = record.offset + 1

    async def _load(self, shard: Shard, topic: str, decoded: Iterable[Decoded]) -> None:
        """Read the states and seen ids that folding *decoded* needs and the cache lacks."""
        if topic == "spend":
            return
        at_home = [
            (each, account_id)
            for each in decoded
            if each.event is not None
            and (account_id := each.event.get("account_id")) is not None
            and self._shard_of(account_id) == shard.number
        ]
        # Evictions happen while this waits, so it looks again until nothing is missing.
        while missing := {i for _, i in at_home if i not in shard.accounts}:
            await self._load_states(shard, sorted(missing))
        wanted: dict[tuple[str, str], tuple[CachedAccount, tuple[int, int]]] = {}
        for each, account_id in at_home:
            account = shard.accounts[account_id]
            assert each.event is not None
            key = seen_key(account.state, each.event, each.time, self.rules)
            if key is not None and key not in account.seen.days and _stored(account, key):
                wanted[account_id, seen_suffix(CHANNELS[key[0]], key[1])] = (account, key)
        if wanted:
            found = await self._backoff.answered(
                lambda: self._store.seen(shard.number, list(wanted))
            )
            for (account, key), data in zip(wanted.values(), found, strict=True):
                account.seen.days.setdefault(key, {h for (h,) in iter_unpack("<Q", data)})
            if any(i not in shard.accounts for _, i in at_home):
                await self._load(shard, topic, decoded)

    async def _load_states(self, shard: Shard, account_ids: list[str]) -> None:
        found = await self._backoff.answered(lambda: self._store.states(shard.number, account_ids))
        for account_id, stored in zip(account_ids, found, strict=True):
            shard.admit(account_id, stored)

    async def evaluate_due(self, shard: Shard, now: float, seal: Seal) -> int:
        """Evaluate the due instants of *shard* up to *now*; return how many accounts were due."""
        due = await self._backoff.answered(lambda: self._store.due(shard.number, now, DUE_PER_TICK))
        while missing := [i for i in due if i not in shard.accounts]:
            await self._load_states(shard, missing)
        evaluated = 0
        for account_id in due:
            account = shard.accounts[account_id]
            instant = next_due(account.state, self.rules)
            waits = account.sealed_in > shard.committed_seq or account_id in shard.open.dirty
            if (instant is None or instant > now) and waits:
                continue  # what moves it in the queue is on its way
            walk_due(account.state, account.live, now, self.rules)
            shard.open.dirty[account_id] = account
            evaluated += 1
            if len(shard.open.dirty) >= ACCOUNTS_PER_COMMIT:
                seal(shard)
        return evaluated


def _stored(account: CachedAccount, key: tuple[int, int]) -> bool:
    """Tell whether Redis may hold ids under *key*: none are of days after the newest event."""
    newest = account.state.newest.get(key[0])
    return newest is not None and key[1] <= utc_day(newest)


def event_clock(
    shard: Shard, topics: Iterable[str], ends: Mapping[str, int | None]
) -> float | None:
    """Return the shard's time under the event clock, in Unix seconds, None when unknown.

    The lowest of the newest event times of its topics that are not read to their end (*ends*:
    topic -> end offset, None when unknown), or, when all are, the highest; never going back.
    """
    behind = [t for t in topics if (end := ends.get(t)) is None or shard.next_offset(t) < end]
    times = [shard.newest.get(topic) for topic in behind] if behind else list(shard.newest.values())
    known = [each for each in times if each is not None]
    if len(known) < len(times) or not known:
        return shard.time
    found = min(known) if behind else max(known)
    return found if shard.time is None else max(found, shard.time)
