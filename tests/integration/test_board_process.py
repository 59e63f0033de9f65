"""The board as a process: who may ask, what it does while servers are away, how it ends."""

import asyncio
import os
import signal
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest

from stream.embedded import EmbeddedServers
from tests.board_process import Board, event_stream
from tests.integration.worker_kit import Place, Servers
from tests.servers import RedisServer
from tests.stored import Json, folded, store_accounts
from tests.system.harness import PATIENCE, eventually

# A process for nearly every test: the suite that may take longer runs them.
pytestmark = [pytest.mark.embedded, pytest.mark.kafka]

SECONDS = 20.0
START = "2026-01-05T09:00:00Z"


def accounts(count: int = 3) -> list[Json]:
    common = {"source": "test", "time": START, "type": "account", "action": "upserted"}
    return [
        {"id": f"e{n}", "account_id": f"account-{n}", "target": True, "tier": 1} | common
        for n in range(count)
    ]


@pytest.fixture
def place(embedded_servers: EmbeddedServers, tmp_path: Path) -> Iterator[Place]:
    """Give topics and stored accounts, without a worker."""
    servers = Servers(embedded_servers.kafka, embedded_servers.redis_url, session_seconds="3")
    with Place(servers, tmp_path) as own:
        own.declare_topics()
        asyncio.run(store_accounts(own.redis_url, folded(accounts())))
        yield own


def started(place: Place, *options: str, **settings: str) -> Board:
    return Board(place.environment(**settings), place.directory / "board.log", *options)


def token_of(place: Place, file: Path, name: str, role: str) -> dict[str, str]:
    """Make a token by the command; return the header that shows it."""
    done = place.run("board-token", name, "--role", role, "--file", str(file))
    assert done.returncode == 0, done.stderr
    return {"Authorization": f"Bearer {done.stdout.strip()}"}


@pytest.fixture
def tokens(place: Place, tmp_path: Path) -> dict[str, dict[str, str]]:
    """Give the headers of a reader and an operator; their tokens are in the file `tokens`."""
    file = tmp_path / "tokens"
    return {role: token_of(place, file, f"the-{role}", role) for role in ("reader", "operator")}


def test_with_tokens_nobody_else_reads(
    place: Place, tokens: dict[str, dict[str, str]], tmp_path: Path
) -> None:
    with started(place, SURGELINE_BOARD_TOKENS_FILE=str(tmp_path / "tokens")) as board:
        board.wait_ready()

        assert board.get("/api/v1/accounts").status_code == 401
        assert board.get("/api/v1/stream").status_code == 401
        wrong = board.get("/api/v1/accounts", Authorization="Bearer wrong")
        assert wrong.json()["status"] == 401
        answer = board.get("/api/v1/session", **tokens["reader"]).json()
        assert (answer["name"], answer["role"]) == ("the-reader", "reader")


def test_only_operators_change_things(
    place: Place, tokens: dict[str, dict[str, str]], tmp_path: Path
) -> None:
    path, body = "/api/v1/mutes/account/account-1", {"minutes": 5}
    with started(place, SURGELINE_BOARD_TOKENS_FILE=str(tmp_path / "tokens")) as board:
        board.wait_ready()

        reader = board.client.put(path, json=body, headers=tokens["reader"])
        operator = board.client.put(path, json=body, headers=tokens["operator"])

        assert (reader.status_code, operator.status_code) == (403, 200)
        assert operator.json()["by"] == "the-operator"
        ack = f"/api/v1/alerts/{'0' * 32}/acknowledge"
        for answer in (
            board.client.delete(path, headers=tokens["reader"]),
            board.client.post(ack, headers=tokens["reader"]),
            board.client.delete(ack, headers=tokens["reader"]),
        ):
            assert answer.status_code == 403


def test_token_counts_as_soon_as_the_file_has_it(
    place: Place, tokens: dict[str, dict[str, str]], tmp_path: Path
) -> None:
    file = tmp_path / "tokens"
    assert tokens
    with started(place, SURGELINE_BOARD_TOKENS_FILE=str(file)) as board:
        board.wait_ready()

        later = token_of(place, file, "later", "reader")

        def known() -> bool:
            return board.get("/api/v1/session", **later).status_code == 200

        assert eventually(known, within_seconds=SECONDS)


def test_board_for_other_machines_without_tokens_is_refused(place: Place) -> None:
    done = place.run("board", "--host", "0.0.0.0", SURGELINE_LOG_FORMAT="text")

    assert done.returncode == 1
    assert done.stderr.startswith("surgeline: SURGELINE_BOARD_HOST=0.0.0.0: other machines reach")
    assert done.stderr.count("\n") == 1


def test_taken_port_is_refused_in_one_sentence(place: Place) -> None:
    with started(place) as board:
        port = board.url.rpartition(":")[2]

        done = place.run("board", "--port", port, SURGELINE_LOG_FORMAT="text")

    assert done.returncode == 1
    assert done.stderr.startswith(f"surgeline: SURGELINE_BOARD_PORT={port}: cannot listen")
    assert done.stderr.count("\n") == 1


def test_scores_of_another_model_are_refused_at_the_start(place: Place, tmp_path: Path) -> None:
    model = tmp_path / "other.toml"
    model.write_text("[engagement]\nhalf_life_days = 7.0\n")

    done = place.run("board", "--port", "0", "--model", str(model), SURGELINE_LOG_FORMAT="text")

    assert done.returncode == 1
    assert "another scoring model" in done.stderr


def test_foreign_name_that_leads_to_loopback_is_refused(place: Place) -> None:
    with started(place) as board:
        board.wait_ready()

        assert board.get("/api/v1/accounts", Host="evil.example").status_code == 421
        answer = board.client.put(
            "/api/v1/mutes/rule/surge_started",
            json={"minutes": 5},
            headers={"Origin": "https://evil.example"},
        )
        assert answer.status_code == 403
        assert "access-control-allow-origin" not in answer.headers


def test_too_many_requests_are_told_when_to_come_again(place: Place) -> None:
    with started(place, SURGELINE_BOARD_RATE="5") as board:
        board.wait_ready()

        answers = [board.get("/api/v1/session") for _ in range(30)]

        refused = [each for each in answers if each.status_code == 429]
        assert refused
        assert refused[0].headers["content-type"] == "application/problem+json"
        assert int(refused[0].headers["retry-after"]) >= 1
        assert board.get("/healthz").status_code == 200


def test_body_without_an_end_is_refused(place: Place) -> None:
    def endless() -> Iterator[bytes]:
        for _ in range(64):
            yield b" " * 1_024

    with started(place) as board:
        board.wait_ready()

        answer = board.client.put("/api/v1/mutes/rule/surge_started", content=endless())

    assert answer.status_code == 413


def test_board_may_start_before_there_are_scores(
    embedded_servers: EmbeddedServers, tmp_path: Path
) -> None:
    servers = Servers(embedded_servers.kafka, embedded_servers.redis_url, session_seconds="3")
    with Place(servers, tmp_path) as place, started(place) as board:
        early = board.get("/api/v1/accounts")
        assert early.status_code == 503
        assert "holds no Surgeline scores yet" in early.json()["detail"]
        assert int(early.headers["retry-after"]) > 0
        assert board.get("/readyz").status_code == 503
        assert board.get("/healthz").status_code == 200

        place.ready_worker()
        place.replay(accounts())

        board.wait_ready()

        def found() -> bool:
            return int(board.json("/accounts")["total"]) == 3

        assert eventually(found, within_seconds=SECONDS)


def test_while_redis_is_away_lists_are_answered_from_memory(
    embedded_servers: EmbeddedServers, tmp_path: Path
) -> None:
    with RedisServer(own=True) as redis:
        servers = Servers(embedded_servers.kafka, redis.url, session_seconds="3", redis_is_own=True)
        asyncio.run(store_accounts(redis.url, folded(accounts())))
        with Place(servers, tmp_path) as place:
            place.declare_topics()
            with started(place) as board:
                board.wait_ready()

                redis.kill()
                assert eventually(
                    lambda: board.get("/readyz").status_code == 503, within_seconds=SECONDS
                )
                assert board.json("/accounts")["total"] == 3
                away = board.get("/api/v1/accounts/account-1")
                assert away.status_code == 503
                assert away.json()["detail"].startswith("Redis does not answer")

                redis.start()
                asyncio.run(store_accounts(redis.url, folded(accounts())))
                board.wait_ready()
                assert board.json("/accounts/account-1")["account_id"] == "account-1"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_signal_ends_it_at_once_though_somebody_listens(place: Place, number: int) -> None:
    with started(place) as board:
        board.wait_ready()
        with event_stream(board) as events:
            assert next(events)[0] == "beat"
            began = time.monotonic()
            os.kill(board.pid, number)
            list(events)
            assert eventually(lambda: board.exit_code is not None, within_seconds=SECONDS)

        assert time.monotonic() - began < PATIENCE * 5
        assert board.exit_code == 0, board.log()
        assert "Traceback" not in board.log()


def test_listener_who_hangs_up_makes_room(place: Place) -> None:
    with started(place, SURGELINE_BOARD_RATE="0") as board:
        board.wait_ready()
        for _ in range(25):  # more than may listen at a time
            with event_stream(board) as events:
                assert next(events)[0] == "beat"

        def alone() -> bool:
            return "surgeline_board_stream_clients 0.0" in board.get("/metrics").text

        assert eventually(alone, within_seconds=SECONDS)


def test_one_who_opens_too_many_streams_is_refused(place: Place) -> None:
    with started(place, SURGELINE_BOARD_RATE="0") as board, ThreadPoolExecutor(20) as threads:
        board.wait_ready()
        opened = [httpx.Client(base_url=board.url) for _ in range(20)]
        streams = [each.stream("GET", "/api/v1/stream") for each in opened]
        answers = list(threads.map(lambda stream: stream.__enter__(), streams))
        lines = [answer.iter_lines() for answer in answers]
        assert all(next(each) for each in lines)

        with board.client.stream("GET", "/api/v1/stream") as refused:
            assert refused.status_code == 429
        for stream, client in zip(streams, opened, strict=True):
            stream.__exit__(None, None, None)
            client.close()


def test_settings_name_what_is_wrong_with_the_tokens(place: Place, tmp_path: Path) -> None:
    file = tmp_path / "tokens"
    file.write_text("ann:reader\n")

    done = place.run(
        "board", "--port", "0", SURGELINE_BOARD_TOKENS_FILE=str(file), SURGELINE_LOG_FORMAT="text"
    )

    assert done.returncode == 1
    assert f"SURGELINE_BOARD_TOKENS_FILE={file}, line 1" in done.stderr


def test_token_is_printed_alone_and_its_line_where_there_is_no_file(place: Place) -> None:
    done = place.run("board-token", "ann")

    assert done.returncode == 0
    (token,) = done.stdout.split()
    assert token not in done.stderr
    assert "ann:reader:" in done.stderr
