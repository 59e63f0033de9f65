"""The core over recorded events: no Kafka, no Redis, the reference that the stream must equal."""

from collections import Counter, deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from pydantic_core import ValidationError

from scoring.account import AccountState, merged_into
from scoring.attribution import Attribution, Decision
from scoring.directory import ContactEntry, joined
from scoring.errors import BadRecord, Reason
from scoring.events import Decoder, Event, any_decoder, bad_record, check_event
from scoring.fold import Account, Outcome, fold
from scoring.gifts import gift_in
from scoring.kpis.facts import FactPacker, Names
from scoring.live import Errand
from scoring.merging import take_over
from scoring.moving import left
from scoring.noise import Noise
from scoring.resolution import LookUpAddress
from scoring.rules import Rules

MAX_RECORD_BYTES: Final = 1_048_576
"""As large as a record may be on Kafka, unless the settings say otherwise."""


class Example(NamedTuple):
    """The first bad record of its kind."""

    line: int
    """Counted from 1, over all lines."""
    detail: str


@dataclass(slots=True)
class OfflineFacts:
    """The facts of recorded events, as a worker would have stored them."""

    packer: FactPacker
    events: dict[str, bytearray] = field(default_factory=dict)
    records: dict[str, bytearray] = field(default_factory=dict)
    names: Names = field(default_factory=dict)
    spend: list[tuple[float, bytes]] = field(default_factory=list)

    def take(self, account: Account) -> None:
        """Take the facts of *account*, and leave what it announces."""
        packed = self.packer.take(account.live, self.names)
        account_id = account.state.account_id
        self.events.setdefault(account_id, bytearray()).extend(packed.events)
        self.records.setdefault(account_id, bytearray()).extend(packed.records)

    def logs(self) -> list[tuple[str, bytes, bytes]]:
        """Return account id, log of events and log of records of every account."""
        return [(i, bytes(log), bytes(self.records[i])) for i, log in self.events.items()]


@dataclass(slots=True)
class OfflineRun:
    """What became of recorded events, and the accounts that they made."""

    as_of: float | None
    """Unix seconds: the time asked for, else the newest event time; None without any event."""
    accounts: dict[str, Account] = field(default_factory=dict)
    outcomes: Counter[Outcome] = field(default_factory=Counter)
    noise: Counter[Noise] = field(default_factory=Counter)
    dead: Counter[Reason] = field(default_factory=Counter)
    examples: dict[Reason, Example] = field(default_factory=dict)
    transitions: Counter[tuple[str, str]] = field(default_factory=Counter)
    """(rule, subject) -> how often it was announced up to each account's newest event."""
    people: dict[str, ContactEntry] = field(default_factory=dict)
    """Contact id -> the newest word on where the person belongs."""
    left_out: int = 0
    """Events after the time asked for."""
    facts: OfflineFacts | None = None
    """What KPIs are computed from; None when nobody asked for it."""
    resolved: Counter[str] = field(default_factory=Counter)
    """Rule that found the account of an event that named none -> events."""
    backwards: int = 0
    """Events among them that waited until somebody was found."""

    def standing(self) -> dict[str, AccountState]:
        """Return the states of the accounts that were not merged into others."""
        states = {name: account.state for name, account in self.accounts.items()}
        return {name: state for name, state in states.items() if merged_into(state) is None}


def score_lines(  # noqa: PLR0913  # one switch for each thing that only some readers want
    lines: Iterable[bytes],
    *,
    rules: Rules,
    as_of: float | None,
    now: float,
    max_record_bytes: int = MAX_RECORD_BYTES,
    look_up: LookUpAddress | None = None,
    facts: OfflineFacts | None = None,
) -> OfflineRun:
    """Fold *lines*, one JSON record each, into accounts, in the order in which they come.

    Events after *as_of* (Unix seconds) are left out; *now* is the wall clock, ahead of which no
    event may lie. Blank lines are no records. Events that name no account are folded into the one
    that the records before them lead to (*look_up*: a database of networks), and where they lead to
    none, when later ones do. Keeps what the accounts keep, of events only those that wait, and
    their facts, where *facts* are asked for; ``Account.live.announced`` is emptied into ``OfflineRun.transitions``.
    """
    run = OfflineRun(as_of, facts=facts)
    attribution = Attribution(rules.model.resolution, look_up)
    newest: float | None = None
    for number, event, time in read_events(lines, now=now, max_record_bytes=max_record_bytes):
        if isinstance(event, BadRecord):
            _bury(run, event, number)
            continue
        if as_of is not None and time > as_of:
            run.left_out += 1
            continue
        newest = time if newest is None or time > newest else newest
        for decision in attribution.take(event, time):
            run.outcomes[_apply(run, decision, rules)] += 1
    if as_of is None:
        run.as_of = newest
    return run


def read_events(
    lines: Iterable[bytes], *, now: float, max_record_bytes: int = MAX_RECORD_BYTES
) -> Iterator[tuple[int, Event | BadRecord, float]]:
    """Yield line number, event (or what is wrong with it) and event time of each record."""
    decode = any_decoder()
    for number, line in enumerate(lines, start=1):
        record = line.strip()
        if not record:
            continue
        try:
            event = _decoded(record, decode, max_record_bytes)
            time = check_event(event, now=now)
        except BadRecord as error:
            yield number, error, 0.0
        else:
            yield number, event, time


def _decoded(record: bytes, decode: Decoder, max_record_bytes: int) -> Event:
    if len(record) > max_record_bytes:
        raise BadRecord(
            Reason.TOO_LARGE, f"{len(record)} bytes are more than the {max_record_bytes} allowed"
        )
    try:
        return decode(record)
    except ValidationError as error:
        raise bad_record(error) from None


def _bury(run: OfflineRun, error: BadRecord, line: int) -> None:
    run.outcomes[Outcome.DEAD] += 1
    run.dead[error.reason] += 1
    run.examples.setdefault(error.reason, Example(line, error.detail))


def _apply(run: OfflineRun, decision: Decision, rules: Rules) -> Outcome:
    event, time = decision.event, decision.time
    if event["type"] == "spend":  # belongs to no account
        if run.facts is not None:
            run.facts.spend.append((time, run.facts.packer.spend(event, run.facts.names)))
        return Outcome.SCORED
    account_id = event.get("account_id")
    if account_id is None:
        return Outcome.UNRESOLVED
    if "resolution" in event:
        run.resolved[event["resolution"]["by"]] += 1
    if decision.backwards:
        run.backwards += 1
        run.outcomes[Outcome.UNRESOLVED] -= 1
    account = _account(run, account_id)
    outcome = _counted(run, fold(account, event, time, rules))
    errands = deque([*_taken(run, account), *_left(run, event, time, rules)])
    while errands:
        errand = errands.popleft()
        account = _account(run, errand.account_id)
        if errand.gift is not None:
            _fetch(run, account, errand, rules)
        elif errand.event is not None:
            time = errand.event["time"].timestamp()
            end = _counted(run, fold(account, errand.event, time, rules))
            outcome = end if outcome is Outcome.MOVED else outcome
        errands.extend(_taken(run, account))
    return outcome


def _counted(run: OfflineRun, outcome: Outcome | Noise) -> Outcome:
    """Return *outcome*, counting what was labelled as noise, which is scored as nothing."""
    if isinstance(outcome, Noise):
        run.noise[outcome] += 1
        return Outcome.SCORED
    return outcome


def _left(run: OfflineRun, event: Event, time: float, rules: Rules) -> list[Errand]:
    """Return what is told of a person who belongs to another account than before.

    Nothing where what people did stays: then records alone say who left, and one id may well name
    two people in two accounts.
    """
    follows = rules.model.contacts.on_move == "take_along"
    if not follows or event["type"] != "contact" or event.get("erase"):
        return []
    who = event["contact_id"]
    entry = ContactEntry(time, event["account_id"], removed=event["action"] == "removed")
    old = run.people.get(who)
    now = joined(old, entry)
    assert isinstance(now, ContactEntry)
    run.people[who] = now
    return [] if old is None else left(who, old, entry)


def _account(run: OfflineRun, account_id: str) -> Account:
    account = run.accounts.get(account_id)
    if account is None:
        account = run.accounts[account_id] = Account(AccountState(account_id))
    return account


def _fetch(run: OfflineRun, account: Account, errand: Errand, rules: Rules) -> None:
    """Let *account* take over what another one has given it."""
    assert errand.gift is not None
    giver = run.accounts[errand.giver]
    gift = gift_in(giver.state, errand.gift)
    assert gift is not None
    take_over(account, gift, giver.seen.days if gift.whole else {}, rules)


def _taken(run: OfflineRun, account: Account) -> list[Errand]:
    """Take out of *account* what is the shell's; return what other accounts are told."""
    live = account.live
    # These grow with the events.
    account.seen.fresh.clear()
    account.seen.forgotten.clear()
    if run.facts is not None:
        run.facts.take(account)
    live.facts.clear()
    if announced := live.announced:
        run.transitions.update((each.rule, each.subject) for each in announced)
        announced.clear()
    errands = [*live.errands]
    live.errands.clear()
    return errands
