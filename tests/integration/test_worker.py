"""A worker scores what the core alone would score, and says truly how it is doing."""

import re
import shutil
import subprocess
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from tests.integration.mixed_stream import AS_OF, mixed_stream
from tests.integration.worker_kit import Found, Place, Servers, Worker
from tests.system.harness import Json, differences, eventually, rows, write_lines

PROMISED_METRICS = {
    "surgeline_events_total": {"event", "outcome"},
    "surgeline_dead_letters_total": {"reason"},
    "surgeline_commit_seconds_count": set(),
    "surgeline_event_delay_seconds_count": set(),
    "surgeline_batch_records_count": set(),
    "kafka_consumergroup_lag": {"consumergroup", "topic", "partition"},
}


@dataclass(frozen=True)
class Scored:
    """A worker that has scored a mixed stream, and what the core says of the same events."""

    place: Place
    worker: Worker
    accounts: list[Json]
    reference: list[Json]
    summary: str
    """What `surgeline score` said of the records."""


@pytest.fixture(scope="module")
def scored(servers: Servers, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scored]:
    directory = tmp_path_factory.mktemp("scored")
    events = mixed_stream(seed=11)
    file = write_lines(directory / "mixed.jsonl", [*events, {"type": "email"}])
    with Place(servers, directory) as place:
        worker = place.ready_worker()
        replayed = place.run("replay", str(file), "--wait")
        assert replayed.returncode == 0, replayed.stderr
        alone = place.run("score", str(file), "--as-of", AS_OF, "--json")
        yield Scored(place, worker, place.accounts(AS_OF), rows(alone.stdout), alone.stderr)


def test_scores_equal_those_of_the_core(scored: Scored) -> None:
    assert len(scored.reference) >= 40
    assert differences(scored.accounts, scored.reference) == []


def test_outcomes_are_counted_like_the_core_counts_them(scored: Scored) -> None:
    names = ("scored", "duplicate", "unchecked", "too late", "unresolved", "dead")
    said = {each: int(re.findall(rf"(\d+) {each}", scored.summary)[0]) for each in names}

    counted = {
        each: scored.worker.metric("surgeline_events_total", outcome=each.replace(" ", "_"))
        for each in names
    }

    assert counted == said
    assert min(said["scored"], said["duplicate"], said["too late"], said["dead"]) > 0


def test_funnel_counters_equal_the_stored_stages(scored: Scored) -> None:
    stages = Counter(each["bucket"] for each in scored.place.hashes().values() if each["bucket"])

    counters = {name: n for name, n in scored.place.funnel().items() if "|" in name}

    assert counters == dict(stages)


def test_funnel_counts_the_accounts_that_surge(scored: Scored) -> None:
    surging = sum(each["surging"] == "1" for each in scored.place.hashes().values())

    assert scored.place.funnel().get("surging", 0) == surging


def test_outbox_empties_once_all_is_announced(scored: Scored) -> None:
    assert eventually(lambda: scored.place.outbox() == 0, within_seconds=10)


@pytest.fixture(scope="module")
def announced(scored: Scored) -> list[Found]:
    """Give the records of `score-changes`, once the newest of each account is what is stored."""
    hashes = scored.place.hashes()

    def all_newest(found: list[Found]) -> bool:
        newest = newest_of(found)
        return newest.keys() == hashes.keys() and all(
            newest[name]["as_of"] == stored["as_of"] for name, stored in hashes.items()
        )

    return scored.place.read("score-changes", all_newest)


def newest_of(found: list[Found]) -> dict[str, Json]:
    return {each.json["account_id"]: each.json for each in found}


def test_score_changes_carry_the_newest_scores_of_every_account(
    scored: Scored, announced: list[Found]
) -> None:
    newest, stored = newest_of(announced), scored.place.hashes()

    for name in ("engagement", "intent_surge", "relationship"):
        said = {each: round(newest[each][name], 4) for each in stored}
        assert said == pytest.approx({each: float(stored[each][name]) for each in stored}, abs=1e-4)
    assert {each: newest[each]["stage"] or "" for each in stored} == {
        each: stored[each]["stage"] for each in stored
    }


def test_score_changes_are_keyed_by_their_account(announced: list[Found]) -> None:
    assert all(each.key == each.json["account_id"].encode() for each in announced)


def test_every_transition_is_announced_once(scored: Scored, announced: list[Found]) -> None:
    transitions = [each for found in announced for each in found.json["transitions"]]
    moves = Counter(each["subject"] for each in transitions if each["rule"] == "stage_changed")

    assert len({each["id"] for each in transitions}) == len(transitions)
    assert moves == {name: n for name, n in scored.place.funnel().items() if ">" in name}
    assert {"surge_started", "surge_ended"} <= {each["rule"] for each in transitions}


def test_promised_metrics_are_there_with_their_labels(scored: Scored) -> None:
    _, text = scored.worker.get("/metrics")

    for name, labels in PROMISED_METRICS.items():
        sample = re.search(rf"^{name}(?:\{{(.*)\}})? ", text, re.MULTILINE)
        assert sample is not None, name
        assert set(re.findall(r'(\w+)="', sample[1] or "")) == labels, name


@pytest.mark.skipif(shutil.which("promtool") is None, reason="promtool is not on PATH")
def test_promtool_finds_nothing_to_say_about_the_metrics(scored: Scored) -> None:
    _, text = scored.worker.get("/metrics")

    done = subprocess.run(
        ["promtool", "check", "metrics"], input=text, capture_output=True, text=True, check=False
    )

    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_lag_is_nothing_for_every_partition_once_all_is_scored(scored: Scored) -> None:
    _, text = scored.worker.get("/metrics")
    lags = re.findall(r"^kafka_consumergroup_lag\{.*\} (.*)$", text, re.MULTILINE)

    assert len(lags) == (12 + 1) * 3  # with what accounts tell each other
    assert set(lags) == {"0.0"}


def test_healthy_worker_says_so(scored: Scored) -> None:
    assert scored.worker.get("/healthz") == (200, "ok\n")
    assert scored.worker.get("/readyz") == (200, "ok\n")


def test_bad_line_of_a_replay_is_a_dead_letter(scored: Scored) -> None:
    found = scored.place.read("dead-letters", lambda letters: len(letters) >= 1)

    assert [each.value for each in found] == [b'{"type": "email"}']
    assert found[0].headers["surgeline-reason"] == b"missing_field"
