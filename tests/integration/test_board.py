"""The board beside a worker: what it answers is what is stored, and follows what happens."""

import datetime as dt
import itertools
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import pytest

from tests.board_process import Board, event_stream
from tests.integration.worker_kit import Place, Servers, record_of
from tests.system.harness import Json, eventually

SECONDS = 20.0
ODD_ID = "a/b %2F/explain ü?#"

numbers = itertools.count(1_000)


class Market(NamedTuple):
    """A place with scored accounts, a worker and a board."""

    place: Place
    board: Board

    def tell(self, *events: Json) -> None:
        """Produce *events* and return once they are scored."""
        self.place.wait_scored(self.place.produce(map(record_of, events)))


def hours_ago(hours: float) -> str:
    return (dt.datetime.now(dt.UTC) - dt.timedelta(hours=hours)).isoformat()


def event(account_id: str, hours: float, **fields: Any) -> Json:
    common = {"id": f"e{next(numbers)}", "source": "test", "time": hours_ago(hours)}
    return common | {"account_id": account_id} | fields


def upsert(account_id: str, **fields: Any) -> Json:
    return event(account_id, 200, type="account", action="upserted", target=True, **fields)


def visit(account_id: str, hours: float, page: str = "pricing", **fields: Any) -> Json:
    url = f"https://x.example/{page}"
    return event(account_id, hours, type="page_visit", url=url, duration_seconds=90, **fields)


def mail(account_id: str, hours: float, direction: str) -> Json:
    fields = {"action": "sent", "direction": direction, "contact_id": "ann"}
    return event(account_id, hours, type="email", **fields)


def told() -> list[list[Json]]:
    """Return what the CRM knows, then what happened: between topics there is no order."""
    deal: Json = {"type": "opportunity", "opportunity_id": "o1", "kind": "new"}
    records = [
        upsert(
            "acme",
            name="Acme Inc",
            tier=1,
            owner_id="rep-1",
            owner_email="rep1@example.com",
            domains=["acme.example"],
            employees=250,
        ),
        upsert("beta", name="Beta AG", tier=2, owner_id="rep-2"),
        upsert("gamma", name="Gamma", tier=2, owner_id="rep-1"),
        upsert(ODD_ID, name="Odd"),
        upsert("idle", name="Idle"),
        event("acme", 190, type="contact", action="upserted", contact_id="ann", seniority="vp"),
    ]
    happened = [
        *(visit("acme", 100 - n, contact_id="ann") for n in range(8)),
        mail("acme", 60, "outbound"),
        mail("acme", 50, "inbound"),
        *(visit("beta", 150 - n, "docs/api") for n in range(2)),
        visit("gamma", 30, "product"),
        visit(ODD_ID, 40, "docs"),
        event("gamma", 20, action="opened", **deal),
    ]
    return [records, happened]


def all_shown(board: Board) -> bool:
    """Tell whether the board shows all that was told: it follows the shards one by one."""
    happened = Counter(each["account_id"] for each in told()[1] if each["type"] != "opportunity")
    rows = board.json("/accounts")["accounts"]
    shown = {row["account_id"]: row["events"] for row in rows if row["events"]}
    return shown == happened and board.json("/accounts", stage="opportunity")["total"] == 1


@pytest.fixture(scope="module")
def market(servers: Servers, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Market]:
    """Give a market that tests may add to, each by accounts of its own."""
    directory = tmp_path_factory.mktemp("board")
    settings = {"SURGELINE_CLOCK": "wall", "SURGELINE_BOARD_RATE": "0"}
    with Place(servers, directory, **settings) as place:
        place.ready_worker()
        with Board(place.environment(), directory / "board.log") as board:
            found = Market(place, board.wait_ready())
            for each in told():
                found.tell(*each)
            assert eventually(lambda: all_shown(board), within_seconds=SECONDS)
            yield found


def listed(board: Board, **query: Any) -> list[str]:
    return [each["account_id"] for each in board.json("/accounts", **query)["accounts"]]


def unlike(row: Json, stored: Json) -> list[str]:
    """Return in what a row differs from what `surgeline top` prints of its account."""
    scores = ("engagement", "intent_surge", "relationship", "engagement_minutes")
    facts = ("stage", "tier", "owner_id", "target", "surging", "events", "last_event_at")
    found = [name for name in scores if row[name] != pytest.approx(stored[name], abs=0.01)]
    return found + [name for name in facts if row[name] != stored[name]]


def test_accounts_are_those_that_are_stored_with_the_scores_of_now(market: Market) -> None:
    expected = {each["account_id"]: each for each in market.place.answer("top", "--all")}

    def differences() -> Json:
        page = market.board.json("/accounts", limit=200)
        assert page["total"] == len(expected)
        rows = {each["account_id"]: each for each in page["accounts"]}
        return {name: wrong for name in expected if (wrong := unlike(rows[name], expected[name]))}

    eventually(lambda: not differences(), within_seconds=SECONDS)
    assert differences() == {}


def test_accounts_are_sorted_by_the_score_asked_for(market: Market) -> None:
    for sort in ("engagement", "intent_surge", "relationship"):
        rows = market.board.json("/accounts", sort=sort)["accounts"]
        scores = [row[sort] for row in rows]
        assert scores == sorted(scores, reverse=True)
    latest = listed(market.board, sort="last_event_at")
    assert latest[0] == "gamma"


def test_accounts_are_filtered_and_searched(market: Market) -> None:
    board = market.board

    assert listed(board, q="beta ag") == ["beta"]
    assert listed(board, q="ACME.EXAMPLE") == ["acme"]
    assert sorted(listed(board, owner="rep-1")) == ["acme", "gamma"]
    assert sorted(listed(board, tier=2)) == ["beta", "gamma"]
    assert listed(board, stage="opportunity") == ["gamma"]
    assert "acme" in listed(board, surging="true")
    assert "idle" in listed(board, surging="false")
    assert listed(board, q="nobody of this name") == []


def test_pages_contain_every_account_once(market: Market) -> None:
    found: list[str] = []
    query: Json = {"limit": 2, "owner": "rep-1"}
    while True:
        page = market.board.json("/accounts", **query)
        found += [each["account_id"] for each in page["accounts"]]
        if page["next"] is None:
            break
        query["cursor"] = page["next"]

    assert found == listed(market.board, owner="rep-1")


def test_cursor_of_another_list_is_a_problem(market: Market) -> None:
    cursor = market.board.json("/accounts", limit=1)["next"]

    answer = market.board.get(f"/api/v1/accounts?limit=1&tier=1&cursor={cursor}")

    assert answer.status_code == 422
    assert answer.headers["content-type"] == "application/problem+json"


def test_row_says_why_it_is_there_and_how_it_came(market: Market) -> None:
    (row,) = market.board.json("/accounts", q="acme")["accounts"]

    (first,) = market.place.answer("explain", "acme")
    assert row["reason"] == first["because"][0]
    assert row["name"] == "Acme Inc"
    assert len(row["sparkline"]) == 28
    assert row["sparkline"][-1] == pytest.approx(row["engagement"], abs=0.1)
    assert row["alert"]["account_id"] == "acme"


def test_account_shows_people_history_touches_and_what_the_crm_knows(market: Market) -> None:
    found = market.board.json("/accounts/acme")

    assert found["owner_email"] == "rep1@example.com"
    assert found["employees"] == 250
    assert found["domains"] == ["acme.example"]
    (ann,) = found["contacts"]
    assert (ann["contact_id"], ann["seniority"], ann["direction"]) == ("ann", "vp", "mutual")
    assert 0 < ann["strength"] < 1
    assert found["contacts_total"] == 1
    assert [each["channel"] for each in found["touches"][:3]] == ["email", "email", "page_visit"]
    assert found["touches"] == sorted(found["touches"], key=lambda t: t["time"], reverse=True)
    assert found["alerts"][0]["account_id"] == "acme"


def test_history_ends_with_the_scores_of_now_and_has_no_holes(market: Market) -> None:
    found = market.board.json("/accounts/acme")

    today = dt.datetime.now(dt.UTC).date()
    days = [dt.date.fromisoformat(each["day"]) for each in found["history"]]
    assert days == [today - dt.timedelta(days=n) for n in range(90, -1, -1)]
    last = found["history"][-1]
    for name in ("engagement", "intent_surge", "relationship"):
        assert last[name] == found[name]
        known = [each[name] is not None for each in found["history"]]
        assert known == sorted(known)
    assert sum(each["engagement"] is not None for each in found["history"]) >= 8


def test_opportunities_show_where_they_stand(market: Market) -> None:
    (deal,) = market.board.json("/accounts/gamma")["opportunities"]

    assert (deal["opportunity_id"], deal["kind"], deal["state"]) == ("o1", "new", "open")


def test_account_of_any_name_is_found(market: Market) -> None:
    from urllib.parse import quote

    path = quote(ODD_ID, safe="")

    assert market.board.json(f"/accounts/{path}")["name"] == "Odd"
    assert market.board.json(f"/accounts/{path}/explain")["account_id"] == ODD_ID
    assert market.board.get(f"/accounts/{path}").headers["content-type"].startswith("text/html")


def test_explanation_is_that_of_the_command(market: Market) -> None:
    found = market.board.json("/accounts/beta/explain")

    (expected,) = market.place.answer("explain", "beta")
    assert found["because"] == expected["because"]
    assert list(found) == list(expected)
    assert found["engagement"]["score"] == pytest.approx(expected["engagement"]["score"], abs=0.01)


@pytest.mark.parametrize("path", ["/accounts/nobody", "/accounts/nobody/explain"])
def test_account_that_is_not_stored_is_a_problem(market: Market, path: str) -> None:
    answer = market.board.get(f"/api/v1{path}")

    assert answer.status_code == 404
    assert answer.json()["detail"] == "No account 'nobody' is stored."


def test_funnel_counts_what_the_command_counts(market: Market) -> None:
    found = market.board.json("/funnel")

    (expected,) = market.place.answer("funnel")
    assert found["stages"] == expected["stages"]
    assert found["tiers"] == expected["tiers"]
    assert found["moves"]["total"] == expected["moves"]
    assert found["surging"] == expected["surging"]


def test_moves_of_the_last_days_are_those_of_their_dates(market: Market) -> None:
    moves = market.board.json("/funnel")["moves"]

    assert moves["last_7_days"]["target>engaged"] >= 1
    assert moves["last_30_days"]["none>target"] >= 5
    assert "none>target" not in moves["last_7_days"]


def test_owners_are_listed(market: Market) -> None:
    assert {"rep-1", "rep-2"} <= set(market.board.json("/owners")["owners"])


def test_session_says_who_asks(market: Market) -> None:
    found = market.board.json("/session")

    assert (found["role"], found["name"], found["clock"]) == ("operator", "local", "wall")


def test_what_happens_shows_in_the_list_within_seconds(market: Market) -> None:
    market.tell(upsert("fresh", name="Fresh Ltd"), visit("fresh", 0.01, contact_id="cy"))

    def shown() -> bool:
        rows = market.board.json("/accounts", q="fresh ltd")["accounts"]
        return bool(rows) and rows[0]["events"] == 1 and "cy" in rows[0]["reason"].lower()

    assert eventually(shown, within_seconds=SECONDS)


def test_stream_tells_of_scores_and_alerts_as_they_happen(market: Market) -> None:
    market.tell(upsert("live", name="Live Ltd"))
    with ThreadPoolExecutor(1) as threads, event_stream(market.board, account="live") as events:
        assert next(events)[0] == "beat"
        threads.submit(market.tell, visit("live", 0.001, contact_id="dee"))

        scores: list[Json] = []
        rules: list[str] = []
        for name, data in events:
            fact = msgspec.json.decode(data)
            if name == "scores":
                scores.append(fact)
            elif name == "alert":
                rules.append(fact["rule"])
            if scores and scores[-1]["engagement"] > 0 and "high_value_page" in rules:
                break

    assert {each["account_id"] for each in scores} == {"live"}


def alerts_of(board: Board, account_id: str, **query: Any) -> list[Json]:
    found: list[Json] = board.json("/alerts", account=account_id, **query)["alerts"]
    return found


@pytest.fixture
def alerting(market: Market, request: pytest.FixtureRequest) -> str:
    """Give an account of its own with an alert of now."""
    account_id = f"alert-{request.node.name[:60]}"
    market.tell(upsert(account_id, owner_id="rep-9"))
    market.tell(visit(account_id, 0.001))
    found = eventually(
        lambda: alerts_of(market.board, account_id, rule="high_value_page"), within_seconds=SECONDS
    )
    assert found
    return account_id


def test_acknowledged_alert_stays_so_for_other_boards(
    market: Market, alerting: str, tmp_path: Path
) -> None:
    board = market.board
    (alert,) = alerts_of(board, alerting, rule="high_value_page")
    assert alert["acknowledged"] is None

    answer = board.client.post(f"/api/v1/alerts/{alert['id']}/acknowledge", json={"by": "ann"})

    assert answer.status_code == 200
    assert answer.json()["acknowledged"]["by"] == "ann"
    taken = alerts_of(board, alerting, acknowledged=True)
    assert [each["id"] for each in taken] == [alert["id"]]
    with Board(market.place.environment(), tmp_path / "second.log") as second:
        second.wait_ready()
        assert [e["id"] for e in alerts_of(second, alerting, acknowledged=True)] == [alert["id"]]


def test_acknowledgement_may_be_taken_back(market: Market, alerting: str) -> None:
    (alert,) = alerts_of(market.board, alerting, rule="high_value_page")
    path = f"/api/v1/alerts/{alert['id']}/acknowledge"
    acknowledged = market.board.client.post(path).json()
    assert acknowledged["acknowledged"]["by"] == "local"

    answer = market.board.client.delete(path)

    assert answer.json()["acknowledged"] is None
    assert alerts_of(market.board, alerting, rule="high_value_page", acknowledged=False)


def test_unknown_alert_cannot_be_acknowledged(market: Market) -> None:
    answer = market.board.client.post(f"/api/v1/alerts/{'0' * 32}/acknowledge")

    assert answer.status_code == 404


def test_today_begins_with_fresh_alerts_and_says_what_to_do(market: Market, alerting: str) -> None:
    rows = market.board.json("/today", owner="rep-9", limit=200)["accounts"]

    row = next(each for each in rows if each["account_id"] == alerting)
    assert row["alerts"][0]["account_id"] == alerting
    assert row["next_step"] == "Call while they are reading, and ask what they compare."


def test_muted_account_is_nothing_for_today_until_it_is_lifted(
    market: Market, alerting: str
) -> None:
    def alerts_today() -> list[Json]:
        rows = market.board.json("/today", owner="rep-9", limit=200)["accounts"]
        return next((each["alerts"] for each in rows if each["account_id"] == alerting), [])

    assert alerts_today()
    path = f"/api/v1/mutes/account/{alerting}"
    muted = market.board.client.put(path, json={"minutes": 60})
    assert muted.status_code == 200, muted.text
    assert alerting in [each["name"] for each in market.board.json("/mutes")["mutes"]]
    assert not alerts_today()

    assert market.board.client.delete(path).status_code == 204

    assert alerts_today()
    assert alerting not in [each["name"] for each in market.board.json("/mutes")["mutes"]]


@pytest.mark.parametrize(
    ("path", "body", "status"),
    [
        ("rule/no_such_rule", {"minutes": 5}, 404),
        ("account/nobody", {"minutes": 5}, 404),
        ("owner/acme", {"minutes": 5}, 422),
        ("rule/surge_started", {"minutes": 0}, 422),
        ("rule/surge_started", {"minutes": 43_201}, 422),
        ("rule/surge_started", {"minutes": 1.5}, 422),
        ("rule/surge_started", {}, 422),
        ("rule/surge_started", {"minutes": 5, "for": "ever"}, 422),
    ],
)
def test_mute_that_makes_no_sense_is_a_problem(
    market: Market, path: str, body: Json, status: int
) -> None:
    answer = market.board.client.put(f"/api/v1/mutes/{path}", json=body)

    assert answer.status_code == status
    assert answer.json()["status"] == status


@pytest.mark.parametrize(
    "query",
    [
        "limit=0",
        "limit=201",
        "tier=4",
        "stage=won",
        "sort=name",
        "surging=maybe",
        "page=2",
        "q=" + "x" * 201,
    ],
)
def test_query_that_is_out_of_bounds_is_a_problem(market: Market, query: str) -> None:
    answer = market.board.get(f"/api/v1/accounts?{query}")

    assert answer.status_code == 422
    assert answer.json()["errors"][0]["where"] == f"query.{query.partition('=')[0]}"


def test_metrics_count_requests_by_route_and_name_no_account(market: Market) -> None:
    market.board.get("/api/v1/accounts/acme")

    text = market.board.get("/metrics").text

    route = 'method="GET",route="/api/v1/accounts/{account_id}",status="200"'
    assert f"surgeline_board_requests_total{{{route}}}" in text
    assert "acme" not in text
    assert "surgeline_board_ready 1.0" in text


@pytest.mark.parametrize("path", ["/", "/funnel", "/accounts/acme"])
def test_pages_are_served_and_checked_by_their_tag(market: Market, path: str) -> None:
    page = market.board.get(path)

    assert page.status_code == 200
    assert page.headers["content-type"].startswith("text/html")
    assert "default-src 'self'" in page.headers["content-security-policy"]
    again = market.board.get(path, **{"If-None-Match": page.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")


def test_every_file_that_a_page_names_is_there(market: Market) -> None:
    import re

    for path in ("/", "/funnel", "/accounts/acme"):
        named = re.findall(r'(?:href|src)="(/static/[^"]+)"', market.board.get(path).text)
        assert named
        for each in named:
            assert market.board.get(each).status_code == 200, each


@pytest.mark.parametrize(
    "path", ["/static/", "/static/..%2f__init__.py", "/static/%2e%2e/board.py", "/docs"]
)
def test_what_is_no_file_of_the_page_is_not_served(market: Market, path: str) -> None:
    answer = market.board.get(path)

    assert answer.status_code == 404
    assert answer.headers["content-type"] == "application/problem+json"


def test_method_that_a_path_does_not_have_is_a_problem(market: Market) -> None:
    answer = market.board.client.post("/api/v1/accounts")

    assert answer.status_code == 405
    assert answer.json()["title"] == "Method Not Allowed"
    assert answer.headers["allow"] == "GET"
