"""The funnel: six stages of target accounts, and what opportunities do to them."""

from typing import Final

from scoring.account import AccountState, Opportunity
from scoring.events import Event

STAGES: Final = ("target", "engaged", "opportunity", "customer", "retained", "expanded")
"""From the first to the deepest."""

NO_STAGE: Final = "none"
"""How moves name the outside of the funnel: accounts that are no target."""

_WON_STAGE: Final = {"new": "customer", "renewal": "retained", "expansion": "expanded"}
_STATES: Final = {"opened": "open", "won": "won", "lost": "lost", "churned": "churned"}


def stage_of(state: AccountState) -> str | None:
    """Return the deepest stage that matches, None for accounts that are no target.

    A win counts while its opportunity is in state won and no churn of any of the
    account's opportunities is at or after that win.
    """
    if state.record is None or not state.record.target:
        return None
    found = {"engaged"} if state.engaged else set()
    for opportunity in state.opportunities.values():
        if opportunity.state == "open":
            found.add("opportunity")
        elif opportunity.state == "won" and _stands(opportunity, state.churned_at):
            found.add(_WON_STAGE[opportunity.kind])
    return next((stage for stage in reversed(STAGES) if stage in found), STAGES[0])


def _stands(win: Opportunity, churned_at: float | None) -> bool:
    return churned_at is None or win.since is None or churned_at < win.since


def apply_opportunity(state: AccountState, event: Event, time: float) -> None:
    """Note what *event* says of its opportunity.

    The newest by event time of opened, won, lost and churned decides, of equal times the
    later one; ``updated`` alone means open, and never reopens.
    """
    action, opportunity_id = event["action"], event["opportunity_id"]
    known = state.opportunities.get(opportunity_id)
    if action == "updated":
        if known is None or known.since is None:
            state.opportunities[opportunity_id] = Opportunity("open", event["kind"])
        return
    if action == "churned" and (state.churned_at is None or time > state.churned_at):
        state.churned_at = time
    if known is None or known.since is None or time >= known.since:
        state.opportunities[opportunity_id] = Opportunity(_STATES[action], event["kind"], time)


def is_customer(state: AccountState) -> bool:
    """Tell whether a win of any kind counts now."""
    return any(
        opportunity.state == "won" and _stands(opportunity, state.churned_at)
        for opportunity in state.opportunities.values()
    )


def has_open_opportunity(state: AccountState) -> bool:
    """Tell whether an opportunity is open now."""
    return any(opportunity.state == "open" for opportunity in state.opportunities.values())
