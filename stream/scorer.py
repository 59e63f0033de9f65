"""The scorer: one micro-batch decoded, routed, deduplicated and folded; what due instants bring.

Loading states is the only thing it waits for. Between two waits it only computes, so folding
needs no locks, and a shard is sealed only between whole records.
"""

import time
from collections.abc import Callable, Iterable, Mapping
from struct import iter_unpack
from typing import Any, Final

from scoring.account import CHANNELS, utc_day
from scoring.dedupe import ATTRIBUTED
from scoring.events import TOPIC_TYPES, TYPE_TOPICS
from scoring.fold import Outcome, fold, seen_key
from scoring.kpis.facts import FactPacker
from scoring.noise import Noise
from scoring.rules import Rules
from scoring.transitions import next_due, walk
from stream.alerting import alert_announcer
from stream.attributing import Attributor
from stream.committer import Outside
from stream.dead_letter_limit import DeadLetterCount, DeadLetterLimit, sentence
from stream.decoding import NEVER, Decoded, DecodeRecord, record_decoder
from stream.errors import TooManyDeadLetters
from stream.micro_batch import MAX_RECORDS, MicroBatch, Record
from stream.outputs import dead_letter, rekeyed
from stream.routing import shard_finder
from stream.settings import Settings
from stream.shard import CachedAccount, Shard
from stream.state_store import seen_suffix
from stream.topics import TRANSFERS
from stream.transfers import Transfers
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
        self._packer = FactPacker(rules.read_page)
        self._settings = settings
        self._store = outside.store
        self._metrics = outside.metrics
        self._backoff = outside.backoff
        self._span = outside.span
        self._shard_of = shard_finder(partitions)
        self._attributor = Attributor(
            outside.finder,
            rules.model.resolution,
            outside.metrics,
            prefix=settings.topic_prefix,
            shard_of=self._shard_of,
        )
        self._decoders: dict[str, DecodeRecord] = {
            topic: record_decoder(topic, max_bytes=settings.max_record_bytes)
            for topic in TOPIC_TYPES
        }
        self.transfers = Transfers(
            rules,
            outside=outside,
            shard_of=self._shard_of,
            decoders=self._decoders,
            prefix=settings.topic_prefix,
        )
        self.write = account_writer(
            rules, alert_announcer(settings), self.transfers.announce, self._packer
        )
        self._limit = DeadLetterLimit(
            share=settings.dead_letter_share,
            window=settings.dead_letter_window,
            in_a_row=settings.dead_letters_in_a_row,
        )
        self._counts = {topic: DeadLetterCount(self._limit.window) for topic in TOPIC_TYPES}

    async def score(self, shard: Shard, batch: MicroBatch, event: Any, seal: Seal) -> None:
        """Fold *batch* into *shard*; *event* is acknowledged with the commit of its last record.

        Records below the shard's next offset were scored before and are skipped.
        """
        topic = batch.topic.removeprefix(self._settings.topic_prefix)
        with self._span("score", topic=topic, shard=shard.number, records=len(batch.records)):
            await self._score(shard, topic, batch, seal)
        batch.records = []  # Faust keeps the batch until it is acknowledged
        shard.open.events.append(event)

    async def _score(self, shard: Shard, topic: str, batch: MicroBatch, seal: Seal) -> None:
        first = shard.next_offset(topic)
        unread = batch.records
        if unread[0].offset < first:
            unread = [record for record in unread if record.offset >= first]
        self._metrics.batch_records.observe(len(batch.records))
        if topic == TRANSFERS:
            await self.transfers.score(shard, unread, self._load_one, self._load_states)
        else:
            routed = self._routed(shard, topic, unread)
            await self._attribute(topic, routed)
            with self._span("load", shard=shard.number):
                names = await self._load(shard, routed)
            if not shard.lost:
                self._fold(shard, topic, routed, seal)
                self._pack(shard, names)
        if not shard.lost:
            shard.offsets[topic] = max(first, batch.offset + 1)

    def _routed(self, shard: Shard, topic: str, records: list[Record]) -> list[Decoded]:
        """Decode *records* and decide of each where it goes.

        Raises TooManyDeadLetters, giving up the shard: nothing more of it passes the fence.
        """
        bad: dict[int, str] = {}
        now, decode = time.time(), self._decoders[topic]
        shard_of, number = self._shard_of, shard.number
        needs_account = topic != TYPE_TOPICS["spend"]
        routed = []
        for record in records:
            decoded = decode(record, now)
            event = decoded.event
            account_id = None if event is None else event.get("account_id")
            if (
                account_id is not None
                and needs_account
                and record.key is not None
                and shard_of(account_id) == number
            ):
                decoded.account_id = account_id
            else:
                self._send_elsewhere(decoded, topic)
                if decoded.error is not None:
                    bad[record.offset] = decoded.error.reason.value
            routed.append(decoded)
        count = self._counts[topic]
        excess = self._limit.excess(count, count.note(shard.number, records, bad))
        if excess is not None:
            shard.lost = True
            name = self._settings.topic_prefix + topic
            raise TooManyDeadLetters(sentence(excess, name, self._limit))
        return routed

    def _send_elsewhere(self, decoded: Decoded, topic: str) -> None:
        """Note in *decoded* what becomes of a record that is not folded here."""
        record, event, prefix = decoded.record, decoded.event, self._settings.topic_prefix
        if event is None:
            assert decoded.error is not None
            self._metrics.dead_letters.labels(decoded.error.reason.value).inc()
            decoded.outcome = Outcome.DEAD
            decoded.message = dead_letter(record, decoded.error, prefix=prefix)
        elif event["type"] == "spend":  # belongs to no account: it is kept as it is
            pass
        elif (account_id := event.get("account_id")) is None:  # until it is looked up
            decoded.outcome = Outcome.UNRESOLVED
        else:
            decoded.outcome = Outcome.REKEYED
            decoded.message = rekeyed(record, topic, account_id, self._shard_of(account_id))

    async def _attribute(self, topic: str, routed: list[Decoded]) -> None:
        """Look up whose those of *routed* are that name no account, and where they go."""
        asked = [
            (each, each.event)
            for each in routed
            if each.outcome is Outcome.UNRESOLVED
            or (self._attributor.rolls_up and self._attributor.concerns(each.event))
            if each.event is not None
        ]
        if not asked:
            return
        records = [(each.record, event) for each, event in asked]
        decided = await self._attributor.decide(topic, records)
        for (each, _), decision in zip(asked, decided, strict=True):
            if decision is not None:
                each.account_id = None
                each.outcome, each.message = decision

    def _fold(self, shard: Shard, topic: str, routed: list[Decoded], seal: Seal) -> None:
        accounts, rules = shard.accounts, self.rules
        opened = shard.open
        dirty, stamps = opened.dirty, opened.stamps
        tally: dict[str, int] = {}
        for each in routed:
            account_id, event = each.account_id, each.event
            outcome: Outcome | Noise = each.outcome
            if account_id is not None and event is not None:
                account = dirty[account_id] = accounts[account_id]
                outcome = fold(account, event, each.time, rules)
                stamps.append(each.record.timestamp)
            elif each.message is not None:
                opened.messages.append(each.message)
                opened.message_bytes += len(each.message.value or b"")
            elif event is not None:  # spend
                opened.spend.append((each.time, self._packer.spend(event, opened.names)))
            tally[outcome] = tally.get(outcome, 0) + 1
            if len(dirty) >= ACCOUNTS_PER_COMMIT:
                shard.offsets[topic] = each.record.offset + 1
                opened.count(TOPIC_TYPES[topic], tally)
                seal(shard)
                opened = shard.open
                dirty, stamps = opened.dirty, opened.stamps
        opened.count(TOPIC_TYPES[topic], tally)
        newest = max([shard.newest.get(topic, NEVER), *(each.time for each in routed)])
        if newest > NEVER:
            shard.newest[topic] = newest

    def _pack(self, shard: Shard, names: Iterable[str]) -> None:
        """Pack the facts of accounts by *names*, while their events are at hand anyway.

        Kept until the unit is sealed, the events would be most of a worker's memory.
        """
        accounts, pack, texts = shard.accounts, self._packer.pack, shard.open.names
        for name in names:
            live = accounts[name].live
            if live.facts:
                pack(live, texts)

    async def _load(self, shard: Shard, routed: list[Decoded]) -> set[str]:
        """Read the states and seen ids that folding *routed* needs and the cache lacks.

        Return the accounts into which they are folded.
        """
        accounts = shard.accounts
        names = {i for each in routed if (i := each.account_id) is not None}
        # Evictions happen while this waits, so it looks again until nothing is missing.
        while missing := names - accounts.keys():
            await self._load_states(shard, sorted(missing))
        stored = {name for name in names if accounts[name].was_stored}
        wanted: dict[tuple[str, str], tuple[CachedAccount, tuple[int, int]]] = {}
        for each in routed if stored else ():
            if each.account_id is None or each.account_id not in stored:
                continue
            account = accounts[each.account_id]
            if (key := self._unread(account, each)) is not None:
                suffix = seen_suffix(CHANNELS[key[0]], key[1])
                wanted[each.account_id, suffix] = (account, key)
            if each.event is not None and "resolution" in each.event:
                key = self.rules.codes[each.event["type"]], utc_day(each.time) + ATTRIBUTED
                if key not in account.seen.days:
                    wanted[each.account_id, seen_suffix(CHANNELS[key[0]], key[1])] = (account, key)
        if wanted:
            found = await self._backoff.answered(
                lambda: self._store.seen(shard.number, list(wanted))
            )
            for (account, key), data in zip(wanted.values(), found, strict=True):
                account.seen.days.setdefault(key, {h for (h,) in iter_unpack("<Q", data)})
            await self._load(shard, routed)
        return names

    async def _load_one(self, shard: Shard, decoded: Decoded, account_id: str) -> None:
        """Read what folding *decoded* into the account needs."""
        decoded.account_id = account_id
        await self._load(shard, [decoded])

    def _unread(self, account: CachedAccount, each: Decoded) -> tuple[int, int] | None:
        """Return the seen ids that looking *each* up needs and only Redis has.

        Redis has none of days after the newest event of the type.
        """
        assert each.event is not None
        key = seen_key(account.state, each.event, each.time, self.rules)
        if key is None or key in account.seen.days:
            return None
        newest = account.state.newest.get(key[0])
        return key if newest is not None and key[1] <= utc_day(newest) else None

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
            walk(account.state, account.live, now, self.rules)
            shard.open.dirty[account_id] = account
            evaluated += 1
            if len(shard.open.dirty) >= ACCOUNTS_PER_COMMIT:
                seal(shard)
        return evaluated


def due_until(
    shard: Shard, topics: Iterable[str], ends: Mapping[str, int | None], now: float
) -> float:
    """Return up to which time, in Unix seconds, due instants of *shard* may be evaluated.

    At *now* at the latest, and not past what was read of a topic that is more than a
    micro-batch behind its end (*ends*: topic -> end offset, None when unknown): an account
    cools down when nothing happened, not when what happened is not read yet.
    """
    behind = lagging(shard, topics, ends)
    return min([now, *(shard.newest.get(topic, NEVER) for topic in behind)])


def lagging(shard: Shard, topics: Iterable[str], ends: Mapping[str, int | None]) -> list[str]:
    """Return the topics of *shard* that are more than a micro-batch behind their end.

    *ends*: topic -> end offset, None when unknown.
    """
    return [
        t
        for t in topics
        if (end := ends.get(t)) is None or end - shard.next_offset(t) > MAX_RECORDS
    ]


def event_clock(
    shard: Shard, topics: Iterable[str], ends: Mapping[str, int | None]
) -> float | None:
    """Return the shard's time under the event clock, in Unix seconds, None when unknown.

    The lowest of the newest event times of its topics that are not read to their end (*ends*:
    topic -> end offset, None when unknown), or, when all are, the highest; never going back.
    """
    behind = [topic for topic in topics if not shard.has_read(topic, ends.get(topic))]
    times = [shard.newest.get(topic) for topic in behind] if behind else list(shard.newest.values())
    known = [each for each in times if each is not None]
    if len(known) < len(times) or not known:
        return shard.time
    found = min(known) if behind else max(known)
    return found if shard.time is None else max(found, shard.time)
