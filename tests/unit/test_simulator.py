"""The simulated market keeps the event contract, repeats itself exactly, and tells its stories."""

import hashlib
import ipaddress
import itertools
import json
import math
import os
import re
import subprocess
import sys
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from stream.simulated_market import MAX_ACCOUNTS, Story, build_market
from stream.simulator import live_events, simulate

Event = dict[str, Any]
Check = Callable[[Any], bool]

SEED = 7
END = datetime(2026, 3, 31, 17, tzinfo=UTC)
START = END - timedelta(weeks=13)
ENGAGEMENT = {"ad", "chat", "email", "intent", "meeting", "page_visit"}


def text(most: int = 512) -> Check:
    return lambda value: isinstance(value, str) and 1 <= len(value) <= most


def one_of(*words: str) -> Check:
    return lambda value: value in words


def number(least: float = 0.0, most: float = math.inf) -> Check:
    return lambda value: (
        isinstance(value, int | float)
        and not isinstance(value, bool)
        and math.isfinite(value)
        and least <= value <= most
    )


def is_rfc3339(value: object) -> bool:
    return bool(re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", str(value))) and bool(
        datetime.fromisoformat(str(value))
    )


def are_texts(value: object) -> bool:
    return isinstance(value, list) and all(text()(each) for each in value)


def are_attendees(value: list[str]) -> bool:
    return are_texts(value) and len(set(value)) == len(value) <= 200


COMMON: Mapping[str, Check] = {
    "id": text(),
    "source": text(),
    "type": text(),
    "time": is_rfc3339,
    "account_id": text(),
    "contact_id": text(),
    "anonymous_id": text(),
    "email": text(),
}
REQUIRED_OF_ALL = {"id", "source", "type", "time"}
OPPORTUNITY_ACTIONS = ("opened", "updated", "won", "lost", "churned")
EMAIL_ACTIONS = ("sent", "opened", "clicked", "replied", "bounced", "unsubscribed")
DIRECTION = one_of("inbound", "outbound")

# Per type: the fields that it needs, and those that it may have; "?" marks the latter.
CONTRACT: Mapping[str, Mapping[str, Check]] = {
    "ad": {
        "action": one_of("impression", "click"),
        "campaign_id": text(),
        "placement": one_of("web", "email_signature"),
        "cost?": number(),
    },
    "page_visit": {
        "url": text(2048),
        "duration_seconds?": number(),
        "referrer?": text(2048),
        "session_id?": text(),
        "user_agent?": text(),
        "ip?": text(),
        "network_host?": text(),
        "http_status?": one_of(200, 404),  # type: ignore[arg-type]
    },
    "chat": {
        "action": one_of("started", "message", "ended"),
        "conversation_id": text(),
        "direction": DIRECTION,
        "duration_seconds?": number(),
    },
    "email": {
        "action": one_of(*EMAIL_ACTIONS),
        "direction": DIRECTION,
        "rep_id?": text(),
        "campaign_id?": text(),
        "subject?": text(),
        "user_agent?": text(),
    },
    "meeting": {
        "action": one_of("booked", "held", "cancelled", "no_show"),
        "meeting_id": text(),
        "duration_minutes?": number(),
        "attendee_ids?": are_attendees,
        "rep_id?": text(),
    },
    "intent": {"topic": text(), "strength?": number(0, 1000)},
    "account": {
        "account_id": text(),
        "action": one_of("upserted"),
        "name?": text(),
        "domains?": are_texts,
        "target": lambda value: value is True,
        "tier?": lambda value: value in {1, 2, 3},
        "owner_id?": text(),
        "owner_email?": text(),
        "industry?": text(),
        "employees?": number(1),
        "parent_account_id?": text(),
        "icp_fit?": number(0, 1),
    },
    "contact": {
        "account_id": text(),
        "contact_id": text(),
        "action": one_of("upserted", "removed"),
        "name?": text(),
        "seniority?": one_of("c_level", "vp", "director", "manager", "other"),
        "role?": text(),
    },
    "opportunity": {
        "account_id": text(),
        "action": one_of(*OPPORTUNITY_ACTIONS),
        "opportunity_id": text(),
        "kind": one_of("new", "renewal", "expansion"),
        "amount?": number(),
        "currency?": text(),
        "term_years?": number(),
    },
    "spend": {"amount": number(), "currency": text(), "program": text(), "channel?": text()},
    "survey": {"kind": one_of("nps"), "score": number(0, 10)},
    "identify": {"anonymous_id": text()},
}


def breaches(event: Event) -> list[str]:
    """Return what is wrong with *event*, one entry per field."""
    own = {name.rstrip("?"): check for name, check in CONTRACT[event["type"]].items()}
    needed = REQUIRED_OF_ALL | {name for name in CONTRACT[event["type"]] if name[-1] != "?"}
    checks = {**COMMON, **own}
    wrong = [f"no {name}" for name in needed if name not in event]
    wrong += [f"unknown {name}" for name in event if name not in checks]
    wrong += [f"bad {name}" for name in event if name in checks and not checks[name](event[name])]
    if event["type"] == "identify" and not {"contact_id", "email"} & event.keys():
        wrong.append("nobody identified")
    return wrong


def digest(events: Iterator[Event]) -> str:
    lines = hashlib.sha256()
    for event in events:
        lines.update(json.dumps(event).encode())
    return lines.hexdigest()


def small(seed: int = SEED, *, end: datetime = END) -> Iterator[Event]:
    return simulate(seed, end=end, weeks=2, accounts=20)


def first_live(
    count: int, *, start: datetime = END, rate: float = 3.0
) -> list[tuple[float, Event]]:
    return list(itertools.islice(live_events(SEED, start=start, per_second=rate), count))


def hosts_in(line: str) -> set[str]:
    return set(re.findall(r"(?:https?://|@)([\w.-]+)", line))


@pytest.fixture(scope="module")
def quarter() -> list[Event]:
    return list(simulate(SEED, end=END))


@pytest.fixture(scope="module")
def stories() -> dict[str, Story]:
    return {account.account_id: account.story for account in build_market(SEED).accounts}


@pytest.fixture(scope="module")
def live() -> list[tuple[float, Event]]:
    return first_live(6000)


def test_a_quarter_holds_a_hundred_and_fifty_thousand_events(quarter: list[Event]) -> None:
    assert 150_000 <= len({(event["source"], event["id"]) for event in quarter}) <= 175_000


def test_every_event_keeps_the_contract(quarter: list[Event]) -> None:
    assert [(event, wrong) for event in quarter if (wrong := breaches(event))] == []


def test_every_event_survives_json_unchanged(quarter: list[Event]) -> None:
    assert all(json.loads(json.dumps(event)) == event for event in quarter[::50])


def test_events_are_ordered_by_time(quarter: list[Event]) -> None:
    times = [event["time"] for event in quarter]

    assert times == sorted(times)


def test_events_end_before_the_end_and_only_crm_records_are_older_than_the_quarter(
    quarter: list[Event],
) -> None:
    older = {e["type"] for e in quarter if datetime.fromisoformat(e["time"]) < START}

    assert datetime.fromisoformat(quarter[-1]["time"]) < END
    assert older == {"account", "contact", "opportunity"}


def test_all_types_and_actions_happen(quarter: list[Event]) -> None:
    seen = {(event["type"], event.get("action")) for event in quarter}

    assert {kind for kind, _ in seen} == set(CONTRACT)
    assert {("ad", "click"), ("contact", "removed")} <= seen
    assert {("chat", action) for action in ("started", "message", "ended")} <= seen
    assert {("email", action) for action in EMAIL_ACTIONS} <= seen
    assert {("meeting", action) for action in ("booked", "held", "cancelled", "no_show")} <= seen
    assert {("opportunity", action) for action in OPPORTUNITY_ACTIONS} <= seen


def test_both_ad_placements_and_both_directions_happen(quarter: list[Event]) -> None:
    placements = {event["placement"] for event in quarter if event["type"] == "ad"}
    directions = {(e["type"], e["direction"]) for e in quarter if "direction" in e}

    assert placements == {"web", "email_signature"}
    assert directions == set(itertools.product(("chat", "email"), ("inbound", "outbound")))


def test_every_account_begins_with_the_record_that_makes_it_a_target(quarter: list[Event]) -> None:
    first: dict[str, Event] = {}
    for event in quarter:
        if "account_id" in event:
            first.setdefault(event["account_id"], event)

    assert len(first) == 300
    assert {(e["type"], e["action"], e["target"]) for e in first.values()} == {
        ("account", "upserted", True)
    }


def test_only_spend_belongs_to_no_account(quarter: list[Event]) -> None:
    assert {event["type"] for event in quarter if "account_id" not in event} == {"spend"}


def test_tiers_are_of_40_and_110_and_150_accounts() -> None:
    market = build_market(SEED)

    assert Counter(a.tier for a in market.accounts) == {1: 40, 2: 110, 3: 150}
    assert len({domain for a in market.accounts for domain in a.domains}) >= 300


def test_tiers_scale_with_the_number_of_accounts() -> None:
    assert Counter(a.tier for a in build_market(SEED, accounts=30).accounts) == {1: 4, 2: 11, 3: 15}


def test_buying_committees_have_2_to_12_people_with_addresses_of_their_own() -> None:
    market = build_market(SEED)
    emails = [contact.email for account in market.accounts for contact in account.contacts]

    assert {len(account.contacts) for account in market.accounts} == set(range(2, 13))
    assert len(emails) == len(set(emails))


def test_ids_are_unique_per_source_but_for_a_few_exact_repeats(quarter: list[Event]) -> None:
    first: dict[tuple[str, str], Event] = {}
    repeats = 0
    for event in quarter:
        key = event["source"], event["id"]
        repeats += key in first
        assert first.setdefault(key, event) == event

    assert 0 < repeats < len(quarter) / 100


def test_every_host_is_under_a_reserved_name(quarter: list[Event]) -> None:
    hosts: set[str] = set()
    for event in quarter:
        hosts |= hosts_in(json.dumps(event))
        hosts |= {*event.get("domains", ()), event.get("network_host", "none.example")}

    assert {host for host in hosts if not host.endswith(".example")} == set()


def test_every_address_is_in_the_documentation_range(quarter: list[Event]) -> None:
    reserved = ipaddress.ip_network("2001:db8::/32")
    addresses = {event["ip"] for event in quarter if "ip" in event}

    assert addresses
    assert all(ipaddress.ip_address(address) in reserved for address in addresses)


def test_the_same_arguments_give_the_same_events() -> None:
    assert digest(small()) == digest(small())


def test_another_seed_gives_other_events() -> None:
    assert digest(small(SEED)) != digest(small(SEED + 1))


def test_another_end_gives_other_ids() -> None:
    ids = {event["id"] for event in small()}

    assert ids.isdisjoint(event["id"] for event in small(end=END + timedelta(hours=1)))


@pytest.mark.parametrize("hash_seed", ["1", "4242"])
def test_the_hash_seed_of_the_process_does_not_matter(hash_seed: str) -> None:
    program = (
        "import hashlib, json; from datetime import *; from stream.simulator import simulate\n"
        f"end = datetime.fromisoformat({END.isoformat()!r}); lines = hashlib.sha256()\n"
        f"for event in simulate({SEED}, end=end, weeks=2, accounts=20):\n"
        "    lines.update(json.dumps(event).encode())\n"
        "print(lines.hexdigest())"
    )
    environment = {
        **os.environ,
        "PYTHONHASHSEED": hash_seed,
        "PYTHONPATH": os.pathsep.join(filter(None, [str(Path.cwd()), *sys.path])),
    }

    run = subprocess.run(
        [sys.executable, "-c", program],
        env=environment, capture_output=True, text=True, check=True, timeout=60,
    )  # fmt: skip

    assert run.stdout.strip() == digest(small())


def test_the_end_may_have_any_offset() -> None:
    there = END.astimezone(datetime.fromisoformat("2026-01-01T00:00:00+05:30").tzinfo)

    assert digest(small(end=there)) == digest(small())


def test_one_account_over_one_week_keeps_the_contract() -> None:
    events = list(simulate(SEED, end=END, weeks=1, accounts=1))

    assert events[0]["type"] == "account"
    assert [wrong for event in events if (wrong := breaches(event))] == []


def test_company_names_stay_distinct_in_a_market_larger_than_the_words() -> None:
    names = {account.name for account in build_market(SEED, accounts=3000).accounts}

    assert len(names) == 3000


def test_an_end_without_offset_is_refused() -> None:
    with pytest.raises(ValueError, match="offset"):
        simulate(SEED, end=END.replace(tzinfo=None))


@pytest.mark.parametrize("weeks", [0, 521])
def test_a_span_outside_its_bounds_is_refused(weeks: int) -> None:
    with pytest.raises(ValueError, match="weeks"):
        simulate(SEED, end=END, weeks=weeks)


@pytest.mark.parametrize("accounts", [0, MAX_ACCOUNTS + 1])
def test_a_number_of_accounts_outside_its_bounds_is_refused(accounts: int) -> None:
    with pytest.raises(ValueError, match="accounts"):
        simulate(SEED, end=END, accounts=accounts)


def test_weekends_are_quiet(quarter: list[Event]) -> None:
    visits = Counter(
        datetime.fromisoformat(event["time"]).weekday() >= 5
        for event in quarter
        if event["type"] == "page_visit"
    )

    assert visits[True] < 0.1 * visits[False]


def test_some_visitors_are_known_and_some_are_not(quarter: list[Event]) -> None:
    known = Counter("contact_id" in e for e in quarter if e["type"] == "page_visit")

    assert known[True] > 2000
    assert known[False] > 2000


def test_a_browser_is_identified_as_the_contact_that_it_then_visits_as(
    quarter: list[Event],
) -> None:
    claimed = {e["anonymous_id"]: e["contact_id"] for e in quarter
               if e["type"] == "identify" and "contact_id" in e}  # fmt: skip
    visits = [e for e in quarter if e["type"] == "page_visit" and e["anonymous_id"] in claimed]

    assert {claimed[e["anonymous_id"]] == e["contact_id"] for e in visits if "contact_id" in e} == {
        True
    }


def test_contacts_are_known_to_the_crm_before_any_of_them_leaves(quarter: list[Event]) -> None:
    upserted: set[str] = set()
    for event in quarter:
        if event["type"] != "contact":
            continue
        if event["action"] == "upserted":
            upserted.add(event["contact_id"])
        assert event["contact_id"] in upserted


def test_a_meeting_is_booked_before_anything_else_becomes_of_it(quarter: list[Event]) -> None:
    booked: set[str] = set()
    for event in quarter:
        if event["type"] != "meeting":
            continue
        if event["action"] == "booked":
            booked.add(event["meeting_id"])
        assert event["meeting_id"] in booked


def test_an_opportunity_opens_first_and_is_won_once(quarter: list[Event]) -> None:
    steps: dict[str, list[str]] = defaultdict(list)
    ids = set()
    for event in quarter:
        if event["type"] == "opportunity" and event["id"] not in ids:
            ids.add(event["id"])
            steps[event["opportunity_id"]].append(event["action"])

    assert {actions[0] for actions in steps.values()} == {"opened"}
    assert max(actions.count("won") for actions in steps.values()) == 1


def test_the_deals_put_accounts_into_every_stage(quarter: list[Event]) -> None:
    now: dict[str, dict[str, tuple[str, str]]] = defaultdict(dict)
    for event in quarter:
        if event["type"] == "opportunity" and event["action"] != "updated":
            deal = event["action"], event["kind"]
            now[event["account_id"]][event["opportunity_id"]] = deal
    standing = [set(deals.values()) for deals in now.values()]
    buying = [s for s in standing if not any(action == "churned" for action, _ in s)]
    expanded = sum(("won", "expansion") in s for s in buying)
    renewed = sum(("won", "renewal") in s for s in buying)
    bought = sum(("won", "new") in s for s in buying) - expanded - renewed
    opened = sum(s == {("opened", "new")} for s in buying)

    assert (expanded, renewed, bought, opened) == (6, 9, 18, 24)


def test_surging_accounts_read_many_times_more_than_usual_at_the_end(
    quarter: list[Event], stories: dict[str, Story]
) -> None:
    surge = timedelta(days=10)
    recent, before = Counter[str](), Counter[str]()
    for event in quarter:
        if event["type"] == "page_visit":
            is_recent = datetime.fromisoformat(event["time"]) >= END - surge
            (recent if is_recent else before)[event["account_id"]] += 1
    surging = {account for account, story in stories.items() if story is Story.SURGING}

    assert 10 <= len(surging) <= 20
    assert all(recent[each] > 3 * before[each] * (surge / (END - START)) + 3 for each in surging)


def test_cooling_accounts_have_all_but_stopped_reading(
    quarter: list[Event], stories: dict[str, Story]
) -> None:
    months = Counter(
        datetime.fromisoformat(event["time"]).month
        for event in quarter
        if event["type"] == "page_visit" and stories[event["account_id"]] is Story.COOLING
    )

    assert months[3] < 0.1 * months[1]


def test_live_events_keep_the_contract(live: list[tuple[float, Event]]) -> None:
    assert [wrong for _, event in live if (wrong := breaches(event))] == []


def test_live_events_are_about_the_same_accounts_and_people(
    quarter: list[Event], live: list[tuple[float, Event]]
) -> None:
    assert {e["account_id"] for _, e in live} <= {e.get("account_id") for e in quarter}
    assert {e.get("contact_id") for _, e in live} <= {e.get("contact_id") for e in quarter}


def test_live_events_have_ids_of_their_own(
    quarter: list[Event], live: list[tuple[float, Event]]
) -> None:
    ids = {(e["source"], e["id"]) for _, e in live}

    assert len(ids) == len(live)
    assert ids.isdisjoint((e["source"], e["id"]) for e in quarter)


def test_live_events_restarted_later_have_other_ids() -> None:
    later = first_live(200, start=END + timedelta(minutes=5))

    assert {e["id"] for _, e in first_live(200)}.isdisjoint(e["id"] for _, e in later)


def test_live_event_times_advance_by_the_waits(live: list[tuple[float, Event]]) -> None:
    elapsed = 0.0
    for wait, event in live:
        elapsed += wait
        since_start = (datetime.fromisoformat(event["time"]) - END).total_seconds()
        assert elapsed - 0.0011 < since_start <= elapsed


def test_live_events_come_at_the_rate_that_was_asked_for() -> None:
    waits = [wait for wait, _ in first_live(4000, rate=8.0)]

    assert math.isclose(sum(waits) / len(waits), 1 / 8, rel_tol=0.1)


def test_live_events_repeat_themselves_exactly() -> None:
    assert first_live(300) == first_live(300)


def test_live_events_show_prices_read_meetings_booked_and_chats(
    live: list[tuple[float, Event]],
) -> None:
    events = [event for _, event in live]
    seen = {(event["type"], event.get("action")) for event in events}

    assert {("meeting", "booked"), ("chat", "started"), ("chat", "ended")} <= seen
    assert {("email", "replied"), ("intent", None), ("ad", "click")} <= seen
    assert any(event.get("url", "").endswith("/pricing") for event in events)


def test_a_surge_begins_within_the_first_minutes_of_live_events(
    live: list[tuple[float, Event]], stories: dict[str, Story]
) -> None:
    calm = {Story.QUIET, Story.COOLING, Story.LOST}
    visits = Counter(
        event["account_id"] for _, event in live[:1800] if event["type"] == "page_visit"
    )

    assert any(count >= 6 and stories[account] in calm for account, count in visits.items())


def test_live_events_without_a_rate_are_refused() -> None:
    with pytest.raises(ValueError, match="rate"):
        live_events(SEED, start=END, per_second=0.0)
