"""What is said of each topic: what it is for, its messages, their keys and headers."""

from collections.abc import Mapping
from typing import Any, Final, NamedTuple

from scoring.domains import Label
from scoring.errors import Reason
from stream import topics
from stream.asyncapi.schemas import INPUT_MESSAGES, reference

Json = dict[str, Any]

JSON: Final = "application/json"
BYTES: Final = "application/octet-stream"
NUMBER: Final = "^[0-9]+$"
TOMBSTONE: Final[Json] = {"type": "null", "description": "No value: the key is taken back."}
RAW: Final[Json] = {"type": "string", "format": "binary"}

BY_ACCOUNT: Final[Json] = {
    "type": "string",
    "description": (
        "`account_id` in UTF-8. Partition: (murmur2(key) & 0x7fffffff) % partitions, as Kafka's "
        "Java client has it by default; librdkafka wants partitioner=murmur2_random."
    ),
}
NO_KEY: Final[Json] = {
    "type": ["string", "null"],
    "description": "None is needed: what is spent belongs to no account.",
}


class Message(NamedTuple):
    """What is said of one message."""

    name: str
    summary: str
    key: Json
    payload: Json
    content_type: str = JSON
    headers: Json | None = None


class Channel(NamedTuple):
    """What is said of one topic."""

    summary: str
    messages: tuple[Message, ...]


def _header(description: str, **rules: Any) -> Json:
    return {"type": "string", "description": description, **rules}


INPUT_HEADERS: Final[Json] = {
    "description": "Surgeline sets these itself. Producers need none; those they set are kept.",
    "type": "object",
    "properties": {
        "surgeline-rekeyed-from": _header(
            "The partition in which the record was found; it belonged to another.", pattern=NUMBER
        ),
        "surgeline-replayed-from": _header(
            "Partition/offset of the dead letter that it was.", pattern="^[0-9]+/[0-9]+$"
        ),
    },
}

_ORIGIN: Final[Json] = {
    "surgeline-topic": _header(
        "The topic that it was in, without prefix; `replay` for a line of a file.", minLength=1
    ),
    "surgeline-partition": _header("The partition.", pattern=NUMBER),
    "surgeline-offset": _header("The offset.", pattern=NUMBER),
    "surgeline-timestamp": _header(
        "The record's time stamp, Unix milliseconds, -1 without one.", pattern="^-?[0-9]+$"
    ),
}

DEAD_LETTER_HEADERS: Final[Json] = {
    "description": "Behind the headers of the bad record itself; of equal names the last counts.",
    "type": "object",
    "required": ["surgeline-reason", "surgeline-detail", "surgeline-topic"],
    "properties": {
        "surgeline-reason": _header(
            "Why it is bad; the list is closed.", enum=[each.value for each in Reason]
        ),
        "surgeline-detail": _header("One sentence for whoever repairs the producer."),
    }
    | _ORIGIN
    | {
        "surgeline-cut": _header(
            "Only of a record too large for this topic, of which just the beginning is here: "
            "how many bytes it had.",
            pattern=NUMBER,
        )
    },
}

RECEIPT_HEADERS: Final[Json] = {
    "type": "object",
    "required": ["surgeline-replayed"],
    "properties": {
        "surgeline-replayed": _header("Topic/partition/offset of the record that was replayed.")
    },
}

UNRESOLVED_HEADERS: Final[Json] = {
    "type": "object",
    "required": [*_ORIGIN, "surgeline-why"],
    "properties": _ORIGIN
    | {"surgeline-why": _header("Why no account was found.", enum=[each.value for each in Label])},
}

HEADERS: Final[Mapping[str, Json]] = {
    "InputHeaders": INPUT_HEADERS,
    "DeadLetterHeaders": DEAD_LETTER_HEADERS,
    "ReplayReceiptHeaders": RECEIPT_HEADERS,
    "UnresolvedHeaders": UNRESOLVED_HEADERS,
}


def _text_key(pattern: str, description: str) -> Json:
    return {"type": "string", "pattern": pattern, "description": description}


_TRANSFERS: Final = Channel(
    "What accounts tell each other when they merge and people move.",
    (
        Message(
            "Transfer", "A gift waits, or an event has moved with its account.", BY_ACCOUNT,
            reference("Transfer"), headers=reference("InputHeaders"),
        ),
    ),
)  # fmt: skip

_OUTPUTS: Final[Mapping[str, Channel]] = {
    topics.SCORE_CHANGES: Channel(
        "The newest scores of each account, after every commit that touched it.",
        (
            Message(
                "ScoreChange", "Scores of an account have changed.", BY_ACCOUNT,
                reference("ScoreChange"),
            ),
        ),
    ),
    topics.ALERTS: Channel(
        "What salespeople are told.",
        (Message("Alert", "A rule raised an alert.", BY_ACCOUNT, reference("Alert")),),
    ),
    topics.ALERT_ACTIONS: Channel(
        "What people did about alerts.",
        (
            Message(
                "Acknowledgement", "Somebody has taken an alert on.",
                _text_key(r"^ack\|[0-9a-f]{32}$", "`ack|<alert id>`"),
                reference("Acknowledgement"),
            ),
            Message(
                "Mute", "An account or a rule is muted for a while.",
                _text_key(r"^mute\|(account|rule)\|", "`mute|account|<id>` or `mute|rule|<rule>`"),
                reference("Mute"),
            ),
            Message(
                "Withdrawal", "An acknowledgement or a mute is taken back.",
                _text_key(r"^(ack|mute)\|", "The key of what is taken back."), TOMBSTONE,
            ),
        ),
    ),
    topics.DELIVERIES: Channel(
        "Which alert came to which end on which route: the notifier's memory.",
        (
            Message(
                "Delivery", "An alert came to an end on a route, or is held for a digest.",
                _text_key(
                    r"^[0-9a-f]{32}\|",
                    "`<alert id>|<route>`, in the partition in which the alert lies in `alerts`.",
                ),
                reference("Delivery"),
            ),
            Message(
                "ForgottenDelivery", "A delivery so old that its alert cannot come again.",
                _text_key(r"\|", "The key of what is forgotten."), TOMBSTONE,
            ),
        ),
    ),
    topics.DEAD_LETTERS: Channel(
        "Records that break the contract, and alerts that nobody could be told, as they were.",
        (
            Message(
                "DeadLetter", "A bad record: its raw bytes, with the reason in the headers.",
                {"type": ["string", "null"], "description": "The key of the bad record."},
                RAW | {
                    "type": ["string", "null"],
                    "description": "The value of the bad record, byte by byte.",
                },
                BYTES, reference("DeadLetterHeaders"),
            ),
            Message(
                "ReplayReceipt", "A dead letter was replayed; readers of letters pass it over.",
                {"type": "string", "description": "The same as the header."},
                {"type": "null", "description": "No value."}, BYTES,
                reference("ReplayReceiptHeaders"),
            ),
        ),
    ),
    topics.UNRESOLVED: Channel(
        "Good events of which nothing says to which account they belong.",
        (
            Message(
                "Unresolved", "An event without an account: its raw bytes.",
                {"type": ["string", "null"], "description": "The key of the event."},
                RAW | {"description": "The event as it was in its topic, JSON."},
                BYTES, reference("UnresolvedHeaders"),
            ),
        ),
    ),
}  # fmt: skip


def channels() -> dict[str, Channel]:
    """Return topic -> what is said of it, in the order in which topics are declared."""
    events = {name: _input(name) for name in INPUT_MESSAGES}
    between = {topics.TRANSFERS: _TRANSFERS}
    return events | between | {name: _OUTPUTS[name] for name in topics.OUTPUTS}


def _input(name: str) -> Channel:
    shapes = INPUT_MESSAGES[name]
    messages = tuple(
        Message(
            each.__name__,
            (each.__doc__ or "").splitlines()[0].replace("``", "`"),
            NO_KEY if name == "spend" else BY_ACCOUNT,
            reference(each.__name__),
            headers=reference("InputHeaders"),
        )
        for each in shapes
    )
    return Channel(messages[0].summary, messages)
