"""`surgeline score` and `surgeline model`: the core over files, without any server."""

import gzip
import json
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner, Result

from scoring.errors import Reason
from scoring.fold import Outcome
from scoring.funnel import NO_STAGE, STAGES
from scoring.model import default_model, parse_model
from scoring.report import account_report, rfc3339
from scoring.rules import Rules
from stream.cli.main import create_app
from stream.cli.options import Stage
from stream.offline import score_lines
from tests import oracle
from tests.builders import FAR_AHEAD, default_rules, fold_all
from tests.strategies import START, event, streams

Json = dict[str, Any]

HOUR = 3_600
REPOSITORY = Path(__file__).resolve().parents[2]
RECORDED = REPOSITORY.parent / "shared" / "data"


def visit(number: int, account_id: str | None = "acme", **fields: Any) -> Json:
    event: Json = {
        "id": f"e{number}",
        "source": "test",
        "type": "page_visit",
        "time": rfc3339(START + number * HOUR),
        "url": "https://x.example/pricing",
    }
    return event | ({} if account_id is None else {"account_id": account_id}) | fields


def lines_of(events: Sequence[Json | bytes]) -> bytes:
    lines = [each if isinstance(each, bytes) else json.dumps(each).encode() for each in events]
    return b"".join(line + b"\n" for line in lines)


def written(directory: Path, events: Sequence[Json | bytes], name: str = "events.jsonl") -> str:
    path = directory / name
    path.write_bytes(lines_of(events))
    return str(path)


def run(*arguments: str, stdin: bytes | None = None) -> Result:
    return CliRunner(env={"COLUMNS": "160"}).invoke(create_app(), arguments, input=stdin)


def reports(*arguments: str, stdin: bytes | None = None) -> list[Json]:
    result = run("score", "--json", *arguments, stdin=stdin)
    assert result.exit_code == 0, result.stderr
    return [json.loads(line) for line in result.stdout.splitlines()]


def test_every_account_is_printed_sorted_by_id(tmp_path: Path) -> None:
    found = reports(written(tmp_path, [visit(1, "b"), visit(2, "a"), visit(3, "c")]))

    assert [report["account_id"] for report in found] == ["a", "b", "c"]


def test_scores_are_those_of_the_fold_in_full_precision(tmp_path: Path) -> None:
    events = [visit(n) for n in range(5)]
    account, _ = fold_all(events)

    (found,) = reports(written(tmp_path, events))

    expected = account_report(account.state, START + 4 * HOUR, default_rules())
    assert found == json.loads(json.dumps(expected))


def test_newest_event_is_the_default_time_and_is_said_so(tmp_path: Path) -> None:
    path = written(tmp_path, [visit(9, "a"), visit(2, "b")])

    result = run("score", path, "--json")

    assert {json.loads(line)["as_of"] for line in result.stdout.splitlines()} == {
        rfc3339(START + 9 * HOUR)
    }
    assert f"as of {rfc3339(START + 9 * HOUR)}, the time of the newest event" in result.stderr


def test_events_after_the_time_asked_for_are_left_out(tmp_path: Path) -> None:
    events = [visit(n) for n in range(6)]
    path = written(tmp_path, events)

    (found,) = reports(path, "--as-of", rfc3339(START + 3 * HOUR))

    (expected,) = reports(written(tmp_path, events[:4], "first.jsonl"))
    assert found == expected
    assert found["events"] == 4


def test_scores_decay_until_the_time_asked_for(tmp_path: Path) -> None:
    path = written(tmp_path, [visit(0)])
    (now,) = reports(path)

    (then,) = reports(path, "--as-of", rfc3339(START + 14 * 24 * HOUR))

    assert then["engagement_minutes"] == pytest.approx(now["engagement_minutes"] / 2)


def test_files_count_in_the_order_given(tmp_path: Path) -> None:
    record: Json = {"type": "account", "action": "upserted", "target": True}
    one = written(tmp_path, [visit(1, owner_id="ann", **record)], "one.jsonl")
    two = written(tmp_path, [visit(1, id="other", owner_id="bob", **record)], "two.jsonl")

    assert reports(one, two)[0]["owner_id"] == "bob"
    assert reports(two, one)[0]["owner_id"] == "ann"


def test_gzip_is_read_whatever_its_name(tmp_path: Path) -> None:
    data = lines_of([visit(1)])
    for name in ("events.jsonl.gz", "events"):
        (tmp_path / name).write_bytes(gzip.compress(data))

        assert reports(str(tmp_path / name))[0]["events"] == 1


def test_standard_input_is_read_plain_and_gzipped() -> None:
    data = lines_of([visit(1), visit(2)])

    assert reports("-", stdin=data)[0]["events"] == 2
    assert reports("-", stdin=gzip.compress(data))[0]["events"] == 2


def test_summary_counts_records_by_outcome(tmp_path: Path) -> None:
    events: list[Json | bytes] = [
        visit(1),
        visit(1),
        visit(2, None),
        visit(3, None, type="spend", amount=5.0, currency="EUR", program="ads"),
        visit(24 * 60),
        visit(24),
        b"",
        b"not json",
    ]

    result = run("score", written(tmp_path, events), "--json")

    assert (
        "records: 3 scored, 1 duplicate, 0 unchecked, 1 too late, 1 unresolved, 1 dead; accounts: 1."
        in result.stderr
    )


def test_bad_records_are_counted_by_reason_with_the_place_of_the_first(tmp_path: Path) -> None:
    one = written(tmp_path, [visit(1), b"{", visit(2, url=7)], "one.jsonl")
    two = written(tmp_path, [b"[]", b"{", visit(3)], "two.jsonl")

    result = run("score", one, two, "--json")

    assert result.exit_code == 0
    assert f"bad records: 2 not_json, the first at {one}:2: " in result.stderr
    assert f"bad records: 1 wrong_type, the first at {one}:3: field url: " in result.stderr
    assert f"bad records: 1 not_an_object, the first at {two}:1: " in result.stderr
    assert json.loads(result.stdout)["events"] == 2


def test_record_larger_than_kafka_would_carry_is_bad(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SURGELINE_MAX_RECORD_BYTES", "1024")

    result = run("score", written(tmp_path, [visit(1), visit(2, junk="x" * 2_000)]))

    assert "1 too_large" in result.stderr


def test_event_ahead_of_the_wall_clock_is_bad(tmp_path: Path) -> None:
    ahead = visit(1, time=rfc3339(round(time.time()) + 3_600))

    assert "1 in_future" in run("score", written(tmp_path, [ahead])).stderr


def test_file_without_any_event_says_so_and_prints_nothing(tmp_path: Path) -> None:
    result = run("score", written(tmp_path, [b"", b"{"]), "--json")

    assert (result.exit_code, result.stdout) == (0, "")
    assert "no event could be read" in result.stderr


def test_file_that_is_not_there_is_one_line(tmp_path: Path) -> None:
    missing = str(tmp_path / "missing.jsonl")

    result = run("score", missing)

    assert result.exit_code == 1
    assert result.stderr == f"surgeline: {missing} cannot be read: No such file or directory.\n"


def test_gzip_that_breaks_off_is_an_error_and_not_a_smaller_result(tmp_path: Path) -> None:
    path = tmp_path / "cut.jsonl.gz"
    path.write_bytes(gzip.compress(lines_of([visit(n) for n in range(2_000)]))[:-200])

    result = run("score", str(path), "--json")

    assert (result.exit_code, result.stdout) == (1, "")
    assert "cut.jsonl.gz cannot be read" in result.stderr


@pytest.mark.parametrize("arguments", [["score"], ["score", "x", "--as-of", "soon"], ["sing"]])
def test_wrong_usage_ends_with_exit_code_2(arguments: list[str]) -> None:
    assert run(*arguments).exit_code == 2


def test_table_shows_the_best_accounts_and_how_many_there_are(tmp_path: Path) -> None:
    events = [visit(n, f"account-{n % 9}") for n in range(40)]

    result = run("score", written(tmp_path, events), "--limit", "3")

    assert result.exit_code == 0
    assert "account-3" in result.stdout
    assert "account-8" not in result.stdout
    assert "3 of 9 accounts as of" in result.stdout


def test_other_model_changes_the_scores(tmp_path: Path) -> None:
    model = tmp_path / "model.toml"
    model.write_text("[engagement]\nsaturation_minutes = 60.0\n")
    path = written(tmp_path, [visit(1)])

    assert reports(path, "--model", str(model))[0]["engagement"] < reports(path)[0]["engagement"]


def of_beta(given: Json) -> Json:
    """Return the event as of another account, and of other people."""
    found = given | {"account_id": "beta"}
    if "contact_id" in given:
        found["contact_id"] = f"b-{given['contact_id']}"
    if "attendee_ids" in given:
        found["attendee_ids"] = [f"b-{each}" for each in given["attendee_ids"]]
    return found


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(streams(), streams(max_size=20), st.floats(0, 50))
def test_scores_equal_the_direct_sums_of_the_reference(
    ours: list[Json], theirs: list[Json], later_days: float
) -> None:
    events = [of_beta(each) for each in theirs] + ours
    run = score_lines(
        [json.dumps(each).encode() for each in events],
        rules=default_rules(),
        as_of=None,
        now=FAR_AHEAD,
    )
    if run.as_of is None:
        return
    now = run.as_of + later_days * 86_400

    expected = oracle.score(events, now)

    assert run.accounts.keys() == expected.keys()
    for account_id, account in run.accounts.items():
        report = account_report(account.state, now, default_rules())
        for name in ("engagement", "engagement_minutes", "intent_surge", "relationship"):
            assert report[name] == pytest.approx(expected[account_id][name], abs=1e-9), name
        for name in ("surging", "contacts", "stage", "target", "tier", "owner_id", "events"):
            assert report[name] == expected[account_id][name], name


def test_run_keeps_nothing_that_grows_with_the_events() -> None:
    lines = (json.dumps(visit(n)).encode() for n in range(0, 24 * 60, 3))

    run = score_lines(lines, rules=default_rules(), as_of=None, now=FAR_AHEAD)

    account = run.accounts["acme"]
    assert account.live.announced == []
    assert account.seen.fresh == {}
    assert len(account.seen.days) <= 3
    assert run.transitions["surge_started", "pricing"] >= 1


def test_run_counts_outcomes_and_reasons() -> None:
    lines = lines_of([visit(1), visit(1), b"{", visit(2, None)]).splitlines()

    run = score_lines(lines, rules=default_rules(), as_of=None, now=FAR_AHEAD)

    assert run.outcomes == {
        Outcome.SCORED: 1,
        Outcome.DUPLICATE: 1,
        Outcome.DEAD: 1,
        Outcome.UNRESOLVED: 1,
    }
    assert run.dead == {Reason.NOT_JSON: 1}
    assert run.examples[Reason.NOT_JSON].line == 3


def test_default_model_is_the_same_as_default() -> None:
    result = run("model", "check")

    assert result.exit_code == 0
    expected = f"model default is valid, digest {default_model().digest}, the same as default.\n"
    assert result.stdout == expected


def test_model_check_names_what_differs_from_the_default(tmp_path: Path) -> None:
    model = tmp_path / "ours.toml"
    model.write_text(
        'name = "ours"\n[engagement]\nhalf_life_days = 7.0\n[pages.value]\nhigh = 4.0\n'
    )

    result = run("model", "check", str(model))

    assert result.exit_code == 0
    assert result.stdout.startswith("model ours is valid, digest ")
    assert "engagement.half_life_days (14.0 -> 7.0)" in result.stdout
    assert "pages.value.high (3.0 -> 4.0)" in result.stdout
    assert "reset --replay" in result.stdout


def test_model_check_tells_what_is_wrong_in_one_line(tmp_path: Path) -> None:
    model = tmp_path / "bad.toml"
    for text, wrong in (
        ("[engagement]\nhalf_life_days = -1\n", "engagement.half_life_days"),
        ("[engagement\n", "not valid TOML"),
        ("speed = 3\n", "speed"),
    ):
        model.write_text(text)

        result = run("model", "check", str(model))

        assert result.exit_code == 1
        assert result.stderr.startswith("surgeline: ")
        assert result.stderr.count("\n") == 1
        assert wrong in result.stderr


def test_model_show_prints_a_model_that_is_the_default(tmp_path: Path) -> None:
    shown = run("model", "show").stdout
    copy = tmp_path / "copy.toml"
    copy.write_text(shown)

    assert "the same as default" in run("model", "check", str(copy)).stdout


def test_stages_to_choose_from_are_those_of_the_funnel() -> None:
    assert [stage.value for stage in Stage] == [*STAGES, NO_STAGE]


def test_help_names_every_command() -> None:
    shown = run("--help").stdout

    for command in ("score", "top", "account", "explain", "funnel", "topics", "reset", "exporter"):
        assert command in shown


@pytest.mark.skipif(not RECORDED.is_dir(), reason="the recorded data is not here")
def test_recorded_emails_score_as_the_reference_does() -> None:
    accounts = RECORDED / "w3c-accounts.jsonl"
    emails = RECORDED / "w3c-emails.jsonl.gz"
    as_of = "2001-06-01T00:00:00Z"

    found = {
        each["account_id"]: each for each in reports(str(accounts), str(emails), "--as-of", as_of)
    }

    wanted = {account_id for number, account_id in enumerate(sorted(found)) if number % 40 == 0}
    with gzip.open(emails) as file:
        lines = [*accounts.read_bytes().splitlines(), *file]
    events = [event for event in map(json.loads, lines) if event["account_id"] in wanted]
    expected = oracle.score(events, 991_353_600.0)
    assert len(found) >= 750
    assert expected.keys() == wanted
    for account_id, theirs in expected.items():
        for name in ("engagement", "engagement_minutes", "relationship"):
            assert found[account_id][name] == pytest.approx(theirs[name], abs=1e-9)
        assert found[account_id]["stage"] == theirs["stage"]


def started(*arguments: str) -> "subprocess.Popen[bytes]":
    return subprocess.Popen(
        [sys.executable, "-m", "stream.cli.main", *arguments],
        cwd=REPOSITORY,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )


def test_reader_that_goes_away_is_no_traceback(tmp_path: Path) -> None:
    events = [visit(n, f"account-{n}") for n in range(2_000)]
    process = started("score", "--json", written(tmp_path, events))
    assert process.stdout is not None
    assert process.stderr is not None

    process.stdout.readline()
    process.stdout.close()

    log = process.stderr.read().decode()
    process.wait(timeout=30)
    assert all(line.startswith("surgeline: ") for line in log.splitlines()), log


def test_interrupt_ends_with_exit_code_130() -> None:
    process = started("score", "-")
    assert process.stdin is not None

    # More than a pipe holds: once it is written, the command is reading.
    process.stdin.write(lines_of([visit(n) for n in range(2_000)]))
    process.send_signal(signal.SIGINT)

    _, log = process.communicate(timeout=30)
    assert (process.returncode, log) == (130, b"")


def test_person_of_another_account_than_before_leaves_the_former_one() -> None:
    def of(account_id: str, type_: str, day: float, **fields: Any) -> Json:
        return event(type_, day, **({"account_id": account_id, "contact_id": "ann"} | fields))

    events = [
        of("old", "contact", 1, action="upserted"),
        of("old", "email", 2, action="sent", direction="inbound"),
        of("new", "contact", 3, action="upserted"),
    ]
    lines = [json.dumps(each).encode() for each in events]

    rules = Rules.of(parse_model("[contacts]\non_move = 'take_along'"))
    run = score_lines(lines, rules=rules, as_of=None, now=FAR_AHEAD)

    assert run.accounts["old"].state.contacts["ann"].removed
    assert not run.accounts["new"].state.contacts["ann"].removed


def test_account_that_was_merged_is_no_row_of_the_scores() -> None:
    events = [
        event("page_visit", 1, url="https://x.example/", account_id="old"),
        event("account", 2, action="removed", merged_into="new", account_id="old"),
    ]
    lines = [json.dumps(each).encode() for each in events]

    run = score_lines(lines, rules=default_rules(), as_of=None, now=FAR_AHEAD)

    assert list(run.standing()) == ["new"]
    assert run.accounts["new"].state.events == 1
