"""The collector as its clients have it: official SDKs unmodified, answers, and what is in Kafka."""

import datetime as dt
import json
import os
import signal
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import httpx
import pytest
from cloudevents.core.bindings.http import to_binary_event, to_structured_event
from cloudevents.core.formats.json import JSONFormat
from cloudevents.core.v1.event import CloudEvent
from segment.analytics.client import Client

from stream.collector.write_keys import Sender, WriteKeys, add_key_line, new_key
from stream.embedded import free_port
from tests.integration.conftest import KAFKA_ONLY
from tests.integration.worker_kit import Found, Place, Servers, Worker
from tests.servers import KafkaServer, require_servers
from tests.system.harness import Json, eventually

ORIGIN = "https://www.example.com"


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, str]:
    """Give a server's and a browser's key, and the file that knows them."""
    file = tmp_path_factory.mktemp("keys") / "keys"
    found = {"file": str(file)}
    for source, kind, origins in (("crm", "server", []), ("web", "browser", [ORIGIN])):
        key, line = new_key(source, kind, origins)  # type: ignore[arg-type]
        add_key_line(file, line)
        found[source] = key
    return found


@pytest.fixture(scope="module")
def place(servers: Servers, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    with Place(servers, tmp_path_factory.mktemp("collector")) as own:
        yield own


@pytest.fixture(scope="module")
def collector(place: Place, keys: Mapping[str, str]) -> Worker:
    return place.ready_collector(SURGELINE_COLLECTOR_KEYS_FILE=keys["file"])


@pytest.fixture
def client(collector: Worker, keys: Mapping[str, str]) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=collector.url, auth=(keys["crm"], ""), timeout=20) as own:
        yield own


def now() -> str:
    return dt.datetime.now(dt.UTC).isoformat()


def visit(id_: str, **fields: Any) -> Json:
    common = {"id": id_, "source": "site", "type": "page_visit", "time": now()}
    return common | {"account_id": "acme", "url": "https://x.example/pricing"} | fields


def page(id_: str) -> Json:
    properties = {"url": "https://x.example/pricing"}
    return {"type": "page", "userId": "ann", "messageId": id_, "properties": properties}


def in_kafka(place: Place, topic: str, *ids: str) -> list[Found]:
    """Return the records of *topic* with *ids*, once there is one of each."""

    def mine(found: list[Found]) -> list[Found]:
        return [each for each in found if each.json["id"] in ids]

    found = place.read(topic, lambda found: {r.json["id"] for r in mine(found)} == set(ids))
    return mine(found)


# --- the official clients, unmodified


@pytest.mark.parametrize("gzip", [False, True])
def test_segments_client_sends_and_kafka_has_it(
    collector: Worker,
    place: Place,
    keys: Mapping[str, str],
    gzip: bool,  # noqa: FBT001
) -> None:
    errors: list[Any] = []
    ids = {name: f"{name}-{gzip}" for name in ("page", "track", "identify", "group")}
    segment: Any = Client(  # type: ignore[no-untyped-call]  # it has no types
        keys["crm"], host=collector.url, gzip=gzip, on_error=lambda *given: errors.append(given)
    )
    context = {"groupId": "acme"}

    segment.page(
        "ann",
        properties={"url": "https://x.example/pricing"},
        context=dict(context),
        message_id=ids["page"],
    )
    segment.track(
        "ann", "Email Opened", {"campaign_id": "c"}, dict(context), message_id=ids["track"]
    )
    segment.identify(
        "ann",
        {"email": "a@acme.example"},
        dict(context),
        anonymous_id="a1",
        message_id=ids["identify"],
    )
    segment.group("ann", "acme", {"name": "Acme", "target": True}, message_id=ids["group"])
    segment.shutdown()

    assert errors == []
    (visit,) = in_kafka(place, "page-visits", ids["page"])
    assert (visit.key, visit.json["source"], visit.json["contact_id"]) == (b"acme", "crm", "ann")
    assert "user_agent" not in visit.json  # the library's own is nobody's
    (opened,) = in_kafka(place, "emails", ids["track"])
    assert (opened.json["action"], opened.json["campaign_id"]) == ("opened", "c")
    (identity,) = in_kafka(place, "identities", ids["identify"])
    assert (identity.json["anonymous_id"], identity.json["email"]) == ("a1", "a@acme.example")
    (account,) = in_kafka(place, "accounts", ids["group"])
    assert (account.key, account.json["target"]) == (b"acme", True)


@pytest.mark.parametrize("mode", ["binary", "structured", "batched"])
def test_the_cloud_events_sdk_sends_and_kafka_has_it(
    client: httpx.Client, place: Place, mode: str
) -> None:
    attributes = {
        "id": f"ce-{mode}",
        "source": "https://mail.example/events",
        "type": "com.example.email.clicked",
        "subject": "acme",
        "time": dt.datetime.now(dt.UTC),
    }
    event = CloudEvent(attributes, {"direction": "outbound", "contact_id": "ann"})

    if mode == "batched":
        body = b"[" + JSONFormat().write(event) + b"]"
        headers = {"content-type": "application/cloudevents-batch+json"}
    else:
        message = (to_binary_event if mode == "binary" else to_structured_event)(event)
        body, headers = message.body, message.headers
    answer = client.post("/v1/events", content=body, headers=headers)

    assert (answer.status_code, answer.json()) == (200, {"accepted": 1, "errors": []})
    (found,) = in_kafka(place, "emails", f"ce-{mode}")
    assert (found.key, found.json["action"]) == (b"acme", "clicked")
    assert found.json["source"] == "https://mail.example/events"


# --- our own contract, and what is answered


def test_events_of_ours_come_alone_as_a_list_and_as_lines(
    client: httpx.Client, place: Place
) -> None:
    lines = "\n".join(json.dumps(visit(f"line-{n}")) for n in range(2))

    answers = [
        client.post("/v1/events", json=visit("alone")),
        client.post("/v1/events", json=[visit("list-0"), visit("list-1")]),
        client.post("/v1/events", content=lines, headers={"content-type": "application/x-ndjson"}),
    ]

    assert [each.json()["accepted"] for each in answers] == [1, 2, 2]
    in_kafka(place, "page-visits", "alone", "list-0", "list-1", "line-0", "line-1")


def test_what_is_wrong_with_some_events_does_not_hold_up_the_others(
    client: httpx.Client, place: Place
) -> None:
    bad = visit("bad")
    del bad["url"]

    answer = client.post("/v1/events", json=[visit("good"), bad, 3, visit("odd", type="dance")])

    assert answer.status_code == 200
    assert answer.json()["accepted"] == 1
    told = [(each["index"], each["id"], each["reason"]) for each in answer.json()["errors"]]
    assert sorted(told, key=str) == [
        (1, "bad", "missing_field"), (2, None, "not_an_object"), (3, "odd", "unknown_type"),
    ]  # fmt: skip
    in_kafka(place, "page-visits", "good")


def test_a_batch_with_an_unknown_track_succeeds_with_a_note(client: httpx.Client) -> None:
    song = {"type": "track", "event": "Song Played", "userId": "ann", "messageId": "song"}

    answer = client.post("/v1/batch", json={"batch": [page("noted"), song]})

    assert answer.status_code == 200
    assert answer.json()["success"] is True
    (note,) = answer.json()["notes"]
    assert (note["index"], note["id"], note["reason"]) == (1, "song", "unused")


def test_a_batch_without_anything_to_say_is_answered_as_segment_does(client: httpx.Client) -> None:
    for path, body in (("/v1/batch", {"batch": [page("plain")]}), ("/v1/page", page("single"))):
        answer = client.post(path, json=body)
        assert (answer.status_code, answer.json()) == (200, {"success": True})


def test_an_event_that_comes_again_is_acknowledged_and_in_kafka_once(
    client: httpx.Client, place: Place
) -> None:
    for _ in range(3):
        assert client.post("/v1/batch", json={"batch": [page("again")] * 2}).status_code == 200
    assert client.post("/v1/page", json=page("after")).status_code == 200

    found = in_kafka(place, "page-visits", "again", "after")

    assert sorted(each.json["id"] for each in found) == ["after", "again"]


@pytest.mark.parametrize(
    ("path", "body", "status"),
    [
        ("/v1/batch", b'{"batch": [', 400),
        ("/v1/batch", b"[]", 400),
        ("/v1/batch", b'{"batch": 3}', 400),
        ("/v1/track", b"{}", 400),
        ("/v1/page", b'{"x": "' + b"x" * 33_000 + b'"}', 413),
        ("/v1/batch", b'{"x": "' + b"x" * 520_000 + b'"}', 413),
        ("/v1/events", b'{"type": "dance"}', 422),
        ("/v1/nothing", b"", 404),
    ],
)
def test_requests_that_are_wrong_are_answered_with_a_problem(
    client: httpx.Client, path: str, body: bytes, status: int
) -> None:
    answer = client.post(path, content=body, headers={"content-type": "application/json"})

    assert answer.status_code == status
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["status"] == status


def test_get_is_not_taken_where_events_are_sent(client: httpx.Client) -> None:
    answer = client.get("/v1/batch")

    assert (answer.status_code, answer.headers["allow"]) == (405, "POST")


def test_nobody_sends_without_a_key(collector: Worker) -> None:
    def answer(auth: tuple[str, str] | None, **body: str) -> httpx.Response:
        return httpx.post(f"{collector.url}/v1/page", json=page("nobody") | body, auth=auth)

    answers = [answer(("wrong", "")), answer(("", "")), answer(None), answer(None, writeKey="x")]

    assert [each.status_code for each in answers] == [401] * 4
    assert all("www-authenticate" in each.headers for each in answers)


def test_a_key_is_in_no_log(
    client: httpx.Client, collector: Worker, keys: Mapping[str, str]
) -> None:
    client.post("/v1/page", json=page("logged"))

    assert keys["crm"] not in collector.log()


# --- browsers


def test_a_page_of_a_known_origin_sends_by_a_beacon_with_the_key_in_its_body(
    collector: Worker, place: Place, keys: Mapping[str, str]
) -> None:
    body = json.dumps(page("beacon") | {"writeKey": keys["web"]})
    headers = {"content-type": "text/plain", "origin": ORIGIN, "user-agent": "Browser/1"}

    answer = httpx.post(f"{collector.url}/v1/page", content=body, headers=headers)

    assert answer.status_code == 200
    assert answer.headers["access-control-allow-origin"] == ORIGIN
    (found,) = in_kafka(place, "page-visits", "beacon")
    assert (found.json["user_agent"], found.json["ip"]) == ("Browser/1", "127.0.0.1")
    assert found.json["source"] == "web"


def test_pages_of_other_origins_are_refused(collector: Worker, keys: Mapping[str, str]) -> None:
    foreign = {"origin": "https://evil.example"}

    sent = httpx.post(
        f"{collector.url}/v1/page", json=page("evil") | {"writeKey": keys["web"]}, headers=foreign
    )
    asked = httpx.options(f"{collector.url}/v1/page", headers=foreign)

    assert (sent.status_code, asked.status_code) == (403, 403)
    assert "access-control-allow-origin" not in {*sent.headers, *asked.headers}


def test_browsers_may_ask_first_and_not_about_events(collector: Worker) -> None:
    asked = httpx.options(f"{collector.url}/v1/batch", headers={"origin": ORIGIN})
    events = httpx.options(f"{collector.url}/v1/events", headers={"origin": ORIGIN})

    assert asked.status_code == 204
    assert asked.headers["access-control-allow-origin"] == ORIGIN
    assert "content-type" in asked.headers["access-control-allow-headers"].lower()
    assert events.status_code == 405
    assert "access-control-allow-origin" not in events.headers


def test_a_browsers_key_changes_no_account(collector: Worker, keys: Mapping[str, str]) -> None:
    group = {"writeKey": keys["web"], "groupId": "acme", "traits": {"target": False}}

    answer = httpx.post(f"{collector.url}/v1/group", json=group, headers={"origin": ORIGIN})

    assert answer.status_code == 400
    assert "may not send account events" in answer.json()["detail"]


def test_the_pixel_is_the_open_of_an_email(
    collector: Worker, place: Place, keys: Mapping[str, str]
) -> None:
    query = {
        "writeKey": keys["web"],
        "userId": "ann",
        "groupId": "acme",
        "campaign": "c",
        "messageId": "px",
    }

    answer = httpx.get(
        f"{collector.url}/v1/pixel.gif", params=query, headers={"user-agent": "Mail/1"}
    )

    assert (answer.status_code, answer.headers["content-type"]) == (200, "image/gif")
    assert "no-store" in answer.headers["cache-control"]
    (found,) = in_kafka(place, "emails", "px")
    assert (found.json["action"], found.json["user_agent"]) == ("opened", "Mail/1")
    refused = httpx.get(f"{collector.url}/v1/pixel.gif", params={"writeKey": "wrong"})
    assert (refused.status_code, refused.content) == (401, answer.content)


def test_the_tracker_is_served_for_every_page_and_asked_again_for_free(collector: Worker) -> None:
    first = httpx.get(f"{collector.url}/v1/tracker.js")
    again = httpx.get(
        f"{collector.url}/v1/tracker.js", headers={"if-none-match": first.headers["etag"]}
    )

    assert first.status_code == 200
    assert len(first.content) <= 2_048
    assert first.headers["content-type"].startswith("text/javascript")
    assert first.headers["cross-origin-resource-policy"] == "cross-origin"
    assert again.status_code == 304


# --- how much, and when Kafka is away


def test_too_many_requests_are_told_when_to_come_again(place: Place) -> None:
    slow = place.ready_collector(SURGELINE_COLLECTOR_RATE="0.02")
    answers = [httpx.post(f"{slow.url}/v1/page", json=page(f"rate-{n}")) for n in range(3)]

    assert [each.status_code for each in answers] == [200, 429, 429]
    assert int(answers[-1].headers["retry-after"]) >= 1
    slow.close()


def test_requests_and_events_are_counted(client: httpx.Client, collector: Worker) -> None:
    before = collector.metric("surgeline_collector_events_total", outcome="accepted")

    client.post("/v1/page", json=page("counted"))

    after = collector.metric("surgeline_collector_events_total", outcome="accepted")
    assert after == before + 1
    assert collector.metric("surgeline_collector_requests_total", route="/v1/page", status="200")
    assert collector.metric("surgeline_collector_ready") == 1


def test_what_kafka_does_not_take_is_not_acknowledged(tmp_path: Path) -> None:
    nowhere = Servers(f"127.0.0.1:{free_port()}", "redis://127.0.0.1:1/0", "3", redis_is_own=True)
    place = Place(nowhere, tmp_path)
    collector = Worker(
        place.environment(SURGELINE_COLLECTOR_PORT="0"), tmp_path / "away.log", "collector"
    )
    try:
        assert eventually(lambda: collector.get("/healthz")[0] == 200, within_seconds=60)

        answer = httpx.post(f"{collector.url}/v1/page", json=page("away"), timeout=20)

        assert answer.status_code == 503
        assert "retry-after" in answer.headers
        assert collector.get("/readyz")[0] == 503
        assert collector.terminate(within_seconds=15) == 0
    finally:
        collector.close()


@KAFKA_ONLY
def test_a_frozen_kafka_acknowledges_nothing_and_the_retry_puts_it_there_once(
    servers: Servers,  # noqa: ARG001  # marks the kind
    tmp_path: Path,
) -> None:
    require_servers(own=True)
    with KafkaServer(own=True) as kafka:
        own = Servers(kafka.address, "redis://127.0.0.1:1/0", "6", redis_is_own=True)
        with Place(own, tmp_path) as place:
            collector = place.ready_collector()
            kafka.pause()
            frozen = httpx.post(f"{collector.url}/v1/page", json=page("frozen"), timeout=30)
            kafka.resume()

            def sent() -> bool:
                answer = httpx.post(f"{collector.url}/v1/page", json=page("frozen"), timeout=30)
                return answer.status_code == 200

            assert frozen.status_code == 503
            assert eventually(sent, within_seconds=60)
            assert len(in_kafka(place, "page-visits", "frozen")) == 1


def test_the_collector_ends_by_a_signal(place: Place) -> None:
    collector = place.ready_collector()

    os.kill(collector.pid, signal.SIGTERM)

    assert collector.wait() == 0


# --- commands


def test_a_key_is_shown_once_and_its_hash_kept(place: Place, tmp_path: Path) -> None:
    file = tmp_path / "keys"

    made = place.run("collector-key", "crm", "--file", str(file))

    key = made.stdout.strip()
    assert made.returncode == 0
    assert file.read_text().startswith("crm:server:")
    assert key not in file.read_text() + made.stderr
    assert WriteKeys(file).sender(key) == Sender("crm", "server")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("collector", "--host", "0.0.0.0"), "SURGELINE_COLLECTOR_KEYS_FILE must say who may send"),
        (("collector-key", "two words"), "Source 'two words': must be source:kind:hash"),
        (("collector-key", "web", "--kind", "browser"), "a browser's key needs the origins"),
        (
            ("collector-key", "web", "--origin", "example.com"),
            "must be like https://www.example.com",
        ),
    ],
)
def test_what_cannot_be_is_refused_in_a_sentence(
    place: Place, arguments: tuple[str, ...], said: str
) -> None:
    done = place.run(*arguments, SURGELINE_LOG_FORMAT="text")

    assert done.returncode == 1
    assert said in done.stderr
    assert "Traceback" not in done.stderr


def test_a_port_that_is_taken_is_refused_by_name(place: Place, collector: Worker) -> None:
    port = collector.url.rpartition(":")[2]

    done = place.run("collector", "--port", port, SURGELINE_LOG_FORMAT="text")

    assert done.returncode == 1
    assert f"SURGELINE_COLLECTOR_PORT={port}: cannot listen" in done.stderr
