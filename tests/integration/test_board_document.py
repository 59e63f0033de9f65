"""The board against its own OpenAPI document: what nobody would ask, and every answer's shape."""

import asyncio
import json
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import httpx
import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from hypothesis.errors import Unsatisfiable
from schemathesis import GenerationMode
from schemathesis.specs.openapi.checks import positive_data_acceptance

from stream.embedded import EmbeddedServers
from tests.alerts import alert_json
from tests.board_process import Board
from tests.integration.worker_kit import Place, Sent, Servers
from tests.stored import Json, folded, store_accounts
from tests.system.harness import eventually

pytestmark = pytest.mark.embedded

EXAMPLES = 25
SECONDS = 20.0


def events() -> Iterator[Json]:
    common = {"source": "test", "account_id": "acme"}
    at = "2026-01-05T09:00:00Z"
    record = {"type": "account", "action": "upserted", "target": True, "tier": 1}
    yield common | record | {"id": "e0", "time": at, "owner_id": "rep-1"}
    visit = {"type": "page_visit", "url": "https://x.example/pricing", "contact_id": "ann"}
    for number in range(1, 9):
        yield common | visit | {"id": f"e{number}", "time": f"2026-01-0{number}T10:00:00Z"}


@pytest.fixture(scope="module")
def board(
    embedded_servers: EmbeddedServers, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Board]:
    """Give a board with an account and two alerts that wants a token, and its operator's."""
    directory: Path = tmp_path_factory.mktemp("document")
    servers = Servers(embedded_servers.kafka, embedded_servers.redis_url, session_seconds="3")
    file = directory / "tokens"
    own = {"SURGELINE_BOARD_TOKENS_FILE": str(file), "SURGELINE_BOARD_RATE": "0"}
    with Place(servers, directory) as place:
        place.declare_topics()
        asyncio.run(store_accounts(place.redis_url, folded(events())))
        alerts = [alert_json("acme", number) for number in range(2)]
        place.produce(Sent("alerts", json.dumps(each).encode(), b"acme") for each in alerts)
        token = place.run("board-token", "ann", "--role", "operator", "--file", str(file)).stdout
        with Board(place.environment(**own), directory / "board.log") as found:
            found.client.headers["Authorization"] = f"Bearer {token.strip()}"
            found.wait_ready()
            assert eventually(
                lambda: len(found.json("/alerts")["alerts"]) == 2, within_seconds=SECONDS
            )
            yield found


@pytest.fixture(scope="module")
def schema(board: Board) -> Any:
    """Give the document as the board serves it; the stream, which has no end, is left out."""
    return schemathesis.openapi.from_url(f"{board.url}/openapi.json").exclude(path="/api/v1/stream")


def document(board: Board) -> Json:
    found: Json = board.get("/openapi.json").json()
    return found


@pytest.mark.parametrize("mode", list(GenerationMode), ids=lambda mode: mode.value)
def test_no_request_that_fits_the_document_or_nearly_does_finds_a_fault(
    board: Board, schema: Any, mode: GenerationMode
) -> None:
    headers = {"Authorization": board.client.headers["Authorization"]}
    for each in schema.get_all_operations():
        _ask(each.ok().as_strategy(mode), headers)

    assert board.exit_code is None
    assert "Traceback" not in board.log()


def _ask(cases: Any, headers: dict[str, str]) -> None:
    @settings(
        max_examples=EXAMPLES,
        deadline=None,
        database=None,
        derandomize=True,
        suppress_health_check=list(HealthCheck),
    )
    @given(cases)
    def ask(case: Any) -> None:
        # The form of a cursor can be documented; whether it belongs to the list cannot.
        excluded = [positive_data_acceptance] if "cursor" in (case.query or {}) else []
        case.call_and_validate(headers=headers, excluded_checks=excluded)

    with suppress(Unsatisfiable):  # what takes nothing cannot be given anything wrong
        ask()


def test_every_answer_is_documented_with_an_example(board: Board) -> None:
    for path, operations in document(board)["paths"].items():
        for method, operation in operations.items():
            assert operation["description"], path
            for status, answer in operation["responses"].items():
                for kind, content in answer.get("content", {}).items():
                    assert "example" in content, (path, method, status, kind)


def test_every_problem_is_documented_as_problem_details(board: Board) -> None:
    for operations in document(board)["paths"].values():
        for operation in operations.values():
            for status, answer in operation["responses"].items():
                if int(status) >= 400:
                    assert list(answer["content"]) == ["application/problem+json"]


def test_examples_fit_their_schemas(board: Board) -> None:
    from jsonschema_rs import validator_for

    whole = document(board)
    for path, operations in whole["paths"].items():
        for method, operation in operations.items():
            for answer in operation["responses"].values():
                for content in answer.get("content", {}).values():
                    schema = content.get("schema", {}) | {"components": whole["components"]}
                    problems = [
                        each.message
                        for each in validator_for(schema).iter_errors(content["example"])
                    ]
                    assert not problems, (path, method)


def test_paths_under_the_api_want_the_token_that_the_document_says(board: Board) -> None:
    paths = document(board)["paths"]

    for path, operations in paths.items():
        wanted = path.startswith("/api/")
        for method, operation in operations.items():
            assert bool(operation.get("security")) is wanted
            url = board.url + path.replace("{what}", "rule")
            if path != "/api/v1/stream":
                answer = httpx.request(method, url, json={"minutes": 5})
                assert (answer.status_code == 401) is wanted
