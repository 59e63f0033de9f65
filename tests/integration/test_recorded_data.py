"""Years of recorded emails through a worker that is killed on the way equal the core alone."""

import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.integration.worker_kit import COMMAND_SECONDS, Place, Servers
from tests.servers import KafkaServer, RedisServer
from tests.system.harness import SURGELINE, Json, differences, eventually, rows

DATA = Path(__file__).resolve().parents[3] / "shared" / "data"
FILES = (DATA / "w3c-accounts.jsonl", DATA / "w3c-emails.jsonl.gz")
TARGETS = 750
EVENTS = 65_355 + TARGETS
AS_OF = "2001-06-01T00:00:00Z"

pytestmark = [
    pytest.mark.kafka,
    pytest.mark.skipif(not all(map(Path.exists, FILES)), reason="the recorded data is not here"),
]


class Replayed(NamedTuple):
    """The recorded emails, scored by two workers, the first of which was killed."""

    place: Place
    accounts: list[Json]
    reference: list[Json]


@pytest.fixture(scope="module")
def replayed(
    kafka_server: KafkaServer,
    redis_server: RedisServer,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Replayed]:
    servers = Servers(kafka_server.address, redis_server.url, session_seconds="6")
    names = [str(each) for each in FILES]
    with Place(servers, tmp_path_factory.mktemp("recorded")) as place:
        worker = place.ready_worker()
        replaying = subprocess.Popen(
            [SURGELINE, "replay", *names, "--wait"],
            env=place.environment(),
            stderr=subprocess.DEVNULL,
        )
        assert eventually(
            lambda: place.committed() > EVENTS // 5, within_seconds=60, every_seconds=0.002
        )
        worker.kill()
        assert place.committed() < EVENTS * 9 // 10, "it was killed too late to prove anything"
        place.start_worker()
        assert replaying.wait(COMMAND_SECONDS) == 0
        alone = place.run("score", *names, "--as-of", AS_OF, "--json")
        yield Replayed(place, place.accounts(AS_OF), rows(alone.stdout))


def test_every_account_equals_the_core(replayed: Replayed) -> None:
    assert sum(each["target"] for each in replayed.reference) == TARGETS
    assert differences(replayed.accounts, replayed.reference) == []


def test_every_target_is_in_one_stage_of_the_funnel(replayed: Replayed) -> None:
    (found,) = replayed.place.answer("funnel")

    assert sum(found["stages"].values()) == TARGETS


def test_stages_as_of_a_later_time_equal_those_of_the_core(replayed: Replayed) -> None:
    stages = {each["account_id"]: each["stage"] for each in replayed.accounts}

    assert stages == {each["account_id"]: each["stage"] for each in replayed.reference}
