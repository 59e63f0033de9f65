"""Mail security gateways: opens and clicks that come too soon, or too many at once.

What is kept of an account is small: for the emails of at most 32 pairs of person and campaign
when the newest was sent, and the last clicks in them.
"""

from typing import Final

from scoring.account import AccountState
from scoring.digests import digest_of
from scoring.directory import plain_email
from scoring.events import Event
from scoring.noise_model import GatewayRule

EMAILS_KEPT: Final = 32
NEVER: Final = float("-inf")
_BEHIND_PERSON: Final = "\x1f"


def person_of(key: str) -> str:
    """Return the person in a key of what is kept: a contact id, or the digest of an address."""
    return key.partition(_BEHIND_PERSON)[0]


class EmailGateway:
    """The rule for emails; what it remembers is in the account's state alone."""

    def __init__(self, model: GatewayRule) -> None:
        self._soon = model.seconds_after_delivery
        self._many = model.links_at_once
        self._window = model.links_seconds

    def is_behind(self, event: Event, time: float, state: AccountState) -> bool:
        """Tell whether a gateway is behind *event*; note in *state* what later ones are judged by.

        An open or click is a gateway's up to `seconds_after_delivery` after the newest email of
        its campaign to the person, and a click from the `links_at_once`-th within
        `links_seconds` on: those before it were scored already.
        """
        person = event.get("contact_id")
        if person is None:
            if "email" not in event:
                return False
            person = digest_of(plain_email(event["email"]))
        action, key = event["action"], f"{person}{_BEHIND_PERSON}{event.get('campaign_id', '')}"
        if action == "sent" and event["direction"] == "outbound":
            sent, *clicks = state.emails.pop(key, (NEVER,))
            self._keep(state, key, [max(sent, time), *clicks])
            return False
        if action not in ("opened", "clicked"):
            return False
        sent, *clicks = state.emails.get(key, (NEVER,))
        soon = 0.0 <= time - sent <= self._soon
        if action == "opened":
            return soon
        near = [*(each for each in clicks if abs(time - each) <= self._window), time]
        state.emails.pop(key, None)
        self._keep(state, key, [sent, *near[-self._many :]])
        return soon or len(near) >= self._many

    def _keep(self, state: AccountState, key: str, email: list[float]) -> None:
        """Put *email* last; the one that was longest untouched makes room."""
        state.emails[key] = email
        if len(state.emails) > EMAILS_KEPT:
            del state.emails[next(iter(state.emails))]
