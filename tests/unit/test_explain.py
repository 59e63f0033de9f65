"""Explanations: the parts of each score, and the sentences in their order."""

import json
from typing import Any

import pytest

from scoring.explain import explain, one_line, reasons
from scoring.model import parse_model
from scoring.report import account_report
from scoring.rules import Rules
from tests.builders import default_rules, fold_all
from tests.strategies import DAY_0, Json, event

DAY = 86_400.0
PRICING = "https://x.example/pricing?utm=1"


def meeting(day: float, duration: float, **fields: object) -> Json:
    held = {"action": "held", "meeting_id": "m", "duration_minutes": duration}
    return event("meeting", day, **held, **fields)


def contact(contact_id: str, seniority: str) -> Json:
    return event("contact", 0, action="upserted", contact_id=contact_id, seniority=seniority)


def visit(day: float, url: str = PRICING, **fields: object) -> Json:
    return event("page_visit", day, url=url, duration_seconds=90, **fields)


def mails(count: int, direction: str, contact_id: str) -> list[Json]:
    mail = {"action": "sent", "direction": direction, "contact_id": contact_id}
    return [event("email", 0, **mail, id=f"{direction}{contact_id}{n}") for n in range(count)]


def explained(events: list[Json], day: float = 0, rules: Rules | None = None) -> dict[str, Any]:
    rules = default_rules() if rules is None else rules
    account, _ = fold_all(events, rules=rules)
    return explain(account.state, DAY_0 + day * DAY, rules)


def because(events: list[Json], day: float = 0) -> list[str]:
    sentences: list[str] = explained(events, day)["because"]
    return sentences


def test_the_minutes_of_channels_and_contacts_add_up_to_the_score() -> None:
    events = [
        contact("ann", "c_level"),
        meeting(0, 20, contact_id="ann"),
        visit(0, contact_id="ann"),  # (0.5 + 1.5) x 3
        meeting(0, 10, id="x"),
        *mails(1, "inbound", "bob"),
    ]

    engagement = explained(events, 14)["engagement"]

    # One half-life later; the whole is 20 x 2 + 6 x 2 + 10 + 3 = 65 minutes, halved.
    assert engagement["minutes"] == pytest.approx(32.5)
    assert engagement["score"] == pytest.approx(100 * (1 - 2 ** (-32.5 / 30)))
    assert [(row["channel"], row["minutes"]) for row in engagement["channels"]] == [
        ("meeting", pytest.approx(25.0)),
        ("page_visit", pytest.approx(6.0)),
        ("email", pytest.approx(1.5)),
    ]
    assert [(r["contact_id"], r["weight"], r["minutes"]) for r in engagement["contacts"]] == [
        ("ann", 2.0, pytest.approx(26.0)),
        (None, 1.0, pytest.approx(5.0)),
        ("bob", 1.0, pytest.approx(1.5)),
    ]
    assert engagement["contacts"][1]["label"] == "unknown visitors"
    assert engagement["channels"][0]["points"] == pytest.approx(engagement["score"] * 25 / 32.5)
    assert (engagement["half_life_days"], engagement["saturation_minutes"]) == (14.0, 30.0)


def test_forgotten_contacts_are_one_part() -> None:
    rules = Rules.of(parse_model("[relationship]\nmax_contacts = 1\n"))
    events = [contact("ann", "vp"), visit(0, contact_id="ann"), meeting(0, 9, contact_id="bob")]

    rows = explained(events, rules=rules)["engagement"]["contacts"]

    assert [(row["label"], row["contact_id"], row["minutes"]) for row in rows] == [
        (None, "bob", 9.0),
        ("forgotten contacts", None, 9.0),  # 6 x 1.5
    ]
    assert rows[1]["weight"] is None


def test_touches_count_as_they_do_in_the_score() -> None:
    events = [contact("ann", "vp"), visit(0, contact_id="ann"), meeting(7, 4)]

    touches = explained(events, 14)["engagement"]["touches"]

    assert touches[0] == {
        "time": "2008-01-01T00:00:00Z",
        "age_seconds": 14 * DAY,
        "channel": "page_visit",
        "contact_id": "ann",
        "seniority": "vp",
        "label": PRICING,
        "minutes": pytest.approx(4.5),  # 6 x 1.5 / 2
        "points": pytest.approx(100 * (1 - 2 ** (-(4.5 + 8**0.5) / 30)) * 4.5 / (4.5 + 8**0.5)),
    }
    assert touches[1]["minutes"] == pytest.approx(8**0.5)  # 4 / sqrt 2


def test_a_surge_is_explained_by_its_counts() -> None:
    events = [visit(0), *(visit(20, id=f"v{n}") for n in range(5))]

    surge = explained(events, 20)["surge"]

    # Both topics count 5 against 1 visit; day 14 begins the week, two weeks after day 0.
    assert [row["topic"] for row in surge["topics"]] == ["*", "pricing"]
    row = surge["topics"][1]
    assert (row["count"], row["baseline"], row["weeks"], row["surging"]) == (5, 1, 2, True)
    assert row["expected"] == pytest.approx(2 / 3)
    assert surge["score"] == row["score"]
    assert row["sentence"] == (
        "Surging on pricing: 5 visits and signals this week against 0.7 usual."
    )


def test_topics_that_do_not_surge_say_so() -> None:
    events = [visit(0), event("intent", 22, topic="crm")]

    rows = explained(events, 22)["surge"]["topics"]

    # The week begins on day 16, two weeks after day 0: (1 + b)/(1 + 2).
    assert {row["topic"]: row["sentence"] for row in rows} == {
        "crm": "Nothing unusual on crm: 1 visit or signal this week against 0.3 usual.",
        "*": "Nothing unusual overall: 1 visit or signal this week against 0.7 usual.",
        "pricing": "Silent on pricing: 0 visits and signals this week against 0.7 usual.",
    }


def test_a_window_that_is_no_week_is_called_by_its_days() -> None:
    rules = Rules.of(parse_model("[surge]\nwindow_days = 14\n"))

    rows = explained([visit(0)], rules=rules)["surge"]["topics"]

    assert "1 visit or signal in 14 days against 1.0 usual." in rows[0]["sentence"]


def test_the_points_of_contacts_add_up_to_the_relationship() -> None:
    events = [
        contact("ann", "director"),
        contact("bob", "director"),
        *mails(6, "inbound", "ann"),
        *mails(24, "outbound", "bob"),
        meeting(0, 1, attendee_ids=["cy"]),
    ]

    relationship = explained(events)["relationship"]

    # Ann and Bob: 1/2 x 1/2. Cy: I = O = 4, (1 - 2^-5/6) x 0.8 = 0.351.
    cy = (1 - 2 ** (-5 / 6)) * 0.8
    rows = relationship["contacts"]
    assert [row["contact_id"] for row in rows] == ["cy", "ann", "bob"]
    assert [row["strength"] for row in rows] == pytest.approx([cy, 0.25, 0.25])
    # 1 - 0.6 s is 0.85 for each of the last two.
    apart = 1 - 0.6 * cy
    assert [row["points"] for row in rows] == pytest.approx(
        [60 * cy, 100 * apart * 0.15, 100 * apart * 0.85 * 0.15]
    )
    assert relationship["score"] == pytest.approx(100 * (1 - apart * 0.85**2))
    assert [row["reciprocity"] for row in rows] == [1.0, 0.0, 0.0]
    assert (rows[2]["inbound"], rows[2]["outbound"]) == (0.0, 24.0)


def test_the_stage_is_explained_by_minutes_bounds_and_opportunities() -> None:
    events = [
        event("account", 0, action="upserted", target=True),
        meeting(0, 30),
        event("opportunity", 1, action="won", opportunity_id="a", kind="new"),
        event("opportunity", 0, action="updated", opportunity_id="b", kind="renewal"),
        event("opportunity", 2, action="churned", opportunity_id="a", kind="new"),
    ]

    assert explained(events, 14)["stage"] == {
        "stage": "opportunity",
        "target": True,
        "engaged": True,
        "minutes": pytest.approx(15.0),
        "bounds": {"enter_minutes": 5.0, "leave_below_minutes": 2.5},
        "churned_at": "2008-01-03T00:00:00Z",
        "opportunities": [
            {
                "opportunity_id": "a",
                "state": "churned",
                "kind": "new",
                "since": "2008-01-03T00:00:00Z",
            },
            {"opportunity_id": "b", "state": "open", "kind": "renewal", "since": None},
        ],
    }


def test_what_fell_due_has_happened_in_an_explanation() -> None:
    events = [
        event("account", 0, action="upserted", target=True),
        meeting(0, 30),
        event("intent", 0, topic="crm", strength=4),
    ]

    early, late = (explained(events, day) for day in (1, 60))

    assert (early["stage"]["stage"], early["stage"]["engaged"]) == ("engaged", True)
    assert (late["stage"]["stage"], late["stage"]["engaged"]) == ("target", False)
    assert [row["surging"] for row in early["surge"]["topics"]] == [True, True]
    assert [row["surging"] for row in late["surge"]["topics"]] == [False, False]


def test_the_scores_are_those_of_the_report() -> None:
    account, _ = fold_all([visit(0), *mails(3, "inbound", "ann"), meeting(1, 30)])
    now = DAY_0 + 5 * DAY

    found = explain(account.state, now, default_rules())

    report = account_report(account.state, now, default_rules())
    assert found["as_of"] == report["as_of"]
    assert found["engagement"]["score"] == report["engagement"]
    assert found["surge"]["score"] == report["intent_surge"]
    assert found["relationship"]["score"] == pytest.approx(report["relationship"], rel=1e-12)


def test_an_explanation_is_json() -> None:
    found = explained([visit(0, contact_id="ann"), *mails(2, "inbound", "bob")])

    assert json.loads(json.dumps(found, allow_nan=False)) == found


def test_a_surge_is_the_strongest_reason() -> None:
    events = [contact("bob", "vp"), visit(18, contact_id="bob")]
    signals = [event("intent", 20, topic="crm", id=f"s{n}") for n in range(9)]

    sentences = because([*events, *signals], 20)

    assert sentences[:2] == [
        "Surging on crm: 9 visits and signals this week against 1.0 usual.",
        "bob (VP) read /pricing 2 days ago: 8.2 engagement minutes now.",
    ]


@pytest.mark.parametrize(
    ("made", "sentence"),
    [
        (visit(0), "Somebody read /pricing just now: 6.0 engagement minutes now."),
        (visit(0, "https://x.example"), "Somebody read / just now: 2.0 engagement minutes now."),
        (
            visit(0, "https://x.example/" + "a" * 99),
            f"Somebody read /{'a' * 46}… just now: 2.0 engagement minutes now.",
        ),
        (
            visit(0, "https://[broken/", contact_id="ann"),
            "ann read https://[broken/ just now: 2.0 engagement minutes now.",
        ),
        (meeting(0, 30), "Meeting with somebody just now: 30.0 engagement minutes now."),
        (
            event("meeting", 0, action="booked", meeting_id="m", contact_id="ann"),
            "ann booked a meeting just now: 5.0 engagement minutes now.",
        ),
        (
            event("email", 0, action="replied", direction="inbound", contact_id="ann"),
            "Email with ann just now: 3.0 engagement minutes now.",
        ),
        (
            event("ad", 0, action="click", campaign_id="c", placement="web"),
            "Somebody clicked an ad just now: 1.0 engagement minutes now.",
        ),
        (
            event("chat", 0, action="started", conversation_id="v", direction="inbound"),
            "Somebody started a chat just now: 2.0 engagement minutes now.",
        ),
        (
            event("intent", 0, topic="crm", strength=2),
            "Somebody read about crm elsewhere just now: 0.4 engagement minutes now.",
        ),
        (
            event("intent", 0, topic="*"),
            "Somebody read elsewhere just now: 0.2 engagement minutes now.",
        ),
    ],
)
def test_a_touch_is_told_by_who_did_what_and_when(made: Json, sentence: str) -> None:
    assert sentence in because([made])


@pytest.mark.parametrize(
    ("days", "text"),
    [
        (30 / DAY, "just now"),
        (60 / DAY, "1 minute ago"),
        (0.5, "12 hours ago"),
        (1.0, "1 day ago"),
        (9.9, "9 days ago"),
    ],
)
def test_the_age_of_a_touch_is_told_in_one_unit(days: float, text: str) -> None:
    assert f"Meeting with somebody {text}: " in because([meeting(0, 30)], days)[0]


def test_one_contact_that_carries_the_relationship_is_a_risk_worth_a_sentence() -> None:
    events = [contact("ann", "c_level"), *mails(6, "inbound", "ann"), *mails(6, "outbound", "ann")]

    # (6 + 6/4)/6 half saturations, full reciprocity: 60 (1 - 2^-1.25) = 34.8.
    assert "Single-threaded: ann (C-level) carries the relationship (35 of 100)." in because(events)


def test_several_contacts_are_told_by_the_best() -> None:
    events = [*mails(6, "inbound", "ann"), *mails(6, "inbound", "bob"), *mails(9, "inbound", "cy")]

    assert "3 contacts know us, cy best: relationship 35 of 100." in because(events)


@pytest.mark.parametrize(("people", "whom"), [(("ann",), "ann"), (("ann", "bob"), "2 contacts")])
def test_people_who_never_answered_are_told_as_such(people: tuple[str, ...], whom: str) -> None:
    events = [mail for who in people for mail in mails(24, "outbound", who)]

    sentence = next(text for text in because(events) if text.startswith("One-sided"))

    assert sentence.startswith(f"One-sided: we reached out to {whom}, nobody answered (")


def test_an_open_opportunity_is_told_last() -> None:
    opened = event("opportunity", 0, action="opened", opportunity_id="o7", kind="renewal")

    assert because([meeting(0, 30), opened])[1:] == [
        "Opportunity o7 (renewal) is open since 2008-01-01."
    ]


@pytest.mark.parametrize(
    ("kind", "sentence"),
    [
        ("new", "Customer."),
        ("renewal", "Customer that renewed."),
        ("expansion", "Customer that expanded."),
    ],
)
def test_a_customer_is_told_as_such(kind: str, sentence: str) -> None:
    target = event("account", 0, action="upserted", target=True)
    won = event("opportunity", 0, action="won", opportunity_id="o", kind=kind)

    assert because([target, won]) == [sentence]


def test_many_small_touches_are_told_together() -> None:
    seen = {"action": "impression", "campaign_id": "c", "placement": "web"}
    events = [event("ad", 0, **seen, id=f"a{n}") for n in range(20)]

    assert because(events) == ["Only small touches: 0.2 engagement minutes now."]


def test_more_than_usual_is_told_though_it_is_no_surge() -> None:
    # Three signals of an account without history score 90.6.
    assert "More than usual on crm: 3 visits and signals this week against 1.0 usual." in because(
        [event("intent", 0, topic="crm", strength=3)]
    )


def test_what_is_merely_unusual_ranks_by_half_of_its_score() -> None:
    signals = event("intent", 0, topic="crm", strength=3)

    # 90.6 / 2 is less than what an hour's meeting holds of the score, 74, and more than a
    # quarter of an hour's, 29.
    assert because([signals, meeting(0, 60)])[0].startswith("Meeting")
    assert because([signals, meeting(0, 15)])[0].startswith("More than usual")


def test_a_surge_of_everything_is_told_where_no_topic_surges() -> None:
    events = [event("intent", 0, topic=topic, strength=2) for topic in ("a", "b", "c")]

    assert because(events)[0] == (
        "Surging overall: 6 visits and signals this week against 1.0 usual."
    )


def test_an_account_that_nothing_happened_to_is_quiet() -> None:
    quiet = ["Quiet: nothing that this account did still counts."]

    assert because([]) == quiet
    assert because([meeting(0, 30)], 3_000) == quiet


def test_an_account_without_events_is_explained_by_zeros() -> None:
    found = explained([])

    scores = (found["engagement"]["score"], found["surge"]["score"], found["relationship"]["score"])
    assert scores == (0.0, 0.0, 0.0)
    assert found["stage"]["opportunities"] == found["engagement"]["contacts"] == []


def test_reciprocity_outlasts_what_decays() -> None:
    chat = {"action": "message", "conversation_id": "v", "contact_id": "ann"}
    events = [event("chat", 0, **chat, direction=way) for way in ("inbound", "outbound")]

    row = explained(events, 600)["relationship"]["contacts"][0]

    # Ten half-lives later there is a thousandth left on either side.
    assert row["inbound"] == row["outbound"] == pytest.approx(0.5 / 1024)
    assert row["reciprocity"] == pytest.approx(1.0)


def test_there_are_at_most_four_reasons_and_two_of_a_kind() -> None:
    topics = [event("intent", 0, topic=topic, strength=9) for topic in ("a", "b", "c")]
    meetings = [meeting(0, 30, contact_id=who) for who in ("ann", "bob", "cy")]
    opened = event("opportunity", 0, action="opened", opportunity_id="o", kind="new")

    sentences = because([*topics, *meetings, opened])

    assert len(sentences) == 4
    assert sum(text.startswith("Surging") for text in sentences) == 2
    assert sum(text.startswith("Meeting") for text in sentences) <= 2


def test_one_line_is_the_strongest_reason() -> None:
    account, _ = fold_all([visit(0), meeting(0, 30, contact_id="ann")])
    found = explain(account.state, DAY_0, default_rules())

    line = one_line(account.state, DAY_0, default_rules())

    assert line == found["because"][0] == "Meeting with ann just now: 30.0 engagement minutes now."


def test_reasons_read_an_explanation_that_went_over_a_wire() -> None:
    found = explained([visit(0), *mails(6, "inbound", "ann")])

    assert reasons(json.loads(json.dumps(found))) == found["because"]
