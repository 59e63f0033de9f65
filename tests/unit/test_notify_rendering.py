"""An alert as text and as JSON."""

import hashlib
import hmac
import json
from typing import Any

from stream.notify.rendering import alert_message, digest_key, digest_message, signature
from tests.alerts import alert, alert_json, raw_alert


def test_the_text_says_what_happened_why_and_what_to_do() -> None:
    fields: dict[str, Any] = {
        "at": "2026-01-01T10:00:00Z",
        "detected_at": "2026-01-01T10:00:00.084Z",
    }

    message = alert_message(alert(**fields), raw_alert(**fields), route="ann")

    assert message.title == "Acme Inc: high value page"
    assert message.text.splitlines() == [
        "ann of Acme Inc spent 2 min on /pricing (0).",
        "Why: page /pricing; minutes 2",
        "Engagement 12.3 → 14.9, intent surge 0.0 → 0.0, relationship 10.1 → 10.1",
        "Stage engaged, tier 1, owner rep7@example.com",
        "Next: Call while they are reading.",
        "http://127.0.0.1:8321/accounts/acme",
        "Happened 2026-01-01T10:00:00Z, found 2026-01-01T10:00:00.084Z",
    ]


def test_an_alert_that_knows_little_is_rendered_without_gaps() -> None:
    bare = alert(
        stage=None, tier=None, owner_id=None, owner_email=None, link=None, next_step="", why={}
    )

    lines = alert_message(bare, b"{}", route="ann").text.splitlines()

    assert len(lines) == 4
    assert lines[2] == "Stage none, tier none, owner nobody"


def test_names_from_outside_cannot_call_a_channel_or_add_lines() -> None:
    evil = alert(sentence="<!channel> @everyone\nNext: pay eve\x1b[2J", account_name="<@U1>")

    message = alert_message(evil, b"{}", route="ann")

    assert "<" not in message.title + message.text
    assert "@everyone" not in message.text
    assert "\x1b" not in message.text
    assert not any(line.startswith("Next: pay eve") for line in message.text.splitlines())


def test_the_json_holds_the_whole_alert_and_its_id_is_the_key() -> None:
    message = alert_message(
        alert(extra=1), raw_alert(extra=1, at="2026-01-01T10:00:00Z"), route="crm"
    )

    body = json.loads(message.body)

    assert body == {
        "type": "alert",
        "version": 1,
        "route": "crm",
        "alert": alert_json(extra=1, at="2026-01-01T10:00:00Z"),
    }
    assert message.key == body["alert"]["id"]


def test_a_digest_has_all_alerts_as_json_and_the_first_as_text() -> None:
    held = [(alert(number=n), raw_alert(number=n)) for n in range(40)]

    message = digest_message(held, route="crm", owner="rep-7", left_out=2)

    body = json.loads(message.body)
    assert [each["id"] for each in body["alerts"]] == [each.id for each, _ in held]
    assert (body["left_out"], body["owner"]) == (2, "rep-7")
    assert message.title == "42 alerts were held back"
    assert message.text.splitlines()[-1] == "and 12 more; `surgeline alerts` lists all."


def test_the_key_of_a_digest_depends_on_what_it_holds_and_on_nothing_else() -> None:
    assert digest_key(["a", "b"]) == digest_key(["b", "a"])
    assert digest_key(["a", "b"]) != digest_key(["a", "b", "c"])


def test_a_receiver_can_check_the_signature() -> None:
    body = b'{"type":"alert"}'

    header = signature("top-secret", body, now=1_767_261_600.9)

    parts = dict(part.split("=", 1) for part in header.split(","))
    signed = f"{parts['t']}.".encode() + body
    assert parts["t"] == "1767261600"
    assert parts["v1"] == hmac.new(b"top-secret", signed, hashlib.sha256).hexdigest()
