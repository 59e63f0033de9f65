"""Relationship: exchanges, reciprocity and strength, with numbers worked out by hand."""

import pytest

from scoring.model import default_model
from scoring.relationship import Exchange, exchange_of, relationship_score, strength
from scoring.rules import Rules
from scoring.scores import scores_at
from tests.builders import decoded, default_rules, fold_all
from tests.strategies import DAY_0, Json, event

MODEL = default_model().relationship


def mail(day: float, direction: str, contact: str | None = "ann", **fields: object) -> Json:
    who = {} if contact is None else {"contact_id": contact}
    return event("email", day, action="sent", direction=direction, **who, **fields)


def mails(count: int, direction: str, contact: str = "ann", day: float = 0) -> list[Json]:
    return [mail(day, direction, contact, id=f"{direction}{contact}{n}") for n in range(count)]


def score(events: list[Json], day: float = 0, rules: Rules | None = None) -> float:
    account, _ = fold_all(events, rules=rules)
    return scores_at(account.state, DAY_0 + day * 86_400, default_rules()).relationship


def exchanged(type_: str, **fields: object) -> Exchange | None:
    return exchange_of(decoded(event(type_, 0, **fields))[0], MODEL)


@pytest.mark.parametrize(("direction", "both"), [("inbound", (1.0, 0.0)), ("outbound", (0.0, 1.0))])
@pytest.mark.parametrize("action", ["sent", "replied"])
def test_an_email_counts_for_the_side_that_wrote(
    action: str, direction: str, both: tuple[float, float]
) -> None:
    found = exchanged("email", action=action, direction=direction, contact_id="ann")

    assert found == (("ann",), *both)


@pytest.mark.parametrize("action", ["opened", "clicked", "bounced", "unsubscribed"])
def test_what_becomes_of_an_email_is_no_exchange(action: str) -> None:
    assert exchanged("email", action=action, direction="outbound", contact_id="ann") is None


def test_a_chat_message_counts_half_an_email() -> None:
    chat = {"conversation_id": "v", "contact_id": "ann"}

    assert exchanged("chat", action="message", direction="inbound", **chat) == (("ann",), 0.5, 0.0)
    assert exchanged("chat", action="message", direction="outbound", **chat) == (("ann",), 0, 0.5)
    assert exchanged("chat", action="started", direction="inbound", **chat) is None
    assert exchanged("chat", action="ended", direction="inbound", **chat) is None


def test_a_held_meeting_counts_on_both_sides_for_every_attendee() -> None:
    held: Json = {"action": "held", "meeting_id": "m"}

    both = exchanged("meeting", **held, attendee_ids=["ann", "bob"], contact_id="cy")
    assert both == (("ann", "bob"), 4.0, 4.0)
    assert exchanged("meeting", **held, contact_id="cy") == (("cy",), 4.0, 4.0)
    assert exchanged("meeting", **held, attendee_ids=[], contact_id="cy") == (("cy",), 4.0, 4.0)
    assert exchanged("meeting", **held) is None


@pytest.mark.parametrize("action", ["booked", "cancelled", "no_show"])
def test_a_meeting_that_was_not_held_is_no_exchange(action: str) -> None:
    assert exchanged("meeting", action=action, meeting_id="m", contact_id="ann") is None


def test_other_events_are_no_exchange() -> None:
    assert exchanged("page_visit", url="https://x/", contact_id="ann") is None
    assert exchanged("intent", topic="crm", contact_id="ann") is None


@pytest.mark.parametrize(
    ("inbound", "outbound", "seniority", "expected"),
    [
        (0.0, 0.0, 2.0, 0.0),
        # Closeness 1 - 2^-(I + O/4)/6, times 1/2 + reciprocity/2, times min(1, seniority/1.25).
        (1.0, 0.0, 1.25, (1 - 2 ** (-1 / 6)) * 0.5),
        (6.0, 0.0, 1.25, 0.5 * 0.5),  # they write, we do not answer
        (0.0, 24.0, 1.25, 0.5 * 0.5),  # we write, they do not answer
        (4.8, 4.8, 1.25, 0.5 * 1.0),  # (4.8 + 1.2)/6 = 1: as much as either
        (9.6, 9.6, 1.25, 0.75),
        (5.0, 4.0, 1.25, 0.5 * (0.5 + 0.5 * 8 / 9)),
        (4.8, 4.8, 2.0, 0.5),  # more than a director counts as one
        (4.8, 4.8, 1.0, 0.5 * 0.8),
        (4.8, 4.8, 0.75, 0.5 * 0.6),
    ],
)
def test_the_strength_of_one_relationship(
    inbound: float, outbound: float, seniority: float, expected: float
) -> None:
    found = strength(inbound, outbound, seniority=seniority, model=MODEL)

    assert found == pytest.approx(expected)


@pytest.mark.parametrize(
    ("strengths", "expected"),
    # 100 (1 - product of 1 - 0.6 s)
    [([], 0.0), ([1.0], 60.0), ([0.5], 30.0), ([1.0, 1.0], 84.0), ([0.5, 0.5], 51.0)],
)
def test_one_contact_alone_reaches_sixty(strengths: list[float], expected: float) -> None:
    assert relationship_score(strengths, MODEL) == pytest.approx(expected)


def test_an_exchange_with_a_director_scores_the_account() -> None:
    director = event("contact", 0, action="upserted", contact_id="ann", seniority="director")

    # I = 6, O = 0: strength 1/4; 60 x 1/4.
    assert score([director, *mails(6, "inbound")]) == pytest.approx(15.0)
    # The order of the topics makes no difference.
    assert score([*mails(6, "inbound"), director]) == pytest.approx(15.0)


def test_exchanges_halve_in_sixty_days() -> None:
    director = event("contact", 0, action="upserted", contact_id="ann", seniority="director")

    # I = 12 when written, 6 sixty days later.
    assert score([director, *mails(12, "inbound")], 60) == pytest.approx(15.0)


@pytest.mark.parametrize(("direction", "count"), [("inbound", 6), ("outbound", 24)])
def test_exchanges_of_different_days_add_up_by_their_age(direction: str, count: int) -> None:
    director = event("contact", 0, action="upserted", contact_id="ann", seniority="director")
    before = mails(count, direction)
    after = [mail(60, direction, id=f"late{n}") for n in range(count // 2)]

    # Half of the first, and as many again: I = 6, or O = 24; a strength of 1/4 either way.
    assert score([director, *before, *after], 60) == pytest.approx(15.0)


def test_events_without_a_contact_count_for_nobody() -> None:
    assert score([mail(0, "inbound", None)]) == 0.0


def test_a_removed_contact_leaves_the_score_until_it_is_upserted_again() -> None:
    people = [*mails(6, "inbound", "ann"), *mails(6, "inbound", "bob")]
    gone = event("contact", 1, action="removed", contact_id="ann")
    back = event("contact", 2, action="upserted", contact_id="ann")

    # Without a title seniority is 1: strength 1/2 x 1/2 x 0.8 = 0.2, 1 - 0.6 x 0.2 = 0.88.
    assert score(people) == pytest.approx(100 * (1 - 0.88**2))
    assert score([*people, gone]) == pytest.approx(12.0)
    assert score([*people, gone, back]) == pytest.approx(100 * (1 - 0.88**2))


def test_an_older_removal_does_not_remove() -> None:
    back = event("contact", 2, action="upserted", contact_id="ann")
    gone = event("contact", 1, action="removed", contact_id="ann")

    assert score([*mails(6, "inbound"), back, gone]) == pytest.approx(12.0)


def test_of_a_removal_and_a_record_of_the_same_instant_the_later_one_counts() -> None:
    gone = event("contact", 1, action="removed", contact_id="ann")
    back = event("contact", 1, action="upserted", contact_id="ann")

    assert score([*mails(6, "inbound"), gone, back]) == pytest.approx(12.0)
    assert score([*mails(6, "inbound"), back, gone]) == 0.0


def test_contacts_are_those_that_exchanged_anything_and_were_not_removed() -> None:
    events = [
        *mails(1, "inbound", "ann"),
        *mails(1, "outbound", "bob"),
        *mails(1, "inbound", "cy"),
        event("contact", 0, action="removed", contact_id="cy"),
        event("contact", 0, action="upserted", contact_id="dee"),
        event("page_visit", 0, url="https://x/", contact_id="eve"),
    ]
    account, _ = fold_all(events)

    assert scores_at(account.state, DAY_0, default_rules()).contacts == 2
