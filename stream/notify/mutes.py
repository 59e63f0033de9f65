"""Mutes: which accounts and rules nobody wants to hear of, from the topic `alert-actions`."""

from typing import Final, Literal

import msgspec

from scoring.report import parse_time, rfc3339
from stream.notify.alert import Alert
from stream.outputs import Message
from stream.topics import ALERT_ACTIONS

What = Literal["account", "rule"]

PREFIX: Final = b"mute|"


class Mute(msgspec.Struct, frozen=True, tag_field="kind", tag="mute"):
    """One record of `alert-actions` that mutes."""

    what: What
    name: str
    until: str
    by: str
    at: str


_decode = msgspec.json.Decoder(Mute).decode
_encode = msgspec.json.Encoder().encode


class Mutes:
    """What is muted, and until when (Unix seconds)."""

    def __init__(self) -> None:
        self._until: dict[bytes, float] = {}

    def hear(self, key: bytes | None, value: bytes | None) -> None:
        """Take in one record of the topic; what is no mute is passed over."""
        if key is None or not key.startswith(PREFIX):
            return
        self._until.pop(key, None)
        try:
            if value is not None:
                self._until[key] = parse_time(_decode(value).until)
        except (msgspec.DecodeError, UnicodeDecodeError, ValueError):
            return

    def muted(self, alert: Alert, now: float) -> bool:
        """Tell whether nobody wants to hear of *alert* at *now*."""
        keys = mute_key("account", alert.account_id), mute_key("rule", alert.rule)
        return any(self._until.get(key, 0.0) > now for key in keys)

    def forget(self, now: float) -> None:
        """Let go of mutes that have ended."""
        self._until = {key: until for key, until in self._until.items() if until > now}


def mute_key(what: str, name: str) -> bytes:
    """Return the key of the record that mutes an account or a rule."""
    return PREFIX + f"{what}|{name}".encode("utf-8", "replace")


def mute(what: What, name: str, *, until: float, by: str, now: float) -> Message:
    """Return the record that mutes *name* until then (Unix seconds)."""
    value = Mute(what, name, rfc3339(round(until)), by, rfc3339(round(now)))
    return Message(ALERT_ACTIONS, mute_key(what, name), _encode(value))


def unmute(what: What, name: str) -> Message:
    """Return the record that lifts the mute of *name*."""
    return Message(ALERT_ACTIONS, mute_key(what, name), None)
