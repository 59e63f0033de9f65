"""CloudEvents as events of the contract, write keys, and the bounds of bodies."""

import asyncio
import gzip
from pathlib import Path
from typing import Any

import pytest
from starlette.requests import Request

from scoring.errors import BadRecord, Reason
from stream.collector.bodies import BODY_BYTES, read_body
from stream.collector.checking import EVENT_BYTES, Checker
from stream.collector.cloud_events import of_binary, of_structured
from stream.collector.collector import door_of
from stream.collector.page_routes import GIF, read_script
from stream.collector.write_keys import (
    OpenDoor,
    Sender,
    WriteKeys,
    add_key_line,
    new_key,
    read_keys,
)
from stream.errors import InvalidSetting
from stream.settings import load_settings
from stream.web.problems import Problem

Json = dict[str, Any]

CLOUD_EVENT: Json = {
    "specversion": "1.0",
    "id": "1",
    "source": "/mail",
    "type": "com.example.email.opened",
    "time": "2026-03-01T12:00:00Z",
    "subject": "acme",
    "data": {"direction": "outbound", "contact_id": "ann"},
}
EVENT: Json = {
    "id": "1",
    "source": "/mail",
    "type": "email",
    "action": "opened",
    "time": "2026-03-01T12:00:00Z",
    "account_id": "acme",
    "direction": "outbound",
    "contact_id": "ann",
}
NOW = 1_772_366_400.0


def test_a_structured_cloud_event_is_an_event_of_ours() -> None:
    assert of_structured(CLOUD_EVENT) == EVENT


def test_a_binary_cloud_event_says_the_same() -> None:
    headers = {f"ce-{name}": value for name, value in CLOUD_EVENT.items() if name != "data"}

    found = of_binary(
        headers | {"ce-subject": "ac%6De"}, b'{"direction":"outbound","contact_id":"ann"}'
    )

    assert found == EVENT


def test_what_the_data_says_comes_before_what_the_envelope_suggests() -> None:
    data = {"direction": "inbound", "action": "sent", "account_id": "other"}

    found = of_structured(CLOUD_EVENT | {"data": data})

    assert (found["action"], found["account_id"]) == ("sent", "other")


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({"specversion": "0.3"}, Reason.OUT_OF_RANGE),
        ({"id": ""}, Reason.MISSING_FIELD),
        ({"type": "com.example.order"}, Reason.UNKNOWN_TYPE),
        ({"data": [1]}, Reason.NOT_AN_OBJECT),
        ({"data_base64": "e30="}, Reason.WRONG_TYPE),
    ],
)
def test_what_is_wrong_with_a_cloud_event_is_told(changed: Json, reason: Reason) -> None:
    with pytest.raises(BadRecord) as found:
        of_structured(CLOUD_EVENT | changed)

    assert found.value.reason is reason


def test_a_record_is_keyed_by_its_account_and_known_by_its_source_and_id() -> None:
    checker, sender = Checker(keep_ip=True), Sender("mail", "server")

    first, again, other, lost = (
        checker.checked(event, sender, NOW)
        for event in (
            EVENT,
            EVENT | {"direction": "inbound"},
            EVENT | {"id": "2"},
            {name: value for name, value in EVENT.items() if name != "account_id"},
        )
    )

    assert (first.topic, first.key, lost.key) == ("emails", b"acme", None)
    assert first.identity == again.identity != other.identity


def test_a_browsers_key_sends_no_record_of_the_crm() -> None:
    account = EVENT | {"type": "account", "action": "upserted", "target": True}
    browser = Sender("web", "browser", frozenset({"https://x.example"}))

    with pytest.raises(BadRecord, match="may not send account events"):
        Checker(keep_ip=True).checked(account, browser, NOW)


def test_addresses_of_visitors_are_left_out_where_that_is_set() -> None:
    visit = EVENT | {"type": "page_visit", "url": "https://x.example/", "ip": "192.0.2.7"}

    record = Checker(keep_ip=False).checked(visit, Sender("web", "server"), NOW)

    assert b"192.0.2.7" not in record.value


def test_an_event_of_more_than_32_kilobytes_is_refused() -> None:
    with pytest.raises(BadRecord) as found:
        Checker(keep_ip=True).checked(
            EVENT | {"note": "x" * EVENT_BYTES}, Sender("mail", "server"), NOW
        )

    assert found.value.reason is Reason.TOO_LARGE


# --- write keys


def test_a_key_is_known_by_the_file_that_holds_its_hash_alone(tmp_path: Path) -> None:
    file = tmp_path / "keys"
    key, line = new_key("web", "browser", ["https://www.example.com"])
    add_key_line(file, line)

    keys = WriteKeys(file)

    assert keys.sender(key) == Sender("web", "browser", frozenset({"https://www.example.com"}))
    assert keys.sender(f"{key}x") is None
    assert key not in file.read_text()
    assert file.stat().st_mode & 0o077 == 0
    assert keys.knows_origin("https://www.example.com")
    assert not keys.knows_origin("https://example.com")


def test_a_source_may_have_several_keys_and_a_change_of_the_file_counts(tmp_path: Path) -> None:
    file = tmp_path / "keys"
    first, line = new_key("crm", "server", [])
    add_key_line(file, line)
    keys = WriteKeys(file)

    second, line = new_key("crm", "server", [])
    add_key_line(file, line)
    keys.look_again()

    assert keys.sender(first) == keys.sender(second) == Sender("crm", "server")


@pytest.mark.parametrize(
    "line",
    [
        "web",
        "web:server:abc",
        "two words:server:" + "0" * 64,
        "web:reader:" + "0" * 64,
        "web:browser:" + "0" * 64,
        "web:browser:" + "0" * 64 + " https://www.example.com/path",
        "web:browser:" + "0" * 64 + " *",
        "# nothing",
    ],
)
def test_a_file_that_is_wrong_is_told_with_its_line(line: str, tmp_path: Path) -> None:
    file = tmp_path / "keys"
    file.write_text(f"{line}\n")

    with pytest.raises(InvalidSetting, match=r"SURGELINE_COLLECTOR_KEYS_FILE="):
        read_keys(file)


def test_pages_of_other_origins_may_not_use_a_browsers_key() -> None:
    sender = Sender("web", "browser", frozenset({"https://www.example.com"}))

    assert sender.lets_in("https://www.example.com")
    assert sender.lets_in(None)
    assert not sender.lets_in("https://evil.example")


def test_without_keys_pages_of_loopback_alone_may_send() -> None:
    sender = OpenDoor().sender("web")
    assert sender is not None

    assert sender.source == "web"
    assert sender.lets_in("http://127.0.0.1:8000")
    assert not sender.lets_in("https://evil.example")
    assert not sender.lets_in("null")


def test_other_machines_reach_it_only_with_keys() -> None:
    with pytest.raises(InvalidSetting, match="SURGELINE_COLLECTOR_KEYS_FILE must say"):
        door_of(load_settings(embedded=True, collector_host="0.0.0.0"))


# --- bodies


def body_of(sent: bytes, **headers: str) -> bytes:
    given = {name.replace("_", "-"): value for name, value in headers.items()}
    scope = {
        "type": "http",
        "method": "POST",
        "headers": [(name.encode(), value.encode()) for name, value in given.items()],
    }
    parts = [sent[at : at + 60_000] for at in range(0, max(len(sent), 1), 60_000)]

    async def receive() -> Json:
        part = parts.pop(0)
        return {"type": "http.request", "body": part, "more_body": bool(parts)}

    return asyncio.run(read_body(Request(scope, receive)))


def test_bodies_are_read_unpacked() -> None:
    assert body_of(b"{}") == b"{}"
    assert body_of(gzip.compress(b"{}"), content_encoding="gzip") == b"{}"


@pytest.mark.parametrize(
    ("sent", "headers", "status"),
    [
        (b"x" * (BODY_BYTES + 1), {}, 413),
        (b"{}", {"content_length": str(BODY_BYTES + 1)}, 413),
        (gzip.compress(b"0" * (BODY_BYTES + 1), mtime=0), {"content_encoding": "gzip"}, 413),
        (b"not gzip", {"content_encoding": "gzip"}, 400),
        (gzip.compress(b"{}" * 100, mtime=0)[:20], {"content_encoding": "gzip"}, 400),
        (b"{}", {"content_encoding": "br"}, 415),
    ],
)
def test_bodies_beyond_bounds_are_refused(
    sent: bytes, headers: dict[str, str], status: int
) -> None:
    with pytest.raises(Problem) as found:
        body_of(sent, **headers)

    assert found.value.status == status


# --- what pages load


def test_the_tracker_is_served_in_at_most_two_kilobytes() -> None:
    script = read_script()

    assert len(script.body) <= 2_048
    assert b"document.cookie" not in script.body


def test_the_pixel_is_one_transparent_point() -> None:
    assert GIF[:6] == b"GIF89a"
    assert GIF[6:10] == b"\x01\x00\x01\x00"
