"""Builders: events and accounts for tests, with one argument per thing that matters."""

import json
from collections.abc import Iterable
from functools import lru_cache, partial
from typing import Any

from scoring.account import AccountState
from scoring.events import Event, any_decoder, check_event
from scoring.fold import Account, Outcome, fold
from scoring.model import default_model
from scoring.noise import Noise
from scoring.rules import Rules
from stream.alerting import alert_announcer
from stream.settings import load_settings
from stream.transfers import transfer_of


@lru_cache(maxsize=1)
def default_rules() -> Rules:
    return Rules.of(default_model())


announce_alert = alert_announcer(load_settings(embedded=True))
"""What makes announcements of alerts, as settings by default have it."""

announce_errand = partial(transfer_of, generation="1")
"""What makes announcements of errands."""

FAR_AHEAD = 1e11
"""A wall clock ahead of every event that tests make."""

_decode = any_decoder()


def decoded(event: dict[str, Any]) -> tuple[Event, float]:
    """Validate a JSON-shaped event as a worker would; return it with its time."""
    valid = _decode(json.dumps(event).encode())
    return valid, check_event(valid, now=FAR_AHEAD)


def new_account(account_id: str = "acme") -> Account:
    return Account(AccountState(account_id))


def fold_all(
    events: Iterable[dict[str, Any]], account: Account | None = None, rules: Rules | None = None
) -> tuple[Account, list[Outcome | Noise]]:
    """Fold JSON-shaped *events* of one account in order."""
    account = new_account() if account is None else account
    rules = default_rules() if rules is None else rules
    outcomes: list[Outcome | Noise] = []
    for event in events:
        valid, at = decoded(event)
        outcomes.append(fold(account, valid, at, rules))
    return account, outcomes
