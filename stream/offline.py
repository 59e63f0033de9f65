"""The core over recorded events: no Kafka, no Redis, the reference that the stream must equal."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from pydantic_core import ValidationError

from scoring.account import AccountState
from scoring.errors import BadRecord, Reason
from scoring.events import Decoder, Event, any_decoder, bad_record, check_event
from scoring.fold import Account, Outcome, fold
from scoring.rules import Rules

MAX_RECORD_BYTES: Final = 1_048_576
"""As large as a record may be on Kafka, unless the settings say otherwise."""


class Example(NamedTuple):
    """The first bad record of its kind."""

    line: int
    """Counted from 1, over all lines."""
    detail: str


@dataclass(slots=True)
class OfflineRun:
    """What became of recorded events, and the accounts that they made."""

    as_of: float | None
    """Unix seconds: the time asked for, else the newest event time; None without any event."""
    accounts: dict[str, Account] = field(default_factory=dict)
    outcomes: Counter[Outcome] = field(default_factory=Counter)
    dead: Counter[Reason] = field(default_factory=Counter)
    examples: dict[Reason, Example] = field(default_factory=dict)
    transitions: Counter[tuple[str, str]] = field(default_factory=Counter)
    """(rule, subject) -> how often it was announced up to each account's newest event."""
    left_out: int = 0
    """Events after the time asked for."""


def score_lines(
    lines: Iterable[bytes],
    *,
    rules: Rules,
    as_of: float | None,
    now: float,
    max_record_bytes: int = MAX_RECORD_BYTES,
) -> OfflineRun:
    """Fold *lines*, one JSON record each, into accounts, in the order in which they come.

    Events after *as_of* (Unix seconds) are left out; *now* is the wall clock, ahead of which no
    event may lie. Blank lines are no records. Keeps what the accounts keep, and nothing of an
    event; ``Account.live.announced`` is emptied into ``OfflineRun.transitions``.
    """
    run = OfflineRun(as_of)
    decode = any_decoder()
    newest: float | None = None
    for number, line in enumerate(lines, start=1):
        record = line.strip()
        if not record:
            continue
        try:
            event = _decoded(record, decode, max_record_bytes)
            time = check_event(event, now=now)
        except BadRecord as error:
            _bury(run, error, number)
            continue
        if as_of is not None and time > as_of:
            run.left_out += 1
            continue
        newest = time if newest is None or time > newest else newest
        run.outcomes[_apply(run, event, time, rules)] += 1
    if as_of is None:
        run.as_of = newest
    return run


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


def _apply(run: OfflineRun, event: Event, time: float, rules: Rules) -> Outcome:
    if event["type"] == "spend":  # belongs to no account
        return Outcome.SCORED
    account_id = event.get("account_id")
    if account_id is None:
        return Outcome.UNRESOLVED
    account = run.accounts.get(account_id)
    if account is None:
        account = run.accounts[account_id] = Account(AccountState(account_id))
    outcome = fold(account, event, time, rules)
    # These grow with the events, and are the shell's to take.
    account.seen.fresh.clear()
    account.seen.forgotten.clear()
    if announced := account.live.announced:
        run.transitions.update((each.rule, each.subject) for each in announced)
        announced.clear()
    return outcome
