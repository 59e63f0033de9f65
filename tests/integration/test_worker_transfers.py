"""Accounts that merge and people who move, on a real worker: what one shard gives, another takes."""

import json
from collections.abc import Iterator
from itertools import count
from typing import Any, NamedTuple

import pytest

from stream.routing import shard_of
from tests.integration.conftest import KAFKA_ONLY
from tests.integration.worker_kit import PARTITIONS, Place, Servers, record_of
from tests.strategies import event
from tests.system.harness import Json, eventually, rows, write_lines

pytestmark = KAFKA_ONLY

OLD = "old é"
NEW = next(
    name
    for name in (f"new-{n}" for n in count())
    if shard_of(name, PARTITIONS) != shard_of(OLD, PARTITIONS)
)
AS_OF = "2008-02-01T00:00:00Z"
MODEL = '[contacts]\non_move = "take_along"\n'


def of(account_id: str, type_: str, day: float, **fields: Any) -> Json:
    return event(type_, day, **{"account_id": account_id, **fields})


def history(old: str) -> list[Json]:
    """Return what happens before the merger; *old* is what the one account is called."""
    sent, met = {"action": "sent"}, {"action": "held", "meeting_id": "m"}
    return [
        of(NEW, "account", 1, action="upserted", target=True, tier=1, owner_id="dana"),
        of(NEW, "page_visit", 2, url="https://x.example/pricing", duration_seconds=120),
        of(NEW, "email", 3, direction="inbound", contact_id="bob", **sent),
        of(old, "page_visit", 3, url="https://x.example/docs", duration_seconds=300),
        of(old, "email", 4, direction="inbound", contact_id="ann", **sent),
        of(old, "email", 4.1, direction="outbound", contact_id="ann", **sent),
        of(old, "contact", 4.2, action="upserted", contact_id="ann", seniority="vp"),
        of(old, "meeting", 5, contact_id="bob", duration_minutes=45, **met),
        of(old, "opportunity", 6, action="opened", opportunity_id="o", kind="new"),
        of(old, "intent", 7, topic="crm", strength=3),
        of(old, "chat", 8, action="message", direction="inbound", conversation_id="c"),
    ]


def aftermath(old: str) -> list[Json]:
    """Return what is still sent for the old account after it is no more, repeats among it."""
    return [
        of(old, "page_visit", 9, url="https://x.example/demo", duration_seconds=60),
        of(old, "opportunity", 9, action="won", opportunity_id="o", kind="new"),
        of(old, "chat", 8, action="message", direction="inbound", conversation_id="c"),
        of(old, "email", 9.5, action="replied", direction="inbound", contact_id="ann"),
    ]


MERGER = of(OLD, "account", 8.5, action="removed", merged_into=NEW)
MOVE = of(NEW, "contact", 10, action="upserted", contact_id="cy", moved_from="agency")
BEFORE_THE_MOVE = [
    of("agency", "email", 9, action="sent", direction="inbound", contact_id="cy"),
    of("agency", "email", 9.1, action="sent", direction="outbound", contact_id="cy"),
]


class Merged(NamedTuple):
    place: Place
    reports: dict[str, Json]


def reports(place: Place) -> dict[str, Json]:
    return {each["account_id"]: each for each in place.accounts(AS_OF)}


def events_of(place: Place, account_id: str) -> int:
    return int(place.hashes().get(account_id, {}).get("events", 0))


def scored_alone(place: Place, events: list[Json]) -> dict[str, Json]:
    file = write_lines(place.directory / "alone.jsonl", events)
    done = place.run("score", str(file), "--as-of", AS_OF, "--json")
    return {each["account_id"]: each for each in rows(done.stdout)}


def assert_close(ours: Json, theirs: Json) -> None:
    for name, value in theirs.items():
        if isinstance(value, float):
            assert abs(ours[name] - value) <= 1e-9, name
        elif isinstance(value, dict):
            assert_close(ours[name], value)
        else:
            assert ours[name] == value, name


@pytest.fixture(scope="module")
def merged(servers: Servers, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Merged]:
    directory = tmp_path_factory.mktemp("transfers")
    model = directory / "model.toml"
    model.write_text(MODEL, encoding="utf-8")
    with Place(servers, directory, SURGELINE_MODEL=str(model)) as place:
        place.ready_worker()
        place.wait_scored(place.produce(map(record_of, history(OLD))))
        place.wait_scored(place.produce([record_of(MERGER)]))
        place.wait_scored(place.produce(map(record_of, [*aftermath(OLD), *BEFORE_THE_MOVE])))
        place.wait_scored(place.produce([record_of(MOVE)]))
        assert eventually(lambda: settled(place), within_seconds=30), place.logs()
        yield Merged(place, reports(place))


def settled(place: Place) -> bool:
    """Tell whether every transfer has arrived."""
    return events_of(place, NEW) == 10 and reports(place)[NEW]["contacts"] == 3


def test_merged_account_scores_as_one_that_had_done_all_of_it(merged: Merged) -> None:
    alone = scored_alone(merged.place, [*history(NEW), *aftermath(NEW), *BEFORE_THE_MOVE, MOVE])

    assert_close(merged.reports[NEW], alone[NEW])
    assert merged.reports[NEW]["stage"] == "customer"


def test_offline_scores_of_the_same_events_are_the_same(merged: Merged) -> None:
    events = [*history(OLD), MERGER, *aftermath(OLD), *BEFORE_THE_MOVE, MOVE]

    alone = scored_alone(merged.place, events)

    assert alone.keys() == merged.reports.keys()
    for name, report in alone.items():
        assert_close(merged.reports[name], report)


def test_account_that_is_no_more_is_listed_nowhere_and_says_where_it_went(merged: Merged) -> None:
    done = merged.place.run("account", OLD)

    assert OLD not in merged.reports
    assert done.returncode == 1
    assert f"was merged into '{NEW}'" in done.stderr
    assert merged.place.hashes()[OLD]["merged_into"] == NEW


def test_announcement_says_what_an_account_was_merged_into(merged: Merged) -> None:
    told = merged.place.read("score-changes", lambda found: bool(said(found)))

    assert said(told)[-1] == NEW


def said(found: list[Any]) -> list[str]:
    ours = [each.json for each in found if each.key == OLD.encode()]
    return [each["merged_into"] for each in ours if "merged_into" in each]


def test_no_record_of_the_topic_of_transfers_names_a_person_who_moved(merged: Merged) -> None:
    found = merged.place.read("transfers", lambda found: len(found) >= 3)
    gifts = [each.json for each in found if "gift" in each.json]

    assert {each["giver"] for each in gifts} == {OLD, "agency"}
    assert '"cy"' not in json.dumps(gifts)


def test_resolver_notices_who_belongs_to_another_account_than_before(merged: Merged) -> None:
    place = merged.place
    place.ready_resolver()
    first = of("agency", "contact", 11, action="upserted", contact_id="dee")
    sent = of("agency", "email", 11, action="sent", direction="inbound", contact_id="dee")
    for each in (first, sent, of(NEW, "contact", 12, action="upserted", contact_id="dee")):
        place.produce([record_of(each)])
        place.wait_resolved()

    def moved() -> bool:
        found = reports(place)
        return bool(found[NEW]["contacts"] == 4 and found["agency"]["contacts"] == 0)

    assert eventually(moved, within_seconds=30), place.logs()


def test_replay_from_the_beginning_comes_to_the_same_scores(merged: Merged) -> None:
    place, before = merged.place, reports(merged.place)
    for each in place.workers:
        assert each.terminate() == 0
    done = place.run("reset", "--replay", "--yes")
    assert done.returncode == 0, done.stderr
    place.ready_worker()
    place.ready_resolver()

    def the_same() -> bool:
        found = reports(place)
        return found.keys() == before.keys() and all(
            abs(found[name][score] - was[score]) <= 1e-9
            for name, was in before.items()
            for score in ("engagement", "intent_surge", "relationship", "contacts", "events")
        )

    assert eventually(the_same, within_seconds=60, every_seconds=1.0), place.logs()
