"""Real requests without accounts, by their hosts: every organisation found, every provider named."""

import gzip
import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.directory import DOMAINS, account
from tests.integration.conftest import KAFKA_ONLY
from tests.integration.worker_kit import Place, Servers
from tests.system.harness import Json, differences, rows, write_lines

DATA = Path(__file__).resolve().parents[3] / "shared" / "data" / "nasa-page-visits.jsonl.gz"
BEFORE = "1995-07-31T00:00:00Z"
AS_OF = "1995-08-03T00:00:00Z"
PROVIDERS = ("aol.com", "compuserve.com", "prodigy.com", "netcom.com")

pytestmark = [
    pytest.mark.skipif(not DATA.exists(), reason="the recorded data is not here"),
    KAFKA_ONLY,
]


class Recorded(NamedTuple):
    """The requests, and accounts for every organisation that they come from."""

    place: Place
    visits: list[Json]
    accounts: list[Json]
    accounts_file: Path


@pytest.fixture(scope="module")
def recorded(servers: Servers, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Recorded]:
    with gzip.open(DATA, "rt", encoding="utf-8") as lines:
        visits = [json.loads(line) for line in lines]
    # Of providers too: nobody is to be found by them though somebody sells to them.
    domains = {DOMAINS.registrable(v["network_host"]) for v in visits if "network_host" in v}
    accounts = [account(each, each, at=BEFORE) for each in sorted(d for d in domains if d)]
    with Place(servers, tmp_path_factory.mktemp("visits")) as place:
        file = write_lines(place.directory / "accounts.jsonl", accounts)
        yield Recorded(place, visits, accounts, file)


@pytest.fixture(scope="module")
def decisions(recorded: Recorded) -> list[Json]:
    done = recorded.place.run(
        "resolve", str(recorded.accounts_file), str(DATA), "--explain", "--json"
    )
    assert done.returncode == 0, done.stderr
    return rows(done.stdout)


def test_every_decision_is_listed(recorded: Recorded, decisions: list[Json]) -> None:
    assert [each["id"] for each in decisions] == [each["id"] for each in recorded.visits]


def test_organisations_are_found_by_the_registrable_domain_of_their_host(
    decisions: list[Json],
) -> None:
    found = [each for each in decisions if each["account_id"] is not None]

    assert len(found) > 3_500
    assert {each["by"] for each in found} == {"network_host"}
    assert all(
        each["network_host"].lower().rstrip(".").endswith(each["account_id"]) for each in found
    )


@pytest.mark.parametrize("provider", PROVIDERS)
def test_customers_of_providers_are_labelled(decisions: list[Json], provider: str) -> None:
    own = [each for each in decisions if each.get("network_host", "").endswith(provider)]

    assert len(own) >= 50
    assert {(each["account_id"], each["why"]) for each in own} == {(None, "provider")}


def test_addresses_without_a_name_are_unknown(decisions: list[Json]) -> None:
    own = [each for each in decisions if "ip" in each]

    assert len(own) == 1_589
    assert {each["why"] for each in own} == {"unknown"}


def test_counts_are_those_of_the_listed_decisions(
    recorded: Recorded, decisions: list[Json]
) -> None:
    done = recorded.place.run("resolve", str(recorded.accounts_file), str(DATA), "--json")
    (counts,) = rows(done.stdout)

    listed = Counter(d.get("by") or f"not found: {d['why']}" for d in decisions)
    assert counts == dict(listed)


def test_stream_scores_what_the_core_scores(recorded: Recorded, decisions: list[Json]) -> None:
    place = recorded.place
    worker = place.ready_worker()
    place.ready_resolver()
    # The accounts come last here: everything has waited for them.
    for file in (DATA, recorded.accounts_file):
        done = place.run("replay", str(file), "--wait")
        assert done.returncode == 0, done.stderr
        place.wait_resolved()
    alone = place.run("score", str(DATA), str(recorded.accounts_file), "--as-of", AS_OF, "--json")

    assert differences(place.accounts(AS_OF), rows(alone.stdout)) == []
    labels = Counter(each["why"] for each in decisions if "why" in each)
    assert worker.metric("surgeline_unresolved_events_total", why="provider") == labels["provider"]
