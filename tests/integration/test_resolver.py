"""Events without an account through a worker and a resolver: found at once, or backwards."""

import datetime as dt
from collections import Counter
from collections.abc import Iterator
from typing import Any, NamedTuple

import pytest

from scoring.events import TYPE_TOPICS
from tests.directory import account, contact, identify
from tests.integration.worker_kit import Found, Place, Servers, Worker, record_of
from tests.system.harness import Json, differences, rows, write_lines

START = dt.datetime(2024, 6, 3, 9, tzinfo=dt.UTC)
AS_OF = "2024-06-20T00:00:00Z"
FORM = (START + dt.timedelta(days=14)).isoformat()
CRM = "2024-06-01T00:00:00Z"


def browsing(anonymous_id: str, days: int = 14, **fields: Any) -> list[Json]:
    """Return two visits a day, the pricing page among them."""
    return [
        {
            "id": f"{anonymous_id}-{day}-{number}",
            "source": "web",
            "type": "page_visit",
            "time": (START + dt.timedelta(days=day, minutes=7 * number)).isoformat(),
            "url": "https://x.example/pricing" if day % 5 == 0 else "https://x.example/docs",
            "duration_seconds": 60 + day,
            "anonymous_id": anonymous_id,
        }
        | fields
        for day in range(days)
        for number in range(2)
    ]


def known_from_the_start(events: list[Json], account_id: str, contact_id: str | None) -> list[Json]:
    who = {"account_id": account_id}
    if contact_id is not None:
        who["contact_id"] = contact_id
    return [each | who for each in events]


class Running(NamedTuple):
    place: Place
    worker: Worker
    resolver: Worker


@pytest.fixture(scope="module")
def running(servers: Servers, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with Place(servers, tmp_path_factory.mktemp("resolver")) as place:
        worker = place.ready_worker()
        yield Running(place, worker, place.ready_resolver())


def scored_alone(place: Place, events: list[Json], *, as_of: str = AS_OF) -> list[Json]:
    path = write_lines(place.directory / "alone.jsonl", events)
    done = place.run("score", str(path), "--as-of", as_of, "--json")
    assert done.returncode == 0, done.stderr
    return rows(done.stdout)


def send(place: Place, events: list[Json]) -> None:
    place.produce([record_of(each) for each in events])
    place.wait_resolved()


@pytest.fixture(scope="module")
def identified(running: Running) -> dict[str, Json]:
    """Give the accounts of visitors who browsed for two weeks and only then said who they are."""
    place = running.place
    crm = [
        account("acme", "acme.com", at=CRM),
        contact("ann", "acme", at=CRM, email="ann@acme.com", seniority="vp"),
        account("globex", "globex.com", at=CRM),
    ]
    send(place, [*crm, *browsing("v-ann"), *browsing("v-form"), *browsing("v-click")])
    form = browsing("v-form", 15)[-1] | {"id": "form", "email": "somebody@globex.com"}
    click = {
        "id": "click", "source": "mail", "type": "email", "action": "clicked",
        "direction": "outbound", "time": FORM, "account_id": "acme", "contact_id": "ann",
        "anonymous_id": "v-click",
    }  # fmt: skip
    send(place, [identify("v-ann", at=FORM, contact_id="ann"), form | {"time": FORM}, click])
    found = {each["account_id"]: each for each in place.accounts(AS_OF)}
    reference = [
        *crm,
        *known_from_the_start(browsing("v-ann"), "acme", "ann"),
        *known_from_the_start(browsing("v-form"), "globex", None),
        *known_from_the_start(browsing("v-click"), "acme", "ann"),
        *known_from_the_start([form | {"time": FORM}], "globex", None),
        click,
        identify("v-ann", at=FORM, contact_id="ann", account_id="acme"),
    ]
    expected = scored_alone(place, reference)
    assert differences(list(found.values()), expected) == []
    return found


def test_visitor_who_identifies_after_two_weeks_scores_as_if_known_from_the_start(
    identified: dict[str, Json],
) -> None:
    assert identified["acme"]["events"] == 2 * 28 + 1
    assert identified["globex"]["events"] == 28 + 1
    assert identified["acme"]["engagement_minutes"] > 0


def test_attributed_events_say_by_which_rule_and_how_surely(
    running: Running, identified: dict[str, Json]
) -> None:
    assert identified
    topic = TYPE_TOPICS["page_visit"]

    def copies(found: list[Found]) -> list[Json]:
        return [each.json for each in found if "surgeline-attributed" in each.headers]

    read = running.place.read(topic, lambda found: len(copies(found)) >= 3 * 28)

    said = Counter((e["resolution"]["by"], e["resolution"]["confidence"]) for e in copies(read))
    assert said == {("anonymous_id", 0.9): 2 * 28, ("anonymous_id", 0.8): 28}
    assert {each["contact_id"] for each in copies(read) if each["account_id"] == "acme"} == {"ann"}


def test_nothing_waits_for_a_visitor_any_more_who_is_known(
    running: Running, identified: dict[str, Json]
) -> None:
    assert identified

    assert list(running.place.redis.scan_iter(match="sl:directory:waits:visitor:v-*")) == []
    assert list(running.place.redis.scan_iter(match="sl:directory:decided:*")) == []


def test_events_of_nobody_wait_with_the_reason_and_are_tried_again(running: Running) -> None:
    place = running.place
    lost = browsing("v-lost", 2, network_host="gw.initech.example", email="peter@initech.example")
    home = browsing("v-home", 2, network_host="ad01.compuserve.com")
    send(place, [*lost, *home])

    def why(found: list[Found]) -> Counter[str]:
        own = [each for each in found if each.json["anonymous_id"] in ("v-lost", "v-home")]
        return Counter(each.headers["surgeline-why"].decode() for each in own)

    place.read("unresolved", lambda found: why(found) == {"unknown": 4, "provider": 4})
    send(place, [account("initech", "initech.example", at=FORM)])
    (found,) = place.answer("account", "initech", "--as-of", AS_OF)

    assert found["events"] == 4


def test_events_found_at_once_are_scored_at_once(running: Running) -> None:
    place = running.place
    send(place, [account("umbrella", "umbrella.example", at=CRM)])
    visits = browsing("v-umbrella", 3, network_host="proxy.umbrella.example")
    # Past the seconds for which a worker believes that nobody has this domain.
    send(place, [each | {"id": f"again-{each['id']}"} for each in visits])
    (found,) = place.answer("account", "umbrella", "--as-of", AS_OF)

    assert found["events"] == 6


def test_restarted_resolver_attributes_nothing_twice(
    running: Running, identified: dict[str, Json]
) -> None:
    assert identified
    place = running.place
    before = {each["account_id"]: each for each in place.accounts(AS_OF)}
    running.resolver.kill()
    place.redis.delete("sl:directory:progress")  # as if nothing had been noted: all is read again
    again = place.ready_resolver()
    place.wait_resolved()

    after = {each["account_id"]: each for each in place.accounts(AS_OF)}

    assert differences(list(after.values()), list(before.values())) == []
    assert again.exit_code is None


def test_imported_accounts_and_contacts_are_found(running: Running) -> None:
    place = running.place
    companies, people = place.directory / "companies.csv", place.directory / "people.csv"
    companies.write_text("Record ID,Company name,Company Domain Name\n900,Hooli,hooli.example\n")
    people.write_text("Record ID,Email,Associated Company IDs\n901,gavin@hooli.example,900\n")
    for each in (companies, people):
        done = place.run("import", str(each))
        assert done.returncode == 0, done.stderr
    place.wait_resolved()

    send(place, browsing("v-gavin", 2, email="Gavin@hooli.example"))

    # The records of an import are of now, events of this test are of long before.
    (found,) = place.answer("account", "900")
    assert found["events"] == 4


def test_import_with_a_bad_row_sends_nothing(running: Running) -> None:
    place = running.place
    file = place.directory / "bad.csv"
    file.write_text("Record ID,Company name,Tier\n910,Good,1\n911,Bad,9\n")
    before = place.ends()

    refused = place.run("import", str(file), "--map", "Tier=tier")
    looked = place.run("import", str(file), "--map", "Tier=tier", "--dry-run", "--json")

    assert (refused.returncode, looked.returncode) == (1, 1)
    assert f"{file}:3: field tier: '9' must be 1, 2 or 3" in refused.stdout
    assert rows(looked.stdout) == [{"line": 3, "detail": "field tier: '9' must be 1, 2 or 3"}]
    assert place.ends() == before
