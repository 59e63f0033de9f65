"""An alert as it lies in the topic `alerts`."""

from typing import Any

import msgspec

from scoring.errors import BadRecord, Reason
from scoring.report import parse_time

EVENT_CLOCK = "event"


class Alert(msgspec.Struct, frozen=True):
    """What the notifier reads of an alert; webhooks get the whole of it as it is."""

    id: str
    rule: str
    severity: str
    account_id: str
    sentence: str
    event_time: str
    at: str
    detected_at: str
    account_name: str = ""
    subject: str = ""
    why: dict[str, Any] = {}
    before: dict[str, float] = {}
    after: dict[str, float] = {}
    stage: str | None = None
    tier: int | None = None
    owner_id: str | None = None
    owner_email: str | None = None
    notify: tuple[str, ...] = ("owner",)
    next_step: str = ""
    link: str | None = None
    clock: str = "wall"

    @property
    def name(self) -> str:
        """Return what people call the account."""
        return self.account_name or self.account_id

    @property
    def owner(self) -> str:
        """Return who owns the account, empty when nobody does."""
        return self.owner_id or self.owner_email or ""


_decode = msgspec.json.Decoder(Alert).decode


def decode_alert(value: bytes | None) -> Alert:
    """Return the alert in the *value* of a record. Raises BadRecord when it is none."""
    if not value:
        raise BadRecord(Reason.EMPTY, "an alert has a value")
    try:
        alert = _decode(value)
    except msgspec.ValidationError as error:
        raise BadRecord(Reason.WRONG_TYPE, f"no alert: {error}") from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise BadRecord(Reason.NOT_JSON, "no alert: not valid JSON") from None
    for name in ("event_time", "at", "detected_at"):
        try:
            parse_time(getattr(alert, name))
        except ValueError as error:
            raise BadRecord(Reason.BAD_TIME, f"{name}: {error}") from None
    if not alert.id or "|" in alert.id or not alert.account_id:
        raise BadRecord(Reason.OUT_OF_RANGE, "an alert has an id without | and an account")
    return alert
