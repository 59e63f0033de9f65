"""Several accounts in memory, with what one tells the other: the shell's part without a shell."""

from collections import deque
from typing import Any

from scoring.account import AccountState
from scoring.events import Event
from scoring.fold import Account, Outcome, fold
from scoring.gifts import gift_in
from scoring.merging import take_over
from scoring.noise import Noise
from scoring.rules import Rules
from tests.builders import decoded, default_rules


class Accounts(dict[str, Account]):
    """Accounts by id; those asked for are made."""

    def __init__(self, rules: Rules | None = None) -> None:
        super().__init__()
        self.rules = default_rules() if rules is None else rules

    def __missing__(self, account_id: str) -> Account:
        account = self[account_id] = Account(AccountState(account_id))
        return account

    def fold(self, json_event: dict[str, Any]) -> Outcome | Noise:
        """Fold a JSON-shaped event, and do every errand that comes of it."""
        event, time = decoded(json_event)
        return self.follow(event, time)

    def follow(self, event: Event, time: float) -> Outcome | Noise:
        account = self[event["account_id"]]
        outcome = fold(account, event, time, self.rules)
        waiting = deque([account])
        while waiting:
            live = waiting.popleft().live
            errands, live.errands = live.errands, []
            for errand in errands:
                other = self[errand.account_id]
                if errand.gift is not None:
                    giver = self[errand.giver]
                    gift = gift_in(giver.state, errand.gift)
                    assert gift is not None
                    take_over(other, gift, giver.seen.days if gift.whole else {}, self.rules)
                else:
                    assert errand.event is not None
                    outcome = fold(other, errand.event, time, self.rules)
                waiting.append(other)
        return outcome
