"""Who is let in: tokens, how often, from where; and what is said to the others."""

import asyncio
import json
import stat
from collections.abc import MutableMapping
from pathlib import Path
from typing import Any

import pytest

from stream.board.board import tokens_of
from stream.board.guard import HEADERS, LONGEST_BODY, Guard, Rules, decoded_path
from stream.board.metrics import BoardMetrics
from stream.board.paths import ENCODED_SLASH
from stream.board.tokens import Principal, Tokens, add_token_line, new_token, read_tokens
from stream.errors import InvalidSetting
from stream.settings import load_settings
from stream.web.problems import Problem
from stream.web.rate_limit import RateLimit

Message = MutableMapping[str, Any]


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


class Asked:
    """What an application behind a guard sees, and what a client gets."""

    def __init__(self, tokens: Tokens | None = None, *, rate: float = 0.0) -> None:
        self.clock = Clock()
        self.seen: list[Message] = []
        self.bodies: list[bytes] = []
        rules = Rules(tokens, RateLimit(rate, self.clock), "https://board.example.com")
        self._guard = Guard(self._app, rules, BoardMetrics())

    async def _app(self, scope: Message, receive: Any, send: Any) -> None:
        self.seen.append(scope)
        self.bodies.append((await receive()).get("body", b""))
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"{}"})

    def __call__(
        self,
        path: str = "/api/v1/accounts",
        *,
        method: str = "GET",
        body: tuple[bytes, ...] = (b"",),
        client: str = "10.0.0.9",
        **headers: str,
    ) -> tuple[int, dict[str, str], Any]:
        given = {"host": "127.0.0.1:8321"} | headers
        scope: Message = {
            "type": "http",
            "method": method,
            "path": path,
            "raw_path": path.encode(),
            "query_string": b"",
            "scheme": "http",
            "client": (client, 1),
            "headers": [(k.replace("_", "-").encode(), v.encode()) for k, v in given.items()],
        }
        waiting = list(body)
        sent: list[Message] = []

        async def receive() -> Message:
            part = waiting.pop(0)
            return {"type": "http.request", "body": part, "more_body": bool(waiting)}

        async def send(message: Message) -> None:
            sent.append(message)

        asyncio.run(self._guard(scope, receive, send))
        found = {name.decode(): value.decode() for name, value in sent[0]["headers"]}
        return sent[0]["status"], found, json.loads(sent[1]["body"])


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "tokens"


def token_in(file: Path, name: str, role: Any = "reader") -> str:
    token, line = new_token(name, role)
    add_token_line(file, line)
    return token


def test_token_is_known_by_its_hash_alone(file: Path) -> None:
    token = token_in(file, "ann", "operator")

    assert token not in file.read_text()
    assert Tokens(file).principal(token) == Principal("ann", "operator")
    assert stat.S_IMODE(file.stat().st_mode) == 0o600


def test_two_tokens_differ() -> None:
    assert new_token("ann", "reader")[0] != new_token("ann", "reader")[0]


@pytest.mark.parametrize("token", ["", "x", "ä", "\ud800", "t" * 10_000])
def test_unknown_token_is_nobodys(file: Path, token: str) -> None:
    token_in(file, "ann")

    assert Tokens(file).principal(token) is None


@pytest.mark.parametrize(
    "line",
    [
        "ann",
        "ann:reader",
        f"ann:admin:{'0' * 64}",
        f"ann:reader:{'0' * 63}",
        f"ann:reader:{'Z' * 64}",
        f"two words:reader:{'0' * 64}",
        f":reader:{'0' * 64}",
    ],
)
def test_line_that_is_no_token_is_named(file: Path, line: str) -> None:
    file.write_text(f"# who may\n\n{line}\n")

    with pytest.raises(InvalidSetting, match=r"line 3: must be name:role:hash"):
        read_tokens(file)


def test_file_without_a_token_is_refused(file: Path) -> None:
    file.write_text("# nobody\n")

    with pytest.raises(InvalidSetting, match="holds no token"):
        read_tokens(file)


def test_name_is_given_once(file: Path) -> None:
    token_in(file, "ann")

    with pytest.raises(InvalidSetting, match="named ann"):
        token_in(file, "ann")


def test_line_is_added_behind_one_without_its_end(file: Path) -> None:
    file.write_text(new_token("bob", "reader")[1])

    token_in(file, "ann")

    assert [each.principal.name for each in read_tokens(file)] == ["bob", "ann"]


@pytest.mark.parametrize("name", ["", "a b", "a:b", "a" * 65, "ä"])
def test_name_that_a_line_cannot_hold_is_refused(name: str) -> None:
    with pytest.raises(InvalidSetting, match="Token name"):
        new_token(name, "reader")


def test_token_that_is_taken_out_of_the_file_counts_no_more(file: Path) -> None:
    old = token_in(file, "ann")
    tokens = Tokens(file)

    new, line = new_token("bob", "reader")
    file.write_text(f"{line}\n")
    tokens.look_again()

    assert tokens.principal(old) is None
    assert tokens.principal(new) == Principal("bob", "reader")


def test_file_that_cannot_be_read_leaves_all_as_it_was(file: Path) -> None:
    token = token_in(file, "ann")
    tokens = Tokens(file)

    file.write_text("nonsense")
    tokens.look_again()

    assert tokens.principal(token) is not None


def test_board_for_other_machines_wants_tokens(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SURGELINE_BOARD_TOKENS_FILE", raising=False)

    with pytest.raises(InvalidSetting, match="SURGELINE_BOARD_TOKENS_FILE") as refused:
        tokens_of(load_settings(board_host="0.0.0.0"))

    assert str(refused.value).count("\n") == 0
    assert tokens_of(load_settings(board_host="127.0.0.1")) is None


def test_request_without_a_token_is_told_to_bring_one(file: Path) -> None:
    token_in(file, "ann")

    status, headers, problem = Asked(Tokens(file))()

    assert status == 401
    assert headers["www-authenticate"].startswith("Bearer")
    assert headers["content-type"] == "application/problem+json"
    assert problem["status"] == 401


@pytest.mark.parametrize("scheme", ["Bearer", "bearer"])
def test_request_with_a_token_is_let_in(file: Path, scheme: str) -> None:
    token = token_in(file, "ann", "operator")
    ask = Asked(Tokens(file))

    assert ask(authorization=f"{scheme} {token}")[0] == 200
    assert ask.seen[0]["principal"] == Principal("ann", "operator")


@pytest.mark.parametrize(
    "given", ["{}", "Basic {}", "Bearer {}x", "Bearer", "Bearer  ", "Token {}"]
)
def test_anything_else_is_no_token(file: Path, given: str) -> None:
    token = token_in(file, "ann")

    assert Asked(Tokens(file))(authorization=given.format(token))[0] == 401


@pytest.mark.parametrize("path", ["/", "/static/style.css", "/healthz", "/openapi.json"])
def test_what_holds_no_data_wants_no_token(file: Path, path: str) -> None:
    token_in(file, "ann")

    assert Asked(Tokens(file))(path)[0] == 200


def test_without_tokens_everybody_is_operator() -> None:
    ask = Asked()

    assert ask()[0] == 200
    assert ask.seen[0]["principal"].is_operator


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:8321", "", "127.0.0.1.evil.example", "["]
)
def test_name_of_others_that_leads_here_is_refused(host: str) -> None:
    assert Asked()(host=host)[0] == 421


@pytest.mark.parametrize("host", ["localhost", "localhost:8321", "[::1]:8321", "board.example.com"])
def test_own_names_are_answered(host: str) -> None:
    assert Asked()(host=host)[0] == 200


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE"])
@pytest.mark.parametrize("origin", ["https://evil.example", "null", "http://127.0.0.1:9999"])
def test_page_of_another_site_changes_nothing(method: str, origin: str) -> None:
    assert Asked()(method=method, origin=origin)[0] == 403


@pytest.mark.parametrize(
    "origin", ["http://127.0.0.1:8321", "https://127.0.0.1:8321", "https://board.example.com"]
)
def test_own_page_may_change_things(origin: str) -> None:
    assert Asked()(method="POST", origin=origin)[0] == 200


def test_every_answer_has_the_secure_headers() -> None:
    ask = Asked()

    for answer in (ask(), ask(host="evil.example")):
        assert {name.decode(): value.decode() for name, value in HEADERS}.items() <= answer[
            1
        ].items()


def test_answers_of_the_api_are_not_stored() -> None:
    ask = Asked()

    assert ask()[1]["cache-control"] == "no-store"
    assert "cache-control" not in ask("/")[1]


def test_body_that_is_too_long_is_refused_however_it_comes() -> None:
    ask = Asked()

    said = ask(method="POST", content_length=str(LONGEST_BODY + 1))
    chunks = ask(method="POST", body=(b"x" * LONGEST_BODY, b"x"))
    nonsense = ask(method="POST", content_length="many")

    assert [said[0], chunks[0], nonsense[0]] == [413, 413, 413]
    assert not ask.seen


def test_body_arrives_whole() -> None:
    ask = Asked()

    ask(method="POST", body=(b'{"by":', b'"ann"}'))

    assert ask.bodies == [b'{"by":"ann"}']


def test_url_that_is_too_long_is_refused() -> None:
    assert Asked()("/" + "a" * 12_001)[0] == 414


def test_too_many_requests_wait() -> None:
    ask = Asked(rate=5.0)
    for _ in range(10):
        assert ask()[0] == 200

    status, headers, _ = ask()

    assert (status, headers["retry-after"]) == (429, "1")
    assert ask(client="10.0.0.8")[0] == 200
    assert ask("/healthz")[0] == 200
    ask.clock.now += 0.25
    assert ask()[0] == 200


def test_a_token_has_a_rate_of_its_own(file: Path) -> None:
    ann, bob = token_in(file, "ann"), token_in(file, "bob")
    ask = Asked(Tokens(file), rate=1.0)
    assert [ask(authorization=f"Bearer {ann}")[0] for _ in range(3)] == [200, 200, 429]

    assert ask(authorization=f"Bearer {bob}")[0] == 200
    assert ask()[0] == 401


@pytest.mark.parametrize(
    ("raw", "path"),
    [
        (b"/accounts/acme", "/accounts/acme"),
        (b"/accounts/a%2Fb", f"/accounts/a{ENCODED_SLASH}b"),
        (b"/accounts/a%2fb", f"/accounts/a{ENCODED_SLASH}b"),
        (b"/accounts/a%252Fb", "/accounts/a%2Fb"),
        (b"/accounts/stra%C3%9Fe", "/accounts/straße"),
        (b"/accounts/%FF", "/accounts/�"),
        (b"/accounts/%", "/accounts/%"),
    ],
)
def test_encoded_slash_is_told_from_one_that_parts_segments(raw: bytes, path: str) -> None:
    assert decoded_path(raw) == path


def test_problem_is_said_as_rfc_9457_has_it() -> None:
    problem = Problem(422, "Wrong.", errors=[{"where": "query.q", "problem": "is long"}])

    answer = problem.response()

    assert answer.media_type == "application/problem+json"
    assert json.loads(bytes(answer.body)) == {
        "type": "about:blank",
        "title": "Unprocessable Content",
        "status": 422,
        "detail": "Wrong.",
        "errors": [{"where": "query.q", "problem": "is long"}],
    }
