"""Accounts that merge, people who move and people who are erased, case by case."""

from typing import Any

import pytest

from scoring.account import AccountState, merged_into
from scoring.digests import digest_of
from scoring.fold import Outcome
from scoring.gateway import person_of
from scoring.gifts import gift_in
from scoring.merging import take_over
from scoring.model import parse_model
from scoring.report import account_report
from scoring.rules import Rules
from tests.builders import default_rules, fold_all
from tests.following import Accounts
from tests.strategies import DAY_0, Json, event

DAY = 86_400.0


def of(account_id: str, type_: str, day: float, **fields: Any) -> Json:
    return event(type_, day, **({"account_id": account_id} | fields))


def visit(account_id: str, day: float, **fields: Any) -> Json:
    given = {"url": "https://x.example/docs", "duration_seconds": 600} | fields
    return of(account_id, "page_visit", day, **given)


def email(account_id: str, day: float, who: str, direction: str = "inbound") -> Json:
    return of(account_id, "email", day, action="sent", direction=direction, contact_id=who)


def merger(old: str, new: str, day: float) -> Json:
    return of(old, "account", day, action="removed", merged_into=new)


def folded(*events: Json, rules: Rules | None = None) -> Accounts:
    accounts = Accounts(rules)
    for each in events:
        accounts.fold(each)
    return accounts


def score(accounts: Accounts, account_id: str, name: str, day: float) -> Any:
    state = accounts[account_id].state
    return account_report(state, DAY_0 + day * DAY, accounts.rules)[name]


def test_repeat_of_what_a_merged_account_did_stays_a_repeat_at_both() -> None:
    accounts = folded(visit("old", 1), merger("old", "new", 1.5))

    again = accounts.fold(visit("old", 1)), accounts.fold(visit("old", 1) | {"account_id": "new"})

    assert again == (Outcome.DUPLICATE, Outcome.DUPLICATE)
    assert accounts["new"].state.events == 1


def test_what_arrives_for_a_merged_account_is_folded_where_it_went() -> None:
    accounts = folded(merger("old", "new", 1), visit("old", 1))

    assert (accounts["old"].state.events, accounts["new"].state.events) == (0, 1)


def test_gift_is_taken_once_however_often_it_is_told() -> None:
    accounts = folded(visit("old", 1), merger("old", "new", 1.5))
    (id_,) = accounts["old"].state.ledger.gifts  # type: ignore[union-attr]
    gift = gift_in(accounts["old"].state, id_)
    assert gift is not None

    assert take_over(accounts["new"], gift, {}, accounts.rules) is Outcome.DUPLICATE
    assert accounts["new"].state.events == 1


def test_account_that_is_upserted_after_its_merger_stands_by_itself_again() -> None:
    accounts = folded(visit("old", 1), merger("old", "new", 2))

    accounts.fold(of("old", "account", 3, action="upserted", target=True))
    accounts.fold(visit("old", 4))

    assert merged_into(accounts["old"].state) is None
    assert (accounts["old"].state.events, accounts["new"].state.events) == (1, 1)
    assert accounts["old"].state.stage == "engaged"


def test_merger_older_than_the_record_of_the_account_is_history() -> None:
    accounts = folded(
        of("old", "account", 3, action="upserted", target=True), merger("old", "new", 2)
    )

    assert merged_into(accounts["old"].state) is None


def test_merger_into_the_account_itself_is_a_plain_removal() -> None:
    accounts = folded(visit("old", 1), merger("old", "old", 2))

    assert merged_into(accounts["old"].state) is None
    assert accounts["old"].state.events == 1


def test_merged_account_leaves_its_stage_and_the_other_one_may_reach_it() -> None:
    accounts = folded(
        of("new", "account", 0, action="upserted", target=True),
        of("old", "account", 0, action="upserted", target=True),
        of("old", "opportunity", 1, action="won", opportunity_id="o", kind="new"),
        merger("old", "new", 2),
    )

    assert (accounts["old"].state.stage, accounts["new"].state.stage) == (None, "customer")
    moves = [each.subject for each in accounts["new"].live.announced]
    assert moves[-1] == "target>customer"
    assert [a.rule for a in accounts["new"].live.alerts] == ["stage_changed"]


def test_daily_cap_holds_for_what_comes_after_a_merger() -> None:
    long = [visit(who, 1 + n / 100) for who in ("old", "new") for n in range(4)]
    accounts = folded(*long, merger("old", "new", 1.5))
    before = score(accounts, "new", "engagement_minutes", 2)

    accounts.fold(visit("new", 1.6))

    assert score(accounts, "new", "engagement_minutes", 2) == pytest.approx(before)


def test_contact_who_leaves_counts_no_more_in_the_relationship_and_keeps_engagement() -> None:
    both = [email("acme", 1, "ann"), email("acme", 1.1, "ann", "outbound")]
    accounts = folded(*both)
    minutes = score(accounts, "acme", "engagement_minutes", 3)
    assert score(accounts, "acme", "relationship", 3) > 0

    accounts.fold(of("acme", "contact", 2, action="removed", contact_id="ann"))

    assert score(accounts, "acme", "relationship", 3) == 0
    assert score(accounts, "acme", "contacts", 3) == 0
    assert score(accounts, "acme", "engagement_minutes", 3) == minutes


@pytest.mark.parametrize("on_move", ["leave", "take_along"])
def test_model_says_whether_people_take_along_what_they_did(on_move: str) -> None:
    stays = on_move == "leave"
    rules = Rules.of(parse_model(f"[contacts]\non_move = '{on_move}'"))
    accounts = folded(
        email("old", 1, "ann"),
        of("new", "contact", 2, action="upserted", contact_id="ann", moved_from="old"),
        rules=rules,
    )

    assert (score(accounts, "old", "engagement", 3) > 0) is stays
    assert (score(accounts, "new", "engagement", 3) > 0) is not stays
    assert score(accounts, "old", "relationship", 3) == 0
    assert (score(accounts, "new", "relationship", 3) > 0) is not stays


def test_departure_that_is_older_than_a_return_takes_nothing() -> None:
    rules = Rules.of(parse_model("[contacts]\non_move = 'take_along'"))
    accounts = folded(
        email("old", 1, "ann"),
        of("old", "contact", 5, action="upserted", contact_id="ann"),
        of("old", "contact", 4, action="removed", contact_id="ann", moved_to="new"),
        rules=rules,
    )

    assert "new" not in accounts
    assert not accounts["old"].state.contacts["ann"].removed


def test_what_a_merged_account_gave_is_erased_where_it_waits_and_where_it_went() -> None:
    accounts = folded(email("old", 1, "ann"), email("old", 1.2, "bob"), merger("old", "new", 2))
    minutes = score(accounts, "new", "engagement_minutes", 9)

    accounts.fold(of("old", "contact", 3, action="removed", erase=True, contact_id="ann"))

    (stored,) = accounts["old"].state.ledger.gifts.values()  # type: ignore[union-attr]
    assert b"bob" in stored
    assert b"ann" not in stored
    assert set(accounts["new"].state.contacts) == {"bob"}
    assert score(accounts, "new", "engagement_minutes", 9) == pytest.approx(minutes, rel=1e-12)


def test_seniority_of_an_erased_person_weighs_what_arrives_late() -> None:
    before = [
        of("acme", "contact", 1, action="upserted", contact_id="ann", seniority="c_level"),
        email("acme", 2, "ann"),
        email("acme", 3, "ann"),
    ]
    erasure = of("acme", "contact", 4, action="removed", erase=True, contact_id="ann")
    whole = folded(*before)

    late = folded(*before[:2], erasure, before[2])

    assert score(late, "acme", "engagement_minutes", 5) == pytest.approx(
        score(whole, "acme", "engagement_minutes", 5), rel=1e-12
    )
    assert late["acme"].state.contacts == {}


def test_person_starts_anew_after_the_erasure() -> None:
    accounts = folded(
        email("acme", 1, "ann"),
        of("acme", "contact", 2, action="removed", erase=True, contact_id="ann"),
        email("acme", 3, "ann"),
    )

    assert accounts["acme"].state.contacts["ann"].inbound == pytest.approx(2 ** (2 / 60), rel=1e-9)


def test_address_that_gateways_are_told_by_is_kept_as_its_digest_and_erased() -> None:
    rules = Rules.of(parse_model("[noise.gateway]\nenabled = true"))
    sent = of("acme", "email", 1, action="sent", direction="outbound", email="Ann@acme.example")
    accounts = folded(sent, rules=rules)
    (kept,) = accounts["acme"].state.emails
    who = digest_of("ann@acme.example")
    assert person_of(kept) == who

    accounts.fold(of("acme", "contact", 2, action="removed", erase=True, contact_id=who))

    assert accounts["acme"].state.emails == {}


def test_alert_about_an_erased_persons_late_visit_tells_of_somebody() -> None:
    account, _ = fold_all(
        [
            of("acme", "account", 0, action="upserted", target=True),
            of("acme", "contact", 5, action="removed", erase=True, contact_id="ann"),
            visit("acme", 4, contact_id="ann", url="https://x.example/pricing?who=ann"),
        ]
    )

    (alert,) = [each for each in account.live.alerts if each.rule == "high_value_page"]
    assert alert.sentence.startswith("Somebody of acme")
    assert (alert.why["contact_id"], alert.why["url"]) == (None, "https://x.example/pricing")
    assert [touch.label for touch in account.state.touches] == ["https://x.example/pricing"]


def test_accounts_to_which_nothing_of_this_happened_have_no_ledger() -> None:
    accounts = folded(visit("acme", 1), email("acme", 2, "ann"))

    assert accounts["acme"].state.ledger is None
    assert AccountState("acme").ledger is None
    assert default_rules().model.contacts.on_move == "leave"
