"""The examples of the README work as they are written there."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.integration.worker_kit import Place, Servers
from tests.servers import KafkaServer, RedisServer
from tests.system.harness import eventually

README = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")


def test_the_python_example_reaches_the_account(servers: Servers, tmp_path: Path) -> None:
    (example,) = re.findall(r"```python\n(.*?)```", README, flags=re.DOTALL)
    with Place(servers, tmp_path, SURGELINE_TOPIC_PREFIX="", SURGELINE_CLOCK="wall") as place:
        place.ready_worker()

        subprocess.run([sys.executable, "-c", example], env=place.environment(), check=True)

        assert eventually(lambda: place.run("account", "acme").returncode == 0, within_seconds=20)
        (account,) = place.answer("account", "acme")
    assert account["engagement_minutes"] == pytest.approx(13.5, abs=0.01)


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
def test_the_curl_example_reaches_the_account(servers: Servers, tmp_path: Path) -> None:
    (command,) = re.findall(
        r"^    (curl \$COLLECTOR/v1/events .*?\]')$", README, re.DOTALL | re.MULTILINE
    )
    with Place(servers, tmp_path, SURGELINE_TOPIC_PREFIX="", SURGELINE_CLOCK="wall") as place:
        place.ready_worker()
        env = place.environment() | {"COLLECTOR": place.ready_collector().url}

        done = subprocess.run(
            ["/bin/bash", "-c", command], env=env, check=True, capture_output=True, text=True
        )

        assert done.stdout == '{"accepted":2,"errors":[]}'
        assert eventually(lambda: _is_target(place), within_seconds=20)


@pytest.mark.kafka
@pytest.mark.skipif(shutil.which("kcat") is None, reason="kcat is not installed")
def test_the_kcat_examples_reach_the_account(
    kafka_server: KafkaServer, redis_server: RedisServer, tmp_path: Path
) -> None:
    commands = re.findall(r"( +printf .*?murmur2_random\n)", README, flags=re.DOTALL)
    own = Servers(kafka_server.address, redis_server.url, session_seconds="6")
    with Place(own, tmp_path, SURGELINE_TOPIC_PREFIX="", SURGELINE_CLOCK="wall") as place:
        place.ready_worker()

        for command in commands:
            subprocess.run(["/bin/bash", "-c", command], env=place.environment(), check=True)

        assert eventually(lambda: _is_target(place), within_seconds=20)
        (account,) = place.answer("account", "acme")
    assert len(commands) == 2
    assert (account["tier"], account["owner_id"]) == (1, "dana")
    assert account["events"] >= 1


def _is_target(place: Place) -> bool:
    if place.run("account", "acme").returncode:
        return False
    (account,) = place.answer("account", "acme")
    return account["target"] is True
