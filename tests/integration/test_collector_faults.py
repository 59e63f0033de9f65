"""A collector killed under load: what it acknowledged is in Kafka, and counts once."""

import threading
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest

from stream.embedded import free_port
from tests.integration.conftest import KAFKA_ONLY
from tests.integration.worker_kit import Place, Servers
from tests.system.harness import Json, eventually

pytestmark = [KAFKA_ONLY]

CLIENTS = 4
BATCH = 20
ACCOUNTS = 10
FIRST_TIME = 1_767_225_600
AS_OF = "2026-01-08T00:00:00Z"


@dataclass
class Load:
    """Clients that send batches one after the other, each again until it is acknowledged."""

    url: str
    stop: threading.Event = field(default_factory=threading.Event)
    acknowledged: set[str] = field(default_factory=set)
    tried: Counter[str] = field(default_factory=Counter)
    """Id -> requests that carried it."""

    def client(self, number: int) -> None:
        with httpx.Client(timeout=20) as client:
            batch = 0
            while not self.stop.is_set():
                calls = [self._call(f"{number}-{batch}-{n}", n) for n in range(BATCH)]
                self._send(client, calls)
                batch += 1

    def _call(self, id_: str, number: int) -> Json:
        return {
            "type": "page",
            "messageId": id_,
            "userId": f"p{number}",
            "timestamp": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(FIRST_TIME + number)),
            "context": {"groupId": f"account-{number % ACCOUNTS}"},
            "properties": {"url": f"https://x.example/{id_}"},
        }

    def _send(self, client: httpx.Client, calls: list[Json]) -> None:
        ids = [call["messageId"] for call in calls]
        while True:
            self.tried.update(ids)
            try:
                answer = client.post(
                    f"{self.url}/v1/batch", json={"batch": calls}, auth=("web", "")
                )
            except httpx.HTTPError:
                time.sleep(0.05)  # as clients wait before they try again
                continue
            if answer.status_code == 200:
                self.acknowledged.update(ids)
                return
            time.sleep(0.05)


@pytest.fixture
def place(servers: Servers, tmp_path: Path) -> Iterator[Place]:
    with Place(servers, tmp_path) as own:
        yield own


@pytest.mark.parametrize("how", ["kill", "terminate"])
def test_what_a_collector_acknowledged_before_its_end_is_in_kafka_and_counts_once(
    place: Place, how: str
) -> None:
    port = free_port()
    collector = place.ready_collector(SURGELINE_COLLECTOR_PORT=str(port))
    load = Load(f"http://127.0.0.1:{port}")
    clients = [threading.Thread(target=load.client, args=(n,), daemon=True) for n in range(CLIENTS)]

    for each in clients:
        each.start()
    assert eventually(lambda: len(load.acknowledged) >= 400, within_seconds=60)
    if how == "kill":
        collector.kill()
    else:
        assert collector.terminate(within_seconds=15) == 0
    before = len(load.acknowledged)
    place.ready_collector(SURGELINE_COLLECTOR_PORT=str(port))
    assert eventually(lambda: len(load.acknowledged) >= before + 400, within_seconds=60)
    load.stop.set()
    for each in clients:
        each.join(60)

    records = place.read(
        "page-visits", lambda found: {r.json["id"] for r in found} >= load.acknowledged
    )
    times: Counter[str] = Counter(each.json["id"] for each in records)
    assert set(times) == load.acknowledged  # all were sent again until they were
    repeated = {id_ for id_, count in times.items() if count > 1}
    assert all(load.tried[id_] > 1 for id_ in repeated), "an acknowledged event was repeated"
    place.ready_worker()
    scored = _scored(place, len(load.acknowledged))
    assert scored == len(load.acknowledged), place.logs()
    print(f"{how}: {len(times)} acknowledged, {len(repeated)} in Kafka again, {scored} counted")


def _scored(place: Place, wanted: int) -> int:
    """Return how many events all accounts count, once that is settled."""

    def counted() -> int:
        rows: list[dict[str, Any]] = place.accounts(AS_OF)
        return sum(row["events"] for row in rows)

    eventually(lambda: counted() >= wanted, within_seconds=60, every_seconds=0.5)
    return counted()
