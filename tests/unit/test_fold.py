"""The fold: what one event changes in one account, beyond the scores themselves."""

import pytest

from scoring.account import CHANNEL_CODES, AccountRecord, encode_state
from scoring.fold import BIGGEST_TOUCHES, LABEL_LENGTH, Account, Outcome, fold
from scoring.model import parse_model
from scoring.rules import Rules
from scoring.scores import scores_at
from tests.builders import decoded, default_rules, fold_all
from tests.strategies import DAY_0, Json, event

MEETING = CHANNEL_CODES["meeting"]


def meeting(day: float, duration: float, **fields: object) -> Json:
    held = {"action": "held", "meeting_id": "m", "duration_minutes": duration}
    return event("meeting", day, **held, **fields)


def contact(day: float, contact_id: str, **fields: object) -> Json:
    return event("contact", day, **{"action": "upserted", "contact_id": contact_id, **fields})


def small_rules(contacts: int) -> Rules:
    return Rules.of(parse_model(f"[relationship]\nmax_contacts = {contacts}\n"))


def minutes(account: Account, day: float, rules: Rules | None = None) -> float:
    rules = default_rules() if rules is None else rules
    return scores_at(account.state, DAY_0 + day * 86_400, rules).engagement_minutes


def test_a_repeat_changes_nothing() -> None:
    events = [event("account", 0, action="upserted", target=True), meeting(1, 30, contact_id="a")]
    account, _ = fold_all(events)
    before, announced = encode_state(account.state), list(account.live.announced)

    _, outcomes = fold_all(events, account)

    assert outcomes == [Outcome.DUPLICATE, Outcome.DUPLICATE]
    assert encode_state(account.state) == before
    assert account.live.announced == announced


def test_events_are_those_of_the_engagement_types_late_ones_included() -> None:
    account, outcomes = fold_all(
        [
            event("survey", 99, kind="nps", score=9),
            meeting(50, 5),
            meeting(60, 5),
            meeting(2, 5),
            event("account", 98, action="upserted", target=True),
        ]
    )

    assert outcomes[3] is Outcome.TOO_LATE
    assert account.state.events == 3
    assert account.state.first_event_at == DAY_0 + 2 * 86_400
    assert account.state.last_event_at == DAY_0 + 60 * 86_400


def test_an_event_that_is_too_late_adds_to_no_score() -> None:
    visit = event("page_visit", 60, url="https://x/")
    late = event("page_visit", 2, url="https://x/pricing", contact_id="ann")

    account, _ = fold_all([visit, late])

    assert account.state.contacts == {}
    assert set(account.state.counts) == {"*"}
    assert account.state.first_counted_day == 13_879 + 60


def test_the_newest_time_is_kept_per_type() -> None:
    account, _ = fold_all([meeting(5, 1), meeting(4, 1), event("survey", 1, kind="nps", score=1)])

    assert account.state.newest == {
        MEETING: DAY_0 + 5 * 86_400,
        CHANNEL_CODES["survey"]: DAY_0 + 86_400,
    }


def test_minutes_are_kept_per_contact_and_channel() -> None:
    account, _ = fold_all(
        [
            meeting(0, 20, contact_id="ann"),
            event("ad", 0, action="click", campaign_id="c", placement="web", contact_id="ann"),
            meeting(0, 10),
        ]
    )

    assert account.state.contacts["ann"].minutes == {0: 1.0, MEETING: 20.0}
    assert account.state.unknown == {MEETING: 10.0}


def test_an_attendee_gets_the_relationship_and_the_contact_the_minutes() -> None:
    account, _ = fold_all([meeting(0, 20, contact_id="ann", attendee_ids=["bob"])])

    ann, bob = (account.state.contacts[who] for who in ("ann", "bob"))
    assert (ann.minutes, ann.inbound, ann.outbound) == ({MEETING: 20.0}, 0.0, 0.0)
    assert (bob.minutes, bob.inbound, bob.outbound) == ({}, 4.0, 4.0)


def test_masses_move_to_a_new_landmark_before_they_overflow() -> None:
    # 40 years are 1,043 half-lives of 14 days: 2^1043 is no double.
    first = meeting(0, 30, contact_id="ann")
    account, _ = fold_all([first, meeting(14_600, 30, contact_id="ann")])

    assert account.state.landmark == DAY_0 + 14_600 * 86_400
    assert minutes(account, 14_600) == pytest.approx(30.0)
    # I = O = 4, no title: (1 - 2^-(5/6)) x 0.8 x 60.
    scores = scores_at(account.state, DAY_0 + 14_600 * 86_400, default_rules())
    assert scores.relationship == pytest.approx(60 * 0.8 * (1 - 2 ** (-5 / 6)))
    assert account.state.touches[0].mass == 30.0


def test_what_is_left_of_old_masses_survives_a_new_landmark() -> None:
    # 3,600 days are 60 half-lives of relationships, and more than 256 of minutes.
    mails = [
        event("email", 0, action="sent", direction="inbound", contact_id="ann", id=f"e{n}")
        for n in range(9)
    ]
    account, _ = fold_all([*mails, meeting(3_600, 1)])

    assert account.state.contacts["ann"].inbound == pytest.approx(9 * 2.0**-60, rel=1e-9, abs=0.0)


def test_an_event_long_before_the_landmark_adds_next_to_nothing() -> None:
    late = event("chat", 0, action="started", conversation_id="v", direction="inbound")

    account, _ = fold_all([meeting(14_600, 30), late])

    assert minutes(account, 14_600) == pytest.approx(30.0)


def test_the_weakest_contact_is_forgotten_and_its_minutes_stay() -> None:
    rules = small_rules(2)
    account, _ = fold_all(
        [
            contact(0, "ann", seniority="vp"),
            meeting(0, 20, contact_id="ann"),
            event("chat", 0, action="started", conversation_id="v", direction="inbound"),
            event("email", 0, action="opened", direction="outbound", contact_id="bob"),
            meeting(0, 10, contact_id="cy"),
        ],
        rules=rules,
    )

    # Ann and Cy met us; Bob only opened an email, 0.1 minutes of channel 3.
    assert set(account.state.contacts) == {"ann", "cy"}
    assert account.state.frozen == {3: 0.1}
    assert minutes(account, 0, rules) == pytest.approx(20 * 1.5 + 10 + 2 + 0.1)


def test_a_forgotten_contact_keeps_the_seniority_that_it_had() -> None:
    rules = small_rules(1)
    account, _ = fold_all(
        [
            contact(0, "ann", seniority="c_level"),
            event("page_visit", 0, url="https://x/", duration_seconds=90, contact_id="ann"),
            meeting(0, 10, contact_id="bob"),
            contact(1, "ann", seniority="other"),
        ],
        rules=rules,
    )

    assert set(account.state.contacts) == {"bob"}
    # (0.5 + 1.5) x 2, and ten minutes.
    assert minutes(account, 0, rules) == pytest.approx(14.0)


def test_contacts_without_exchange_are_forgotten_by_their_minutes_then_by_id() -> None:
    account, _ = fold_all(
        [
            contact(0, "cy"),
            contact(0, "bob"),
            event("page_visit", 0, url="https://x/", contact_id="ann"),
        ],
        rules=small_rules(2),
    )

    assert set(account.state.contacts) == {"ann", "cy"}


def test_a_meeting_with_more_attendees_than_are_kept_stays_within_the_limit() -> None:
    account, _ = fold_all(
        [meeting(0, 10, attendee_ids=[f"p{n}" for n in range(200)])], rules=small_rules(3)
    )

    assert sorted(account.state.contacts) == ["p97", "p98", "p99"]


def test_the_touches_that_add_most_are_kept() -> None:
    account, _ = fold_all([meeting(0, n, id=f"e{n}") for n in (3, 9, 1, 7, 5, 8)])

    touches = account.state.touches
    assert len(touches) == BIGGEST_TOUCHES
    assert [touch.mass for touch in touches] == [9.0, 8.0, 7.0, 5.0, 3.0]


def test_touches_are_compared_at_one_instant() -> None:
    # 8 minutes of today weigh more than 9 of a half-life ago.
    account, _ = fold_all([meeting(0, 9), meeting(14, 8)])

    assert [touch.time for touch in account.state.touches] == [DAY_0 + 14 * 86_400, DAY_0]


def test_a_touch_counts_what_the_cap_left_of_it() -> None:
    account, _ = fold_all([meeting(0, 100, id=f"e{n}") for n in range(4)])

    # 240 minutes a day: two hundreds, and 40 of the third.
    assert [touch.mass for touch in account.state.touches] == [100.0, 100.0, 40.0]


@pytest.mark.parametrize(
    ("made", "label"),
    [
        (event("page_visit", 0, url="https://x/pricing?a=1"), "https://x/pricing?a=1"),
        (event("page_visit", 0, url="https://x/" + "y" * 99), "https://x/" + "y" * 54),
        (event("intent", 0, topic="crm"), "crm"),
        (event("email", 0, action="sent", direction="inbound", subject="Hi"), "sent"),
    ],
)
def test_a_touch_says_what_was_touched(made: Json, label: str) -> None:
    account, _ = fold_all([made])

    assert account.state.touches[0].label == label
    assert len(label) <= LABEL_LENGTH


def test_a_record_of_an_account_replaces_the_whole_earlier_one() -> None:
    first = event("account", 0, action="upserted", target=True, tier=1, owner_id="o", name="Acme")
    second = event("account", 1, action="upserted", target=True, name="ACME", domains=["a.example"])

    account, _ = fold_all([first, second])

    assert account.state.record == AccountRecord(
        DAY_0 + 86_400, target=True, details={"name": "ACME", "domains": ["a.example"]}
    )


def test_an_older_record_of_an_account_changes_nothing() -> None:
    newer = event("account", 1, action="upserted", target=False, tier=2)
    older = event("account", 0, action="upserted", target=True, tier=1)

    account, _ = fold_all([newer, older])

    assert account.state.record == AccountRecord(DAY_0 + 86_400, target=False, tier=2)


def test_a_removed_account_has_no_tier_and_no_owner() -> None:
    known = event("account", 0, action="upserted", target=True, tier=1, owner_id="o")

    account, _ = fold_all([known, event("account", 1, action="removed")])

    assert account.state.record == AccountRecord(DAY_0 + 86_400)


@pytest.mark.parametrize(
    "made",
    [
        event("survey", 0, kind="nps", score=3),
        event("identify", 0, anonymous_id="v", contact_id="ann"),
    ],
)
def test_surveys_and_identifications_add_to_no_score(made: Json) -> None:
    account, outcomes = fold_all([made])

    assert outcomes == [Outcome.SCORED]
    assert (account.state.events, account.state.contacts, account.state.stage) == (0, {}, None)
    assert account.state.instant == DAY_0


def test_the_stored_minutes_are_those_that_the_masses_say() -> None:
    account, _ = fold_all(
        [
            meeting(0, 30, contact_id="ann"),
            contact(3, "ann", seniority="vp"),
            meeting(9, 20, contact_id="ann"),
            meeting(5, 10),
        ]
    )

    assert account.state.minutes == pytest.approx(minutes(account, 9), rel=1e-12)


def test_folding_tells_what_became_of_an_event() -> None:
    account = fold_all([])[0]
    valid, at = decoded(meeting(0, 1))

    outcomes = [fold(account, valid, at, default_rules()) for _ in range(2)]

    assert outcomes == [Outcome.SCORED, Outcome.DUPLICATE]
