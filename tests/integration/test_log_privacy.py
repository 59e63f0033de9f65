"""Logs of worker, notifier and board: nothing personal of a record above level debug."""

import json
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from stream.routing import shard_of
from tests.alerts import raw_alert
from tests.board_process import Board
from tests.integration.conftest import KAFKA_ONLY
from tests.integration.notifier_kit import (
    HASTY,
    Answer,
    Receiver,
    receiving,
    start_notifier,
    wait_drained,
    webhook,
    write_routes,
)
from tests.integration.worker_kit import PARTITIONS, Place, Sent, Servers, record_of
from tests.system.harness import Json, eventually

pytestmark = KAFKA_ONLY

PERSON = "zyxperson"
"""Part of everything personal that is sent; no word of ours."""
ACCOUNT = "acme"
TIME = "2026-01-05T10:00:00Z"
ANSWERED_SECONDS = 30.0

PERSONAL: Json = {
    "contact_id": f"{PERSON}-id",
    "anonymous_id": f"{PERSON}-visitor",
    "email": f"{PERSON}@example.com",
}


def event(number: int, **fields: object) -> Json:
    common: Json = {"id": f"e{number}", "source": "test", "time": TIME, "account_id": ACCOUNT}
    return common | PERSONAL | fields


def good() -> list[Json]:
    """Return records of every type that tells of a person."""
    mail = {"type": "email", "direction": "inbound", "subject": f"Re: {PERSON}"}
    return [
        event(
            1,
            type="account",
            action="upserted",
            target=True,
            tier=1,
            name=f"{PERSON} Inc",
            owner_id=f"{PERSON}-rep",
            owner_email=f"{PERSON}-rep@example.com",
        ),
        event(2, type="contact", action="upserted", name=PERSON, role=PERSON, seniority="vp"),
        event(
            3,
            type="page_visit",
            url=f"https://x.example/pricing?mail={PERSON}",
            referrer=f"https://y.example/{PERSON}",
            user_agent=PERSON,
            ip="203.0.113.77",
            duration_seconds=500,
        ),
        event(4, action="replied", rep_id=f"{PERSON}-rep", **mail),
        event(5, type="chat", action="started", conversation_id=PERSON, direction="inbound"),
        event(6, type="meeting", action="held", meeting_id=PERSON, attendee_ids=[f"{PERSON}-id"]),
        event(7, type="identify"),
        event(8, type="survey", kind="nps", score=9),
        event(9, action="replied", **mail, time="2025-01-05T10:00:00Z"),  # too late
        event(4, action="replied", rep_id=f"{PERSON}-rep", **mail),  # a repeat
    ]


def bad() -> list[Sent]:
    """Return records that break the contract in every way that quotes tempt to."""
    key = ACCOUNT.encode()
    broken: list[object] = [
        event(20, type=PERSON),
        event(21, type="email", action=PERSON, direction="inbound"),
        event(22, type="email", action="sent", direction=PERSON),
        event(23, type="email", action="sent", direction="inbound", time=PERSON),
        event(24, type="email", action="sent", direction="inbound", time="2999-01-01T00:00:00Z"),
        event(25, type="email", action="sent", direction="inbound", contact_id=[PERSON]),
        event(26, type="email", action="sent", direction="inbound", subject=PERSON * 200),
        event(27, type="email", action="sent", direction="inbound", source=None),
        [PERSON],
        PERSON,
    ]
    sent = [Sent("emails", json.dumps(each).encode(), key) for each in broken]
    sent.append(Sent("emails", f'{{"email": "{PERSON}'.encode(), key))
    sent.append(Sent("emails", f"\xff{PERSON}".encode("latin-1"), key))
    nobody = event(30, type="email", action="sent", direction="inbound")
    del nobody["account_id"]
    sent.append(Sent("emails", json.dumps(nobody).encode(), PERSON.encode()))  # unresolved
    stray = event(31, type="email", action="sent", direction="inbound")
    elsewhere = (shard_of(ACCOUNT, PARTITIONS) + 1) % PARTITIONS
    return [*sent, Sent("emails", json.dumps(stray).encode(), PERSON.encode(), elsewhere)]


def alerts() -> list[Sent]:
    """Return alerts, and records among them that are none."""
    partition = shard_of(ACCOUNT, PARTITIONS)
    personal = {"account_name": PERSON, "owner_email": f"{PERSON}@example.com", "owner_id": PERSON}
    told = [
        raw_alert(ACCOUNT, number, sentence=f"{PERSON} looks.", **personal) for number in (1, 2)
    ]
    wrong = [b"{", json.dumps({"id": PERSON, "rule": [PERSON]}).encode(), PERSON.encode()]
    return [Sent("alerts", each, ACCOUNT.encode(), partition) for each in [*told, *wrong]]


@pytest.fixture
def refusing() -> Iterator[Receiver]:
    """Give an endpoint that takes nothing, for good or for now."""
    with receiving(lambda number, _: Answer(400 if number % 2 else 500)) as hook:
        yield hook


def test_worker_and_board_name_no_person(servers: Servers, tmp_path: Path) -> None:
    log = tmp_path / "board.log"
    with Place(servers, tmp_path, SURGELINE_LOG_LEVEL="info") as place:
        worker = place.ready_worker(SURGELINE_DEAD_LETTER_SHARE="0")
        with Board(place.environment(), log) as board:
            place.wait_scored(place.produce([record_of(each) for each in good()]))
            place.wait_scored(place.produce(bad()))
            scored = eventually(
                lambda: worker.metric("surgeline_dead_letters_total") >= 11,
                within_seconds=ANSWERED_SECONDS,
            )
            asked = asked_of(board)
        assert worker.terminate() == 0

        assert scored, place.logs()
        assert 200 in asked
        assert set(asked) <= {200, 400, 401, 403, 404, 405, 422}
        for said in (worker.log(), log.read_text()):
            assert said
            assert PERSON not in said.lower()
            assert "203.0.113.77" not in said


def asked_of(board: Board) -> list[int]:
    """Ask *board* for what holds people, and for what it does not have; return the statuses."""
    paths = [
        f"/api/v1/accounts/{ACCOUNT}",
        f"/api/v1/accounts/{PERSON}",
        f"/api/v1/accounts?q={PERSON}",
        f"/accounts/{ACCOUNT}",
        f"/{PERSON}",
        f"/api/v1/accounts?limit={PERSON}",
    ]
    url = board.url
    eventually(lambda: status_of(f"{url}/readyz") == 200, within_seconds=ANSWERED_SECONDS)
    return [status_of(f"{url}{path}") for path in paths]


def status_of(url: str) -> int:
    try:
        with urllib.request.urlopen(url, timeout=10) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as refusal:
        return refusal.code
    except OSError:
        return 0


def test_worker_that_stops_at_bad_records_names_no_person(servers: Servers, tmp_path: Path) -> None:
    with Place(servers, tmp_path) as place:
        worker = place.ready_worker(SURGELINE_DEAD_LETTERS_IN_A_ROW="5")
        place.produce(bad()[:10])

        assert worker.wait() == 1

        assert "emails" in worker.log()
        assert PERSON not in worker.log().lower()


def test_notifier_names_no_person(servers: Servers, refusing: Receiver, tmp_path: Path) -> None:
    with Place(servers, tmp_path) as place:
        process = start_notifier(place, write_routes(place, webhook("crm", refusing, HASTY)))
        process.wait_ready()
        place.produce(alerts())
        tried = eventually(lambda: len(refusing.posted) >= 2, within_seconds=ANSWERED_SECONDS)
        wait_drained(process)
        assert process.terminate(within_seconds=15) == 0

        assert tried, process.log()
        assert process.log()
        assert PERSON not in process.log().lower()
