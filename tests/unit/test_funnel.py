"""The funnel: one test per rule of the stages."""

import pytest

from scoring.funnel import has_open_opportunity, is_customer
from tests.builders import fold_all
from tests.strategies import Json, event


def target(day: float = 0, **fields: object) -> Json:
    return event("account", day, **{"action": "upserted", "target": True, **fields})


def deal(day: float, action: str, name: str = "o1", kind: str = "new") -> Json:
    return event("opportunity", day, action=action, opportunity_id=name, kind=kind)


def meeting(day: float) -> Json:
    return event("meeting", day, action="held", meeting_id="m", duration_minutes=30)


def stage(*events: Json) -> str | None:
    account, _ = fold_all(events)
    return account.state.stage


def test_an_account_that_is_no_target_has_no_stage() -> None:
    assert stage(meeting(0), deal(0, "won")) is None
    assert stage(target(target=False), deal(0, "won")) is None
    assert stage(target(), event("account", 1, action="removed")) is None


def test_a_target_begins_in_the_first_stage() -> None:
    assert stage(target()) == "target"


def test_a_target_with_five_minutes_is_engaged() -> None:
    assert stage(target(), meeting(0)) == "engaged"


def test_engagement_is_tracked_before_an_account_is_a_target() -> None:
    assert stage(meeting(0), target()) == "engaged"


@pytest.mark.parametrize("action", ["opened", "updated"])
def test_an_open_opportunity_is_the_third_stage(action: str) -> None:
    assert stage(target(), meeting(0), deal(0, action)) == "opportunity"


@pytest.mark.parametrize(
    ("kind", "expected"),
    [("new", "customer"), ("renewal", "retained"), ("expansion", "expanded")],
)
def test_what_was_won_decides_the_deeper_stages(kind: str, expected: str) -> None:
    assert stage(target(), deal(0, "won", kind=kind)) == expected


def test_the_deepest_stage_counts() -> None:
    new, renewal = deal(1, "won", "a"), deal(2, "won", "b", "renewal")
    expansion, another = deal(3, "won", "c", "expansion"), deal(4, "opened", "d")

    assert stage(target(), new, another) == "customer"
    assert stage(target(), renewal, new) == "retained"
    assert stage(target(), expansion, renewal, new, another) == "expanded"


def test_a_lost_opportunity_is_open_no_more() -> None:
    assert stage(target(), deal(0, "opened"), deal(1, "lost")) == "target"
    assert stage(target(), meeting(0), deal(0, "opened"), deal(1, "lost")) == "engaged"


def test_the_state_is_the_newest_by_event_time() -> None:
    assert stage(target(), deal(2, "won"), deal(1, "lost")) == "customer"
    assert stage(target(), deal(1, "won"), deal(2, "lost")) == "target"
    assert stage(target(), deal(1, "lost"), deal(2, "opened")) == "opportunity"


def test_of_equal_times_the_later_in_the_topic_counts() -> None:
    assert stage(target(), deal(1, "won"), deal(1, "lost")) == "target"
    assert stage(target(), deal(1, "lost"), deal(1, "won")) == "customer"


@pytest.mark.parametrize("state", ["won", "lost", "churned"])
def test_an_update_never_reopens(state: str) -> None:
    decided = [target(), deal(1, state)]

    assert stage(*decided, deal(2, "updated")) == stage(*decided)


@pytest.mark.parametrize("state", ["won", "lost", "churned"])
def test_an_update_alone_gives_way_to_what_was_decided_before_it(state: str) -> None:
    assert stage(target(), deal(2, "updated"), deal(1, state)) == stage(target(), deal(1, state))


def test_a_churn_ends_the_wins_before_it_of_any_opportunity() -> None:
    won = [target(), deal(1, "won", "a"), deal(2, "won", "b", "expansion")]

    assert stage(*won, deal(3, "churned", "a")) == "target"
    assert stage(*won, deal(3, "churned", "unknown")) == "target"


def test_a_churn_at_the_instant_of_a_win_ends_it() -> None:
    assert stage(target(), deal(1, "won", "a"), deal(1, "churned", "b")) == "target"


def test_a_win_after_the_churn_counts_again() -> None:
    churned = [target(), deal(1, "won", "a"), deal(2, "churned", "a")]

    assert stage(*churned, deal(3, "won", "b", "renewal")) == "retained"
    assert stage(*churned, deal(3, "won", "a")) == "customer"


def test_a_churn_counts_though_its_opportunity_was_decided_later() -> None:
    # b churned on day 2 and was lost on day 3: the win of day 1 is over all the same.
    events = [target(), deal(1, "won", "a"), deal(2, "churned", "b"), deal(3, "lost", "b")]

    assert stage(*events) == "target"


def test_a_late_churn_ends_only_the_wins_before_it() -> None:
    assert stage(target(), deal(3, "won", "a"), deal(1, "churned", "b")) == "customer"


def test_a_churned_customer_with_another_open_opportunity_is_in_the_third_stage() -> None:
    events = [deal(1, "won", "a"), deal(2, "churned", "a"), deal(2, "opened", "b")]

    assert stage(target(), *events) == "opportunity"


def test_an_account_that_becomes_a_target_stands_where_its_opportunities_do() -> None:
    assert stage(deal(1, "won"), target(2)) == "customer"


def test_the_newest_record_decides_whether_an_account_is_a_target() -> None:
    no = target(1, target=False)

    assert stage(no, target(0)) is None
    assert stage(target(0), no) is None
    assert stage(no, target(1)) == "target"
    assert stage(event("account", 1, action="removed"), target(0)) is None


def test_customers_are_accounts_with_a_win_that_stands() -> None:
    def customer(*events: Json) -> bool:
        return is_customer(fold_all(events)[0].state)

    assert customer(deal(1, "won", kind="expansion"))
    assert not customer(deal(1, "won"), deal(2, "churned"))
    assert not customer(deal(1, "opened"))


def test_an_opportunity_is_open_until_it_is_decided() -> None:
    def is_open(*events: Json) -> bool:
        return has_open_opportunity(fold_all(events)[0].state)

    assert is_open(deal(1, "updated"))
    assert not is_open(deal(1, "opened"), deal(2, "lost"))
