"""What the reading commands print of scores that a worker committed to a real Redis."""

import asyncio
import json
import time
from collections.abc import Iterator
from typing import Any

import pytest
import typer
from typer.testing import CliRunner, Result

from scoring.explain import explain
from scoring.fold import Account
from scoring.model import parse_model
from scoring.report import account_report, rfc3339
from stream.cli.main import create_app
from stream.embedded import EmbeddedServers, free_port
from stream.state_store import RedisStore
from tests.builders import default_rules
from tests.stored import Json, folded, meta, store_accounts
from tests.strategies import START

pytestmark = pytest.mark.embedded

DAY = 86_400
NEWEST = START + 40 * DAY
"""Event time of the newest event of `market`."""


def event(number: int, account_id: str, at: float, **fields: Any) -> Json:
    common = {"id": f"e{number}", "source": "test", "time": rfc3339(at), "account_id": account_id}
    return common | fields


def visit(number: int, account_id: str, at: float, path: str = "/pricing") -> Json:
    url = f"https://x.example{path}"
    return event(number, account_id, at, type="page_visit", url=url, duration_seconds=120)


def upsert(number: int, account_id: str, at: float, **fields: Any) -> Json:
    return event(number, account_id, at, type="account", action="upserted", target=True, **fields)


def market() -> dict[str, Account]:
    """Fold three targets, the newest event at NEWEST: acme surges, beta is engaged, idle is not."""
    events = [
        upsert(1, "acme", START, tier=1, owner_id="ann", name="Acme Corp"),
        upsert(2, "beta", START, tier=2, owner_id="bob"),
        upsert(3, "idle", START),
    ]
    events += [visit(10 + n, "acme", NEWEST - n * 3_600) for n in range(8)]
    events += [visit(30 + n, "beta", START + (n * 2 + 10) * DAY, "/docs") for n in range(12)]
    events.append(
        event(
            50,
            "beta",
            NEWEST - DAY,
            type="email",
            action="replied",
            direction="inbound",
            contact_id="cy",
        )
    )
    return folded(sorted(events, key=lambda each: str(each["time"])))


def crowd(size: int) -> dict[str, Account]:
    """Fold *size* accounts that all differ in every score."""
    events = []
    for n in range(size):
        account_id = f"account-{n:03}"
        at = START + n * 7_200
        events += [visit(n * 100 + v, account_id, at + v * 3_000) for v in range(n % 13)]
        events += [
            event(
                n * 100 + 50 + m,
                account_id,
                START + (n * 37 % 200) * 3_600 + m,
                type="email",
                action="replied",
                direction="inbound" if m % 2 else "outbound",
                contact_id=f"c{m % 3}",
            )
            for m in range(n % 7)
        ]
    return folded(events)


@pytest.fixture
def redis_url(embedded_servers: EmbeddedServers) -> Iterator[str]:
    yield embedded_servers.redis_url
    asyncio.run(emptied(embedded_servers.redis_url))


async def emptied(url: str) -> None:
    store = RedisStore(url)
    await store.erase()
    await store.close()


@pytest.fixture
def stored(redis_url: str) -> str:
    asyncio.run(store_accounts(redis_url, market()))
    return redis_url


def run(url: str, *arguments: str) -> Result:
    app: typer.Typer = create_app()
    runner = CliRunner(env={"COLUMNS": "160"})
    return runner.invoke(app, [arguments[0], "--redis-url", url, *arguments[1:]])


def rows(result: Result) -> list[Json]:
    assert result.exit_code == 0, result.stderr
    return [json.loads(line) for line in result.stdout.splitlines()]


def ids(result: Result) -> list[str]:
    return [row["account_id"] for row in rows(result)]


def test_top_lists_the_highest_engagement_first(stored: str) -> None:
    assert ids(run(stored, "top", "--json")) == ["acme", "beta"]


def test_top_prints_what_the_core_reports_in_full_precision(stored: str) -> None:
    accounts = market()

    found = rows(run(stored, "top", "--json"))

    expected = account_report(accounts["acme"].state, NEWEST, default_rules())
    assert found[0] == json.loads(json.dumps(expected))


def test_event_clock_reads_as_of_the_newest_event(stored: str) -> None:
    assert {row["as_of"] for row in rows(run(stored, "top", "--json"))} == {rfc3339(NEWEST)}
    assert rows(run(stored, "account", "idle", "--json"))[0]["as_of"] == rfc3339(NEWEST)


def test_wall_clock_reads_as_of_the_real_time(redis_url: str) -> None:
    asyncio.run(store_accounts(redis_url, market(), clock="wall"))
    before = rfc3339(time.time())

    found = rows(run(redis_url, "top", "--json"))

    assert before <= found[0]["as_of"] <= rfc3339(time.time())


def test_all_lists_accounts_of_which_only_a_record_is_known(stored: str) -> None:
    assert ids(run(stored, "top", "--all", "--json")) == ["acme", "beta", "idle"]


@pytest.mark.parametrize("score", ["engagement", "intent_surge", "relationship"])
def test_top_lists_the_head_of_all_accounts_sorted(redis_url: str, score: str) -> None:
    accounts = {i: a for i, a in crowd(90).items() if a.state.newest}
    asyncio.run(store_accounts(redis_url, accounts))
    whole = rows(run(redis_url, "top", "--all", "--by", score, "--json"))
    assert len(whole) == len(accounts)
    assert whole == sorted(whole, key=lambda row: (-row[score], row["account_id"]))

    head = rows(run(redis_url, "top", "--limit", "7", "--by", score, "--json"))

    assert head == whole[:7]


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [
        (["--tier", "1"], ["acme"]),
        (["--owner", "bob"], ["beta"]),
        (["--stage", "engaged"], ["acme", "beta"]),
        (["--stage", "target", "--all"], ["idle"]),
        (["--surging"], ["acme"]),
        (["--surging", "--tier", "2"], []),
    ],
)
def test_top_lists_only_the_accounts_wanted(
    stored: str, wanted: list[str], expected: list[str]
) -> None:
    assert ids(run(stored, "top", "--json", *wanted)) == expected


def test_later_time_decays_the_scores(stored: str) -> None:
    later = rfc3339(NEWEST + 14 * DAY)
    (now,) = rows(run(stored, "account", "acme", "--json"))

    (then,) = rows(run(stored, "account", "acme", "--json", "--as-of", later))

    assert then["as_of"] == later
    assert then["engagement_minutes"] == pytest.approx(now["engagement_minutes"] / 2, abs=1e-9)
    assert now["surging"]
    assert not then["surging"]


@pytest.mark.parametrize("command", [["top"], ["top", "--all"], ["account", "acme"], ["funnel"]])
def test_reading_before_the_newest_event_is_refused_as_a_whole(
    stored: str, command: list[str]
) -> None:
    result = run(stored, *command, "--json", "--as-of", rfc3339(NEWEST - 1))

    assert result.exit_code == 1
    assert result.stdout == ""
    assert result.stderr.startswith("surgeline: Account acme has an event at ")
    assert rfc3339(NEWEST) in result.stderr


def test_time_that_is_none_is_wrong_usage(stored: str) -> None:
    for text in ("yesterday", "2026-01-01T00:00:00"):
        assert run(stored, "top", "--as-of", text).exit_code == 2


def test_table_names_account_stage_and_reason(stored: str) -> None:
    result = run(stored, "top")

    assert result.exit_code == 0
    first = next(line for line in result.stdout.splitlines() if line.strip().startswith("acme"))
    assert "Acme Corp" in first
    assert "engaged" in first
    assert "pricing" in first
    assert "Surging on pricing" in result.stdout
    assert f"as of {rfc3339(NEWEST)}" in result.stdout


def test_narrow_table_stays_in_its_terminal(stored: str) -> None:
    result = CliRunner(env={"COLUMNS": "72"}).invoke(create_app(), ["top", "--redis-url", stored])

    assert max(map(len, result.stdout.splitlines())) <= 72
    assert "acme" in result.stdout


def test_unknown_account_is_named_in_one_line(stored: str) -> None:
    result = run(stored, "account", "nobody")

    assert result.exit_code == 1
    assert result.stderr == "surgeline: No account 'nobody' is stored.\n"


def test_names_cannot_steer_the_terminal(redis_url: str) -> None:
    evil = folded(
        [upsert(1, "evil\x1b[2J", START, name="\x1b]0;gone\x07"), visit(2, "evil\x1b[2J", START)]
    )
    asyncio.run(store_accounts(redis_url, evil))

    for command in (["top"], ["account", "evil\x1b[2J"], ["explain", "evil\x1b[2J"]):
        result = run(redis_url, *command)
        assert result.exit_code == 0, result.stderr
        assert "\x1b" not in result.stdout


def test_explain_prints_what_the_core_explains(stored: str) -> None:
    (found,) = rows(run(stored, "explain", "beta", "--json"))

    expected = explain(market()["beta"].state, NEWEST, default_rules())
    assert found == json.loads(json.dumps(expected))


def test_explanation_begins_with_sentences_and_its_parts_follow(stored: str) -> None:
    (found,) = rows(run(stored, "explain", "beta", "--json"))

    shown = run(stored, "explain", "beta").stdout

    assert found["because"][0] in shown
    order = [shown.index(title) for title in ("Because", "Engagement", "Intent surge", "Stage")]
    assert order == sorted(order)
    assert f"{found['engagement']['score']:.2f}" in shown


def test_account_shows_scores_and_reasons(stored: str) -> None:
    shown = run(stored, "account", "acme").stdout

    for text in ("Acme Corp", "engagement", "intent surge", "ann", "Because"):
        assert text in shown


def test_funnel_counts_accounts_per_stage_and_tier(stored: str) -> None:
    (found,) = rows(run(stored, "funnel", "--json"))

    assert list(found) == ["as_of", "stages", "tiers", "moves", "surging"]
    assert list(found["stages"].items())[:3] == [("target", 1), ("engaged", 2), ("opportunity", 0)]
    assert len(found["stages"]) == 6
    assert {t: row["engaged"] for t, row in found["tiers"].items()} == {"1": 1, "2": 1, "none": 0}
    assert found["moves"] == {"none>target": 3, "target>engaged": 2}
    assert found["surging"] == 1


def test_funnel_at_the_same_time_evaluates_to_what_was_counted(stored: str) -> None:
    counted = rows(run(stored, "funnel", "--json"))

    assert rows(run(stored, "funnel", "--json", "--as-of", rfc3339(NEWEST))) == counted


def test_funnel_at_a_later_time_counts_the_moves_until_then(stored: str) -> None:
    (found,) = rows(run(stored, "funnel", "--json", "--as-of", rfc3339(NEWEST + 300 * DAY)))

    assert found["stages"]["target"] == 3
    assert found["moves"]["engaged>target"] == 2
    assert found["surging"] == 0


def test_funnel_is_drawn(stored: str) -> None:
    shown = run(stored, "funnel").stdout

    assert "█" in shown
    assert "tier 1" in shown


def test_empty_redis_says_what_to_do(redis_url: str) -> None:
    asyncio.run(emptied(redis_url))

    result = run(redis_url, "top")

    assert result.exit_code == 1
    address = redis_url.removeprefix("redis://")
    assert result.stderr == (
        f"surgeline: Redis at {address} holds no Surgeline scores yet: start a worker, or "
        "`surgeline demo`.\n"
    )


def test_scores_of_another_model_are_not_read(stored: str, tmp_path: Any) -> None:
    other = tmp_path / "other.toml"
    other.write_text("[engagement]\nhalf_life_days = 7.0\n")

    result = run(stored, "top", "--model", str(other))

    assert result.exit_code == 1
    assert parse_model(other.read_text()).digest in result.stderr
    assert "--model" in result.stderr


def test_model_that_differs_in_thresholds_only_reads_the_same_scores(
    stored: str, tmp_path: Any
) -> None:
    other = tmp_path / "other.toml"
    other.write_text("[engagement]\nsaturation_minutes = 60.0\n")

    result = run(stored, "account", "acme", "--model", str(other), "--json")

    (ours,) = rows(run(stored, "account", "acme", "--json"))
    assert rows(result)[0]["engagement_minutes"] == ours["engagement_minutes"]
    assert rows(result)[0]["engagement"] < ours["engagement"]


def test_another_format_is_refused(redis_url: str) -> None:
    async def write() -> None:
        store = RedisStore(redis_url)
        await store.erase()
        await store.write_meta(meta() | {"format": 99})
        await store.close()

    asyncio.run(write())

    result = run(redis_url, "top")

    assert result.exit_code == 1
    assert "format 99" in result.stderr


def test_redis_that_is_away_is_one_line() -> None:
    result = run(f"redis://127.0.0.1:{free_port()}/0", "funnel")

    assert result.exit_code == 1
    assert result.stderr.startswith("surgeline: Redis does not answer")
    assert result.stderr.count("\n") == 1
