"""Transfers: what accounts tell each other, on a topic of its own that workers write and read.

An account that was merged into another, or that a person has left, keeps what it gives in its own
state (`scoring.gifts`). A record of this topic says that something waits there, or brings an event
to the account that its own has become part of. Such records are announced like all that follows
from a commit: after it, at least once. Gifts have ids, and the one who takes remembers them.

A record is of one generation: of scores that were started over it says nothing, since those made
their own when they read the log from its beginning.
"""

import dataclasses
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from struct import iter_unpack
from typing import Final

import msgspec

from scoring.account import CHANNELS, decode_state
from scoring.dedupe import DayKey
from scoring.errors import BadRecord, Reason
from scoring.events import TYPE_TOPICS
from scoring.fold import Outcome, fold
from scoring.gifts import Gift, gift_in
from scoring.live import Errand
from scoring.merging import seen_days, take_over
from scoring.rules import Rules
from stream.committer import Outside
from stream.decoding import Decoded, DecodeRecord
from stream.micro_batch import Record
from stream.outputs import Announcement, dead_letter, rekeyed
from stream.shard import CachedAccount, Shard
from stream.state_store import seen_suffix
from stream.topics import TRANSFERS

GIFT: Final = "gift"
"""How gifts are named among the types of events in metrics."""

Load = Callable[[Shard, Decoded, str], Awaitable[None]]
"""Reads what folding an event into an account of a shard needs."""
LoadStates = Callable[[Shard, list[str]], Awaitable[None]]


class Transfer(msgspec.Struct, frozen=True, omit_defaults=True):
    """One record of the topic; it is keyed by the account that is told."""

    account_id: str
    generation: str
    """When the scores were started that it comes from."""
    giver: str | None = None
    """The account that keeps the gift."""
    gift: str | None = None
    """The gift's id."""
    topic: str | None = None
    """Where the event was before."""
    event: msgspec.Raw = msgspec.Raw()


_encode: Final = msgspec.json.Encoder().encode
_decode: Final = msgspec.json.Decoder(Transfer).decode


def transfer_of(errand: Errand, generation: str) -> Announcement:
    """Return what is announced of *errand* by scores of a *generation*."""
    transfer = Transfer(errand.account_id, generation)
    if errand.event is None:
        found = msgspec.structs.replace(transfer, giver=errand.giver, gift=errand.gift)
    else:
        topic = TYPE_TOPICS[errand.event["type"]]
        event = msgspec.Raw(_encode(errand.event))
        found = msgspec.structs.replace(transfer, topic=topic, event=event)
    key = errand.account_id.encode("utf-8", "surrogatepass")
    return Announcement(TRANSFERS, key, _encode(found))


class Transfers:
    """Announces errands, and sees to those that are announced to accounts of claimed shards."""

    def __init__(
        self,
        rules: Rules,
        *,
        outside: Outside,
        shard_of: Callable[[str], int],
        decoders: Mapping[str, DecodeRecord],
        prefix: str,
    ) -> None:
        self.generation = ""
        """Set at every claim, before anything is scored."""
        self._rules = rules
        self._store = outside.store
        self._metrics = outside.metrics
        self._backoff = outside.backoff
        self._shard_of = shard_of
        self._decoders = decoders
        self._prefix = prefix

    def announce(self, errand: Errand) -> Announcement:
        """Return what is announced of *errand*."""
        return transfer_of(errand, self.generation)

    async def score(
        self, shard: Shard, records: list[Record], load: Load, load_states: LoadStates
    ) -> None:
        """See to *records* one after the other; each is folded wholly before the shard is sealed.

        Stops where the shard is lost.
        """
        for record in records:
            try:
                transfer = _read(record)
            except BadRecord as error:
                self._bury(shard, record, error)
            else:
                await self._see_to(shard, record, transfer, (load, load_states))
            if shard.lost:
                return
            shard.offsets[TRANSFERS] = record.offset + 1

    async def _see_to(
        self, shard: Shard, record: Record, transfer: Transfer, loads: tuple[Load, LoadStates]
    ) -> None:
        home = self._shard_of(transfer.account_id)
        if home != shard.number:
            shard.open.messages.append(rekeyed(record, TRANSFERS, transfer.account_id, home))
            _count(shard, GIFT, Outcome.REKEYED)
        elif transfer.generation != self.generation:
            _count(shard, GIFT, Outcome.DUPLICATE)
        elif transfer.gift is None:
            await self._fold(shard, record, transfer, loads[0])
        else:
            await self._fetch(shard, transfer, loads[1])

    async def _fold(self, shard: Shard, record: Record, transfer: Transfer, load: Load) -> None:
        """Fold the event of *transfer* into the account that it came to."""
        bare = dataclasses.replace(record, value=bytes(transfer.event))
        decode = self._decoders.get(transfer.topic or "")
        if decode is None:
            error = BadRecord(Reason.UNKNOWN_TYPE, f"no events are in topic {transfer.topic!r}")
            self._bury(shard, record, error)
            return
        decoded = decode(bare, time.time())
        if decoded.event is None:
            assert decoded.error is not None
            self._bury(shard, record, decoded.error)
            return
        decoded.event["account_id"] = transfer.account_id
        await load(shard, decoded, transfer.account_id)
        if shard.lost:
            return
        account = shard.open.dirty[transfer.account_id] = shard.accounts[transfer.account_id]
        outcome = fold(account, decoded.event, decoded.time, self._rules)
        shard.open.stamps.append(record.timestamp)
        _count(shard, decoded.event["type"], outcome)
        shard.newest[TRANSFERS] = max(decoded.time, shard.newest.get(TRANSFERS, decoded.time))

    async def _fetch(self, shard: Shard, transfer: Transfer, load_states: LoadStates) -> None:
        """Let the account that is told take over what waits for it."""
        found = await self._waiting(transfer)
        if found is None:  # of a commit that Redis has forgotten: it is made, and told, again
            _count(shard, GIFT, Outcome.DUPLICATE)
            return
        gift, seen = found
        account = await self._account(shard, transfer.account_id, list(seen), load_states)
        if shard.lost:
            return
        shard.open.dirty[transfer.account_id] = account
        _count(shard, GIFT, take_over(account, gift, seen, self._rules))
        shard.newest[TRANSFERS] = max(gift.at, shard.newest.get(TRANSFERS, gift.at))

    async def _waiting(self, transfer: Transfer) -> tuple[Gift, dict[DayKey, list[int]]] | None:
        """Return the gift of *transfer* and the ids that its giver has seen, None without one."""
        giver, id_ = transfer.giver or "", transfer.gift or ""
        home = self._shard_of(giver)
        (data,) = await self._backoff.answered(lambda: self._store.states(home, [giver]))
        gift = None if data is None else gift_in(decode_state(data), id_)
        if gift is None:
            return None
        given = gift.read_state()
        days = seen_days(given, self._rules) if gift.whole else []
        return gift, await self._seen(home, given.account_id, days)

    async def _account(
        self, shard: Shard, account_id: str, days: list[DayKey], load_states: LoadStates
    ) -> CachedAccount:
        """Return an account with the ids that it has seen on *days* loaded."""
        while True:
            while account_id not in shard.accounts:
                await load_states(shard, [account_id])
            account = shard.accounts[account_id]
            unread = [key for key in days if key not in account.seen.days]
            if not unread or not account.was_stored:
                return account
            # An eviction while this waits makes another object of the account.
            for key, digests in (await self._seen(shard.number, account_id, unread)).items():
                account.seen.days.setdefault(key, set(digests))

    async def _seen(
        self, shard: int, account_id: str, days: list[DayKey]
    ) -> dict[DayKey, list[int]]:
        keys = [(account_id, seen_suffix(CHANNELS[code], day)) for code, day in days]
        found = await self._backoff.answered(lambda: self._store.seen(shard, keys))
        return {
            key: [digest for (digest,) in iter_unpack("<Q", data)]
            for key, data in zip(days, found, strict=True)
        }

    def _bury(self, shard: Shard, record: Record, error: BadRecord) -> None:
        self._metrics.dead_letters.labels(error.reason.value).inc()
        shard.open.messages.append(dead_letter(record, error, prefix=self._prefix))
        _count(shard, GIFT, Outcome.DEAD)


def _read(record: Record) -> Transfer:
    try:
        return _decode(record.value or b"")
    except msgspec.ValidationError as error:
        raise BadRecord(Reason.WRONG_TYPE, f"no transfer: {error}") from None
    except msgspec.DecodeError as error:
        raise BadRecord(Reason.NOT_JSON, f"no transfer: {error}") from None


def _count(shard: Shard, type_: str, outcome: str) -> None:
    shard.open.count(type_, Counter({outcome: 1}))
