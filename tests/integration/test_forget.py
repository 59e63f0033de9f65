"""Erasing a person from a running Surgeline, and that nothing brings them back."""

import json
import subprocess
from collections.abc import Iterator
from typing import Any, NamedTuple

import pytest

from scoring.erasing import veil_of
from scoring.kpis.facts import text_hash
from stream.fact_logs import people_in
from tests.integration.conftest import KAFKA_ONLY
from tests.integration.worker_kit import Place, Servers, record_of
from tests.strategies import event
from tests.system.harness import Json, eventually

pytestmark = KAFKA_ONLY

WHO, MAIL = "ann-lee", "Ann.Lee@acme.example"
ACCOUNT, FORMER = "acme", "initech"
AS_OF = "2008-03-01T00:00:00Z"


def of(account_id: str | None, type_: str, day: float, **fields: Any) -> Json:
    found = event(type_, day, **fields)
    del found["account_id"]
    return found | ({} if account_id is None else {"account_id": account_id})


EVENTS = [
    of(ACCOUNT, "account", 1, action="upserted", target=True, domains=["acme.example"]),
    of(ACCOUNT, "contact", 1, action="upserted", contact_id=WHO, email=MAIL, seniority="vp"),
    of(ACCOUNT, "contact", 1, action="upserted", contact_id="bob", seniority="manager"),
    of(ACCOUNT, "email", 2, action="sent", direction="inbound", contact_id=WHO),
    of(ACCOUNT, "email", 2.1, action="sent", direction="outbound", contact_id=WHO),
    of(ACCOUNT, "meeting", 3, action="held", meeting_id="m", attendee_ids=[WHO, "bob"]),
    of(
        ACCOUNT, "page_visit", 4, contact_id=WHO, duration_seconds=300,
        url=f"https://x.example/pricing?mail={MAIL}",
    ),
    of(ACCOUNT, "opportunity", 5, action="opened", opportunity_id="o", kind="new", contact_id=WHO),
    of(FORMER, "chat", 1, action="message", direction="inbound", conversation_id="c", contact_id=WHO),
    of(
        ACCOUNT, "email", 5, action="sent", direction="outbound", email=MAIL,
        campaign_id="a-long-name-of-a-campaign",
    ),
    of(None, "identify", 6, anonymous_id="v-1", contact_id=WHO, email=MAIL),
    of(None, "page_visit", 7, anonymous_id="v-1", url="https://x.example/docs", duration_seconds=60),
    of(None, "page_visit", 7, email="nobody@x.example", anonymous_id="v-2", url="https://x.example/"),
]  # fmt: skip


class Forgotten(NamedTuple):
    place: Place
    before: dict[str, Json]
    named: list[str]
    done: "subprocess.CompletedProcess[str]"


def reports(place: Place) -> dict[str, Json]:
    return {each["account_id"]: each for each in place.accounts(AS_OF)}


def naming(place: Place) -> list[str]:
    """Return the keys in whose name or value the person's id or address stands."""
    found = []
    for key in place.redis.scan_iter(match="sl:*", count=1_000):
        text = (key + everything(place, key)).lower()
        if WHO.encode() in text or MAIL.lower().encode() in text:
            found.append(key.decode())
    return sorted(found)


def everything(place: Place, key: bytes) -> bytes:
    client: Any = place.redis
    match client.type(key):
        case b"string":
            return bytes(client.get(key) or b"")
        case b"hash":
            return b"".join(part for pair in client.hgetall(key).items() for part in pair)
        case b"list":
            return b"".join(client.lrange(key, 0, -1))
        case b"zset":
            return b"".join(client.zrange(key, 0, -1))
    raise AssertionError(key)


@pytest.fixture(scope="module")
def forgotten(servers: Servers, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Forgotten]:
    with Place(servers, tmp_path_factory.mktemp("forget")) as place:
        place.ready_worker()
        place.ready_resolver()
        for part in (EVENTS[:3], EVENTS[3:11], EVENTS[11:]):
            place.produce(map(record_of, part))
            place.wait_resolved()
        before, named = reports(place), naming(place)
        done = place.run("forget", MAIL, "--yes")
        yield Forgotten(place, before, named, done)


def test_facts_stay_and_stand_for_nobody_who_could_be_named(forgotten: Forgotten) -> None:
    place = forgotten.place
    keys = place.redis.scan_iter(match="sl:{*}:facts:*")
    people = set[int]().union(*(people_in(everything(place, key)) for key in keys))

    assert text_hash(veil_of(WHO)) in people
    assert text_hash(WHO) not in people


def families(keys: list[str]) -> set[str]:
    return {next(p for p in key.split(":")[1:] if p.isalpha() and p != "directory") for key in keys}


def test_person_stands_in_scores_history_and_directory_before(forgotten: Forgotten) -> None:
    assert families(forgotten.named) >= {
        "state", "contact", "email", "people", "visitor",
    }  # fmt: skip


def test_nothing_names_the_person_afterwards(forgotten: Forgotten) -> None:
    assert forgotten.done.returncode == 0, forgotten.done.stderr
    assert "in 2 accounts" in forgotten.done.stderr
    assert naming(forgotten.place) == []


def test_sums_of_the_accounts_stay_and_the_relationship_goes(forgotten: Forgotten) -> None:
    after = reports(forgotten.place)

    for name, was in forgotten.before.items():
        for score in ("engagement", "engagement_minutes", "intent_surge"):
            assert abs(after[name][score] - was[score]) <= 1e-9, (name, score)
        assert after[name]["events"] == was["events"]
    assert (forgotten.before[ACCOUNT]["contacts"], after[ACCOUNT]["contacts"]) == (2, 1)
    assert 0 < after[ACCOUNT]["relationship"] < forgotten.before[ACCOUNT]["relationship"]


def test_check_proves_it_and_names_the_keys_of_who_is_still_known(forgotten: Forgotten) -> None:
    gone, known = (forgotten.place.run("forget", who, "--check") for who in (WHO, "bob"))

    assert (gone.returncode, gone.stdout) == (0, "")
    assert known.returncode == 1
    assert any(":state:acme" in line for line in known.stdout.splitlines())


def test_erasure_stands_in_the_topic_of_contacts(forgotten: Forgotten) -> None:
    found = forgotten.place.read("contacts", lambda found: len(found) >= 4)

    told = [each.json for each in found if each.json.get("erase")]
    assert {each["account_id"] for each in told} == {ACCOUNT, FORMER}
    assert all(each["action"] == "removed" for each in told)
    assert "@" not in json.dumps(told)


def test_replay_from_the_beginning_brings_nobody_back(forgotten: Forgotten) -> None:
    place, before = forgotten.place, reports(forgotten.place)
    for each in place.workers:
        each.terminate()
    done = place.run("reset", "--replay", "--yes")
    assert done.returncode == 0, done.stderr
    place.ready_worker()
    place.ready_resolver()
    place.wait_resolved()
    assert eventually(lambda: place.outbox() == 0, within_seconds=10)

    assert naming(place) == []
    for name, report in reports(place).items():
        for score in ("engagement", "relationship", "intent_surge", "events", "contacts"):
            assert abs(report[score] - before[name][score]) <= 1e-9, (name, score)


def test_events_after_the_erasure_start_anew(forgotten: Forgotten) -> None:
    place = forgotten.place
    again = of(ACCOUNT, "email", 40, action="sent", direction="inbound", contact_id=WHO)
    place.produce([record_of(again)])
    place.wait_resolved()

    assert reports(place)[ACCOUNT]["contacts"] == 2
    assert place.run("forget", WHO, "--check").returncode == 1
