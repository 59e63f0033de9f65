"""Errors of the core: one root, one sentence each."""

from enum import StrEnum


class ScoringError(Exception):
    """Root of all errors that the core raises."""


class InvalidModel(ScoringError):
    """A scoring model breaks its contract; the sentence names field, value and rule."""


class UnknownState(ScoringError):
    """A stored account state has a format that this version does not know."""


class Reason(StrEnum):
    """Why a record is a dead letter. The list is closed: it is a metric label."""

    EMPTY = "empty_value"
    TOO_LARGE = "too_large"
    NOT_JSON = "not_json"
    NOT_AN_OBJECT = "not_an_object"
    MISSING_FIELD = "missing_field"
    UNKNOWN_TYPE = "unknown_type"
    UNKNOWN_ACTION = "unknown_action"
    WRONG_TYPE = "wrong_type"
    OUT_OF_RANGE = "out_of_range"
    BAD_TIME = "bad_time"
    IN_FUTURE = "in_future"
    UNDELIVERABLE = "undeliverable"


class BadRecord(ScoringError):
    """A record breaks the event contract.

    Attributes:
        reason: one of the closed list, for counting.
        detail: one sentence for the person who repairs the producer.
    """

    def __init__(self, reason: Reason, detail: str) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason = reason
        self.detail = detail
