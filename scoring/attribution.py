"""Attribution over a sequence of events: each is given its account, at once or when it is known.

What `surgeline score` and `surgeline resolve` do in memory is what workers and the resolver do
between them: an event that names no account is looked up; what nobody is found for waits under
everything that may lead to an account, and is tried again when the directory learns of that.
"""

from collections import defaultdict
from collections.abc import Iterator
from typing import Any, NamedTuple

from scoring.dedupe import event_hash
from scoring.directory import Key, Kind, Told, VisitorEntry, told_by, ways_opened
from scoring.domains import domains_of
from scoring.events import Event
from scoring.known import Known
from scoring.model import SECONDS_PER_DAY
from scoring.resolution import (
    Clues,
    Found,
    Look,
    LookUpAddress,
    NotFound,
    Resolution,
    clues_of,
    resolve,
)
from scoring.resolution_rules import ResolutionModel

ACCOUNTLESS = frozenset({"spend"})
"""Types that belong to no account."""
OWN = frozenset({"account", "spend"})
"""Types that do not roll up: each account keeps its own record."""


class Decision(NamedTuple):
    """What was decided of one event."""

    event: Event
    """With its account, where one was found."""
    time: float
    resolution: Resolution | None
    """None where the event named its account itself, and nothing was to be decided."""
    backwards: bool = False
    """Whether it had waited."""


class _Waiting(NamedTuple):
    event: Event
    time: float
    clues: Clues
    keys: list[Key]


def given(found: Found) -> dict[str, Any]:
    """Return the fields that an event is given with the account that was *found*."""
    note: dict[str, Any] = {"by": found.by, "confidence": found.confidence}
    if found.rolled_up_from is not None:
        note["rolled_up_from"] = found.rolled_up_from
    fields: dict[str, Any] = {"account_id": found.account_id, "resolution": note}
    if found.contact_id is not None:
        fields["contact_id"] = found.contact_id
    return fields


def to_resolve(event: Event, model: ResolutionModel) -> bool:
    """Tell whether the directory must be asked for the account of *event*."""
    if event.get("account_id") is None:
        return event["type"] not in ACCOUNTLESS
    return model.roll_up != "none" and event["type"] not in OWN


def changed(resolution: Resolution) -> bool:
    """Tell whether *resolution* says more than the event itself did."""
    return isinstance(resolution, Found) and not (
        resolution.by == "account_id" and resolution.rolled_up_from is None
    )


def waiting_keys(clues: Clues, look: Look) -> list[Key]:
    """Return everything that may lead to the account of an event later.

    Of an identified visitor whose person nobody knows yet also what identified them.
    """
    keys = clues.keys
    if clues.anonymous_id is not None:
        visitor: VisitorEntry | None = look((Kind.VISITOR, clues.anonymous_id))
        if visitor is not None:
            pairs = (
                (Kind.CONTACT, visitor.contact_id),
                (Kind.EMAIL, visitor.email),
                (Kind.DOMAIN, visitor.mail_domain),
            )
            keys += [(kind, name) for kind, name in pairs if name is not None]
    return list(dict.fromkeys(keys))


def in_time(time: float, told: Told, model: ResolutionModel) -> bool:
    """Tell whether an event of *time* waited no longer than the horizon for what was *told*."""
    return told.entry.recorded_at - time <= model.horizon_days * SECONDS_PER_DAY


class Attribution:
    """Gives events their accounts, one after the other."""

    def __init__(self, model: ResolutionModel, look_up: LookUpAddress | None = None) -> None:
        self._model = model
        self._domains = domains_of(model.domains)
        self._look_up = look_up
        self._known = Known()
        self._waiting: dict[int, _Waiting] = {}
        self._under: defaultdict[Key, set[int]] = defaultdict(set)

    def take(self, event: Event, time: float) -> Iterator[Decision]:
        """Yield what is decided of *event*, then of those that waited for what it tells.

        Those of one key come by their time.
        """
        told = told_by(event, time, self._domains)
        if told is not None:
            self._known.tell([told])
        yield self._decided(event, time)
        if told is not None:
            yield from self._tried_again(told)

    def _decided(self, event: Event, time: float) -> Decision:
        if not to_resolve(event, self._model):
            return Decision(event, time, None)
        clues = clues_of(event, self._domains, self._look_up)
        resolution = resolve(clues, self._known.look, self._model)
        if isinstance(resolution, NotFound):
            self._wait(event_hash(event), _Waiting(event, time, clues, []))
            return Decision(event, time, resolution)
        if not changed(resolution):
            return Decision(event, time, None)
        return Decision(event | given(resolution), time, resolution)

    def _wait(self, digest: int, each: _Waiting) -> None:
        keys = waiting_keys(each.clues, self._known.look)
        if keys:
            self._waiting[digest] = each._replace(keys=keys)
            for key in keys:
                self._under[key].add(digest)

    def _tried_again(self, told: Told) -> Iterator[Decision]:
        digests = {d for key in ways_opened([told]) for d in self._under.get(key, ())}
        for digest in sorted(digests, key=lambda each: (self._waiting[each].time, each)):
            each = self._waiting[digest]
            if not in_time(each.time, told, self._model):
                self._forget(digest)
                continue
            resolution = resolve(each.clues, self._known.look, self._model)
            if isinstance(resolution, NotFound):
                self._wait(digest, each)
                continue
            self._forget(digest)
            yield Decision(each.event | given(resolution), each.time, resolution, backwards=True)

    def _forget(self, digest: int) -> None:
        for key in self._waiting.pop(digest).keys:
            self._under[key].discard(digest)
            if not self._under[key]:
                del self._under[key]
