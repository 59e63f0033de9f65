"""A worker does not start where it would score wrongly, and says in one sentence what to do."""

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.conftest import KAFKA_ONLY
from tests.integration.mixed_stream import AS_OF, mixed_stream
from tests.integration.worker_kit import Place, Servers, forget, record_of
from tests.system.harness import (
    SURGELINE,
    Json,
    differences,
    environment,
    eventually,
    rows,
    write_lines,
)

NOWHERE = "127.0.0.1:1"
WRONG_SETTINGS = {
    "SURGELINE_KAFKA_URL": "kafka.example",
    "SURGELINE_REDIS_URL": "127.0.0.1:6379",
    "SURGELINE_CLOCK": "cuckoo",
    "SURGELINE_PARTITIONS": "0",
    "SURGELINE_FLUSH_SECONDS": "never",
    "SURGELINE_TOPIC_PREFIX": "crm/",
    "SURGELINE_GROUP": "",
    "SURGELINE_MODEL": "no/such/file.toml",
    "SURGELINE_LOG_LEVEL": "shout",
}


def refusal(done: "subprocess.CompletedProcess[str]") -> str:
    """Return the one sentence with which a command refused."""
    assert done.returncode == 1, done.stderr
    assert done.stdout == ""
    (sentence,) = done.stderr.splitlines()
    return sentence


@pytest.mark.parametrize("name", WRONG_SETTINGS)
def test_wrong_setting_ends_the_start_with_its_name(name: str, tmp_path: Path) -> None:
    port_file = tmp_path / "port"
    servers = {"SURGELINE_KAFKA_URL": NOWHERE, "SURGELINE_REDIS_URL": f"redis://{NOWHERE}/0"}

    done = subprocess.run(
        [SURGELINE, "worker", "--port-file", str(port_file)],
        capture_output=True,
        text=True,
        env=environment(**(servers | {name: WRONG_SETTINGS[name]})),
        timeout=30,
        check=False,
    )

    assert name in refusal(done)
    assert not port_file.exists()


class Finished(Place):
    """A place whose worker has scored everything and was stopped."""

    events: list[Json]
    reference: list[Json]

    def refused(self, **settings: str) -> str:
        """Start a worker that must be refused; return its sentence."""
        done = self.run("worker", "--port-file", str(self.directory / "refused"), **settings)
        sentence = refusal(done)
        assert not (self.directory / "refused").exists()
        return sentence

    def score_anew(self, **settings: str) -> list[Json]:
        """Let a worker score all there is and stop it; return the accounts."""
        worker = self.ready_worker(**settings)
        assert eventually(lambda: self.committed() == len(self.events), within_seconds=30)
        accounts = self.accounts(AS_OF)
        assert worker.terminate() == 0
        return accounts


@pytest.fixture(scope="module")
def finished(servers: Servers, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Finished]:
    with Finished(servers, tmp_path_factory.mktemp("finished")) as place:
        place.events = mixed_stream(seed=5, accounts=10)
        file = write_lines(place.directory / "events.jsonl", place.events)
        alone = place.run("score", str(file), "--as-of", AS_OF, "--json")
        place.reference = rows(alone.stdout)
        place.declare_topics()
        place.produce(record_of(each) for each in place.events)
        assert differences(place.score_anew(), place.reference) == []
        yield place


@KAFKA_ONLY
def test_another_scoring_model_is_refused(finished: Finished, tmp_path: Path) -> None:
    model = tmp_path / "model.toml"
    model.write_text('name = "hasty"\n[engagement]\nhalf_life_days = 7.0\n')

    sentence = finished.refused(SURGELINE_MODEL=str(model))

    assert "digest" in sentence
    assert "surgeline reset --replay" in sentence


@KAFKA_ONLY
def test_another_clock_is_refused(finished: Finished) -> None:
    sentence = finished.refused(SURGELINE_CLOCK="wall")

    assert "clock event" in sentence
    assert "surgeline reset --replay" in sentence


@KAFKA_ONLY
def test_another_number_of_partitions_is_refused(finished: Finished) -> None:
    others = {"SURGELINE_TOPIC_PREFIX": f"{finished.prefix}more.", "SURGELINE_PARTITIONS": "4"}

    sentence = finished.refused(**others)

    assert "partitions 3" in sentence
    assert "surgeline reset --replay" in sentence


@KAFKA_ONLY
def test_taken_port_is_refused(finished: Finished) -> None:
    port = finished.redis_url.rpartition(":")[2].partition("/")[0]

    assert f"SURGELINE_WORKER_PORT={port}" in finished.refused(SURGELINE_WORKER_PORT=port)


@KAFKA_ONLY
def test_emptied_redis_is_refused_and_rebuilt_when_asked_to(finished: Finished) -> None:
    forget(finished.redis)

    sentence = finished.refused()
    rebuilt = finished.score_anew(SURGELINE_ON_MISSING_STATE="replay")

    assert "SURGELINE_ON_MISSING_STATE=replay" in sentence
    assert f"group {finished.group}" in sentence
    assert "offset" in sentence
    assert differences(rebuilt, finished.reference) == []


@KAFKA_ONLY
def test_reset_with_replay_starts_over(finished: Finished) -> None:
    done = finished.run("reset", "--replay", "--yes")

    assert done.returncode == 0, done.stderr
    assert finished.hashes() == {}
    assert differences(finished.score_anew(), finished.reference) == []
