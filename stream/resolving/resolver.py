"""The resolver: what records tell the directory, and what that means for events that wait.

An event first waits and is then looked up; the directory is first told and then looks who waits:
whichever comes first, the other one finds it. Everything may be done twice. An account is decided
on, and kept, before the event is produced with it, and the fold knows such events for as long as
they may come again (`scoring.dedupe.ATTRIBUTED`).
"""

import time
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Final, TypeVar

import msgspec

from scoring.attribution import given, in_time, waiting_keys
from scoring.dedupe import event_hash
from scoring.directory import Key, Kind, Told, told_by, ways_opened
from scoring.events import TOPIC_TYPES, Event
from scoring.model import SECONDS_PER_DAY
from scoring.resolution import Found
from stream.backoff import Backoff
from stream.decoding import DecodeRecord, record_decoder
from stream.directory import Directory
from stream.finding import AccountFinder
from stream.micro_batch import Record
from stream.outputs import Message, Outputs, with_fields
from stream.resolving.metrics import ResolverMetrics
from stream.resolving.people import Erased, departures
from stream.resolving.waiting import AT_ONCE, Waiting, WaitingEvent
from stream.settings import Settings
from stream.topics import UNRESOLVED
from stream.transfers import transfer_of

T = TypeVar("T")

ALWAYS_TELLING: Final = frozenset({"accounts", "contacts", "identities"})
"""Topics whose every record tells something; of others only those with two ids of a person."""
LARGEST_WAITING: Final = 64 * 2**10
REMEMBERED_SECONDS: Final = 10.0
"""For so long the same word on a visitor is not written again: most of their events say it."""


@dataclass(frozen=True, slots=True)
class Outside:
    """What a resolver talks to."""

    directory: Directory
    waiting: Waiting
    finder: AccountFinder
    outputs: Outputs
    erased: Erased
    backoff: Backoff
    """For Redis."""
    follow_moves: bool
    """Whether a person told of in two accounts has moved, though no record says so."""


class Resolver:
    """Takes records over; *shard_of* says in which partition an account is at home."""

    def __init__(
        self,
        settings: Settings,
        outside: Outside,
        metrics: ResolverMetrics,
        *,
        shard_of: Callable[[str], int],
    ) -> None:
        self._settings = settings
        self._model = outside.finder.model
        self._outside = outside
        self._waiting = outside.waiting
        self._metrics = metrics
        self._shard_of = shard_of
        self._decoders: dict[str, DecodeRecord] = {
            topic: record_decoder(topic, max_bytes=settings.max_record_bytes)
            for topic in TOPIC_TYPES
        }
        self.generation = ""
        """Set before anything is taken over; see `stream.transfers`."""
        self._erasures: list[tuple[str, float]] = []
        self._said: dict[Key, Any] = {}
        self._said_since = time.monotonic()

    async def take(self, records: Sequence[Record]) -> None:
        """Take *records* over: the directory knows what they tell when this returns."""
        await self._redis(self._outside.erased.look)
        told: list[Told] = []
        lost: dict[int, tuple[Event, WaitingEvent]] = {}
        for record in records:
            topic = record.topic.removeprefix(self._settings.topic_prefix)
            if topic == UNRESOLVED:
                lost |= self._lost(record)
            elif (each := self._told(topic, record)) is not None:
                told.append(each)
        told = await self._people_who_stay(told)
        if told:
            await self._redis(partial(self._outside.directory.tell, told))
            for each in told:
                self._metrics.told.labels(each.key[0].value).inc()
        if lost:
            await self._wait(lost)
        if told:
            await self._look_who_waits(told)

    async def _people_who_stay(self, told: list[Told]) -> list[Told]:
        """Return *told* without those who were erased; tell the accounts that people have left."""
        outside, erasures, self._erasures = self._outside, self._erasures, []
        if erasures:
            await self._redis(partial(outside.erased.note, erasures))
            keys: list[Key] = [(Kind.CONTACT, contact_id) for contact_id, _ in erasures]
            await self._redis(partial(outside.directory.forget, keys))
        told = [each for each in told if not outside.erased.hides(each)]
        if not outside.follow_moves:
            return told
        errands = await self._redis(partial(departures, outside.directory, told))
        found = [transfer_of(errand, self.generation) for errand in errands]
        if found:
            await outside.outputs.send(Message(each.topic, each.key, each.value) for each in found)
        return told

    def _told(self, topic: str, record: Record) -> Told | None:
        value = record.value
        if value is None or topic not in TOPIC_TYPES:
            return None
        if topic not in ALWAYS_TELLING and not (
            b'"anonymous_id"' in value and (b'"contact_id"' in value or b'"email"' in value)
        ):
            return None
        decoded = self._decoders[topic](record, time.time())
        if decoded.event is None:
            return None
        if decoded.event.get("erase"):
            self._erasures.append((decoded.event["contact_id"], decoded.time))
        told = told_by(decoded.event, decoded.time, self._outside.finder.domains)
        return None if told is None or self._said_lately(told) else told

    def _said_lately(self, told: Told) -> bool:
        """Tell whether the same was said of a visitor a moment ago."""
        if told.key[0] is not Kind.VISITOR:
            return False
        now = time.monotonic()
        if now - self._said_since > REMEMBERED_SECONDS:
            self._said, self._said_since = {}, now
        word = msgspec.structs.replace(told.entry, recorded_at=0.0)
        same = self._said.get(told.key) == word
        self._said[told.key] = word
        return same

    def _lost(self, record: Record) -> dict[int, tuple[Event, WaitingEvent]]:
        """Return digest -> the event of an `unresolved` record, nothing for what cannot wait."""
        headers = dict(record.headers)
        topic = (headers.get("surgeline-topic") or b"").decode("utf-8", "replace")
        value = record.value or b""
        if topic not in TOPIC_TYPES or len(value) > LARGEST_WAITING:
            self._metrics.given_up.labels("unfit").inc()
            return {}
        decoded = self._decoders[topic](record, time.time())
        event = decoded.event
        if event is None or event.get("account_id") is not None:
            self._metrics.given_up.labels("unfit").inc()
            return {}
        if self._outside.erased.hides_event(event, decoded.time):
            self._metrics.given_up.labels("erased").inc()
            return {}
        waiting = WaitingEvent(topic, value, decoded.time, [])
        return {event_hash(event): (event, waiting)}

    async def _wait(self, lost: Mapping[int, tuple[Event, WaitingEvent]]) -> None:
        """Let events wait, then look them up: what they wait for may have come meanwhile."""
        clues = {digest: self._outside.finder.clues(event) for digest, (event, _) in lost.items()}
        waiting = {
            digest: msgspec.structs.replace(each, keys=_plain(clues[digest].keys))
            for digest, (_, each) in lost.items()
            if clues[digest].keys
        }
        self._metrics.given_up.labels("nothing").inc(len(lost) - len(waiting))
        if not waiting:
            return
        await self._redis(partial(self._waiting.add, waiting))
        await self._try(waiting)

    async def _look_who_waits(self, told: Sequence[Told]) -> None:
        """Find accounts for the events that wait for what was *told*."""
        opened: dict[Key, Told] = {}
        for each in told:
            opened |= dict.fromkeys(ways_opened([each]), each)
        under = await self._redis(partial(self._waiting.under, opened))
        digests = list(under)
        for start in range(0, len(digests), AT_ONCE):
            part = digests[start : start + AT_ONCE]
            events = await self._redis(partial(self._waiting.read, part))
            gone = {digest: under[digest] for digest in part if digest not in events}
            if gone:
                await self._redis(partial(self._waiting.clear, gone))
            late = {
                digest: event
                for digest, event in events.items()
                if not any(in_time(event.time, opened[key], self._model) for key in under[digest])
            }
            await self._give_up(late, "horizon")
            await self._try({d: event for d, event in events.items() if d not in late})

    async def _try(self, waiting: Mapping[int, WaitingEvent]) -> None:
        """Give those of *waiting* their accounts that are known by now."""
        events = {digest: self._event(each) for digest, each in waiting.items()}
        digests = [digest for digest, event in events.items() if event is not None]
        clues = [self._outside.finder.clues(event) for event in events.values() if event]
        known: dict[Key, Any] = {}
        found = await self._outside.finder.find_now(clues, known)
        attributed: dict[int, Found] = {}
        further: dict[int, WaitingEvent] = {}
        for digest, clue, resolution in zip(digests, clues, found, strict=True):
            if isinstance(resolution, Found):
                attributed[digest] = resolution
                continue
            keys = _plain(waiting_keys(clue, known.__getitem__))
            if set(keys) - set(waiting[digest].keys):
                further[digest] = msgspec.structs.replace(waiting[digest], keys=keys)
        if further:
            await self._redis(partial(self._waiting.add, further))
            await self._try(further)  # under the new keys something may have been told meanwhile
        if attributed:
            await self._attribute(attributed, waiting)

    async def _attribute(
        self, found: Mapping[int, Found], waiting: Mapping[int, WaitingEvent]
    ) -> None:
        """Produce events with the accounts that were *found*, in the order of their times."""
        ordered = sorted(found, key=lambda digest: (waiting[digest].time, digest))
        ours = {digest: msgspec.json.encode(given(found[digest])) for digest in ordered}
        decided = await self._redis(partial(self._waiting.decide, ours))
        messages = []
        for digest, decision in decided.items():
            fields = msgspec.json.decode(decision)
            self._metrics.attributed.labels(fields["resolution"]["by"]).inc()
            messages.append(self._message(waiting[digest], fields))
        await self._outside.outputs.send(messages)
        done = {digest: waiting[digest] for digest in ordered}
        await self._redis(partial(self._waiting.remove, done))

    def _message(self, event: WaitingEvent, fields: Mapping[str, Any]) -> Message:
        account_id = fields["account_id"]
        key = account_id.encode("utf-8", "surrogatepass")
        value = with_fields(event.value, fields)
        headers = [("surgeline-attributed", b"1")]
        return Message(event.topic, key, value, self._shard_of(account_id), headers)

    def _event(self, waiting: WaitingEvent) -> Event | None:
        return self._decoders[waiting.topic](_Stored(waiting.value), time.time()).event  # type: ignore[arg-type]

    async def tidy(self) -> None:
        """Let go of events past the horizon (wall clock), and of the oldest of too many."""
        if self._settings.clock == "wall":
            before = time.time() - self._model.horizon_days * SECONDS_PER_DAY
            while digests := await self._redis(partial(self._waiting.older, before)):
                await self._drop(digests, "horizon")
        count = await self._redis(self._waiting.count)
        while (excess := count - self._settings.waiting_events) > 0:
            digests = await self._redis(partial(self._waiting.oldest, excess))
            await self._drop(digests, "full")
            count -= len(digests)
        self._metrics.waiting.set(count)

    async def _drop(self, digests: Sequence[int], why: str) -> None:
        events = await self._redis(partial(self._waiting.read, digests))
        await self._give_up(events, why)
        gone: dict[int, list[Key]] = {digest: [] for digest in digests if digest not in events}
        await self._redis(partial(self._waiting.clear, gone))

    async def _give_up(self, events: Mapping[int, WaitingEvent], why: str) -> None:
        if events:
            self._metrics.given_up.labels(why).inc(len(events))
            await self._redis(partial(self._waiting.remove, events))

    async def _redis(self, call: Callable[[], Awaitable[T]]) -> T:
        return await self._outside.backoff.answered(call)


class _Stored(msgspec.Struct):
    """A record of which nothing but its value is left."""

    value: bytes


def _plain(keys: Iterable[Key]) -> list[tuple[str, str]]:
    return [(kind.value, name) for kind, name in keys]
