"""The AsyncAPI document: current, sound, and true of what is read and produced."""

import asyncio
import datetime as dt
import json
from collections.abc import Iterable, Iterator
from functools import lru_cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any, get_args

import msgspec
import pytest
from jsonschema_rs import Draft7Validator
from pydantic import ValidationError
from ruamel.yaml import YAML
from typer.testing import CliRunner

from scoring.alert_rules import AlertsModel
from scoring.errors import BadRecord, Reason
from scoring.events import _SCHEMAS, TOPIC_TYPES, check_event, decoders
from scoring.gifts import departure
from scoring.live import Errand
from stream.asyncapi.channels import channels
from stream.asyncapi.document import document
from stream.asyncapi.examples import EXAMPLES
from stream.asyncapi.schemas import INPUT_MESSAGES, OUTPUT_SHAPES
from stream.board import alert_routes
from stream.board.alert_book import AlertBook, RecordAt
from stream.cli.main import create_app
from stream.dead_letters import letter_of, receipt
from stream.notify import mutes
from stream.notify.memory import delivery, message_of
from stream.notify.policy import Outcome
from stream.outputs import LARGE_BYTES, Message, dead_letter, rekeyed, unresolved
from stream.replay import message_of as replayed_line
from stream.simulator import simulate
from stream.topics import INPUTS, OUTPUTS, topic_specs
from stream.writing import account_writer
from tests.alerts import alert, alert_json
from tests.builders import FAR_AHEAD, announce_alert, announce_errand, decoded, default_rules
from tests.records import consumed
from tests.stored import folded

Json = dict[str, Any]

FILE = Path(__file__).parents[2] / "deploy" / "asyncapi.yaml"
END = dt.datetime(2026, 1, 31, tzinfo=dt.UTC)
ALERT_ID = "5f2b8c0e9d3a4b1f8e7d6c5b4a392817"

#: Fields that an object of the document may have, by AsyncAPI 3.0.0; those with ! it must.
ALLOWED = {
    "document": "asyncapi! info! defaultContentType servers channels operations components id",
    "info": "title! version! description license contact tags termsOfService externalDocs",
    "server": "host! protocol! protocolVersion description title summary variables security tags",
    "channel": "address messages title summary description servers parameters tags bindings",
    "operation": "action! channel! messages title summary description security tags bindings",
    "message": "name title summary description contentType headers payload tags bindings examples",
    "example": "name summary headers payload",
    "kafka channel": "topic partitions replicas topicConfiguration bindingVersion!",
    "kafka operation": "groupId clientId bindingVersion!",
    "kafka message": "key schemaIdLocation schemaIdPayloadEncoding bindingVersion!",
}


@lru_cache(maxsize=1)
def written() -> Json:
    """Return the document as it is checked in."""
    found: Json = YAML(typ="safe", pure=True).load(FILE)
    return found


def followed(reference: str) -> Any:
    found: Any = written()
    for step in reference.removeprefix("#/").split("/"):
        found = found[step]
    return found


@lru_cache(maxsize=256)
def validator(place: str) -> Draft7Validator:
    """Return what judges values by the schema at *place* of the document."""
    schema = {"$ref": f"#/{place}"} | {"components": written()["components"]}
    return Draft7Validator(schema, validate_formats=True)


def complaints(message: str, value: Any, part: str = "payload") -> list[str]:
    judge = validator(f"components/messages/{message}/{part}")
    return [f"{each.instance_path}: {each.message}" for each in judge.iter_errors(value)]


def messages_of(topic: str) -> list[str]:
    return list(written()["channels"][topic]["messages"])


def fitting(topic: str, value: bytes | None, part: str = "payload") -> list[str]:
    """Return the messages of *topic* that a record's *value* is one of."""
    read = None if value is None else json.loads(value)
    return [each for each in messages_of(topic) if not complaints(each, read, part)]


def nodes(value: Any) -> Iterator[Json]:
    if isinstance(value, dict):
        yield value
    for each in value.values() if isinstance(value, dict) else value:
        if isinstance(each, dict | list):
            yield from nodes(each)


# --- the file


def test_file_is_what_the_command_prints() -> None:
    printed = CliRunner().invoke(create_app(), ["asyncapi"])

    assert printed.exit_code == 0
    assert FILE.read_text(encoding="utf-8") == printed.stdout, "run `make asyncapi`"


def test_another_reader_of_yaml_reads_the_same_document() -> None:
    assert written() == json.loads(json.dumps(document()))


def test_every_reference_leads_somewhere() -> None:
    references = [each["$ref"] for each in nodes(written()) if "$ref" in each]

    assert references
    for reference in references:
        assert followed(reference), reference


def test_references_stand_alone() -> None:
    assert [each for each in nodes(written()) if "$ref" in each and len(each) > 1] == []


def objects() -> Iterator[tuple[str, Json]]:
    """Yield each object of the document with its kind."""
    whole = written()
    yield "document", whole
    yield "info", whole["info"]
    for kind, name in (("server", "servers"), ("channel", "channels"), ("operation", "operations")):
        for each in whole[name].values():
            yield kind, each
            if "bindings" in each:
                yield f"kafka {kind}", each["bindings"]["kafka"]
    for message in whole["components"]["messages"].values():
        yield "message", message
        yield "kafka message", message["bindings"]["kafka"]
        yield from (("example", each) for each in message["examples"])


def test_objects_have_the_fields_of_the_specification() -> None:
    for kind, each in objects():
        names = ALLOWED[kind].split()
        assert set(each) <= {name.rstrip("!") for name in names}, (kind, each)
        assert set(each) >= {name.rstrip("!") for name in names if name.endswith("!")}, (kind, each)


def test_every_operation_names_its_channel_and_all_of_its_messages() -> None:
    operations = written()["operations"].values()
    topics = [each["channel"]["$ref"].removeprefix("#/channels/") for each in operations]

    assert topics == [*INPUTS, *OUTPUTS]
    for topic, operation in zip(topics, operations, strict=True):
        assert operation["action"] == ("receive" if topic in INPUTS else "send")
        assert [each["$ref"] for each in operation["messages"]] == [
            f"#/channels/{topic}/messages/{name}" for name in messages_of(topic)
        ]


def test_channels_are_the_declared_topics_with_their_configuration() -> None:
    found = written()["channels"]

    assert list(found) == [each.name for each in topic_specs()]
    for each in topic_specs():
        channel = found[each.name]
        said = dict(channel["bindings"]["kafka"]["topicConfiguration"])
        assert channel["address"] == each.name
        assert said.pop("cleanup.policy") == [each.config["cleanup.policy"]]
        assert said == {k: int(v) for k, v in each.config.items() if k != "cleanup.policy"}


def test_every_field_is_described() -> None:
    undescribed = [
        f"{name}.{field}"
        for name, schema in written()["components"]["schemas"].items()
        for field, rules in schema["properties"].items()
        if not rules.get("description")
    ]

    assert undescribed == []


def test_every_message_has_an_example_that_fits_it() -> None:
    for name, message in written()["components"]["messages"].items():
        for example in message["examples"]:
            assert complaints(name, example["payload"]) == [], name
            if "headers" in message and "headers" in example:
                assert complaints(name, example["headers"], "headers") == [], name
    assert set(EXAMPLES) == set(written()["components"]["messages"])


# --- inputs


def types_in(schema: Any) -> set[Any]:
    """Return the TypedDicts of one type of the contract."""
    return {schema} if hasattr(schema, "__total__") else set(get_args(get_args(schema)[0]))


def test_inputs_are_those_of_the_event_contract() -> None:
    contract = {topic: types_in(_SCHEMAS[type_]) for topic, type_ in TOPIC_TYPES.items()}

    assert {topic: set(shapes) for topic, shapes in INPUT_MESSAGES.items()} == contract


def inputs() -> Iterator[tuple[str, str]]:
    return ((topic, shape.__name__) for topic, shapes in INPUT_MESSAGES.items() for shape in shapes)


decode = decoders()


def accepted(topic: str, value: Json) -> bool:
    try:
        event = decode[TOPIC_TYPES[topic]](json.dumps(value).encode())
        check_event(event, now=FAR_AHEAD)
    except (ValidationError, BadRecord):
        return False
    return True


def variants(example: Json, rules: Json) -> Iterator[Json]:
    """Yield records near *example*: at the bounds of each field, beyond them, and without it."""
    yield example | {"unknown": 1}
    for field, rule in rules.items():
        yield {name: value for name, value in example.items() if name != field}
        yield from (example | {field: each} for each in values_near(rule))


def values_near(rule: Json) -> list[Any]:
    found: list[Any] = [None, True, "text", "", 7, -1, 0.5, [], ["a"], ["a", "a"], {}]
    found += [*rule.get("enum", []), rule.get("const"), "no such thing"]
    if "maxLength" in rule:
        found += ["x" * rule["maxLength"], "x" * (rule["maxLength"] + 1)]
    if "minimum" in rule:
        found += [rule["minimum"], rule["minimum"] - 1]
    if "maximum" in rule:
        found += [rule["maximum"], rule["maximum"] + 1]
    if "maxItems" in rule:
        found += [[str(n) for n in range(rule["maxItems"] + more)] for more in (0, 1)]
    if rule.get("format") == "date-time":
        times = [
            "2026-01-31T09:00:00",
            "2026-01-31 09:00:00Z",
            "2026-01-31",
            "2026-13-31T09:00:00Z",
        ]
        found += [*times, "2026-01-31T09:00:00.123456+01:00", "2026-01-31t09:00:00z"]
    return found


@pytest.mark.parametrize(("topic", "message"), [*inputs()])
def test_document_takes_what_the_contract_takes_and_nothing_else(topic: str, message: str) -> None:
    schemas = written()["components"]["schemas"]
    rules = schemas["Common"]["properties"] | schemas[message]["properties"]
    example: Json = EXAMPLES[message].payload
    tried = [example, *variants(example, rules)]

    said = [bool(fitting(topic, json.dumps(each).encode())) for each in tried]

    done = [accepted(topic, each) for each in tried]
    assert [t for t, s, d in zip(tried, said, done, strict=True) if s != d] == []
    assert done[0]
    assert not all(done)


@lru_cache(maxsize=1)
def market() -> list[Json]:
    """Return a simulated quarter of a small market."""
    found: Iterable[Any] = simulate(7, end=END, accounts=30)
    return list(found)


def test_simulated_events_are_each_one_message_of_their_topic() -> None:
    topics = {type_: topic for topic, type_ in TOPIC_TYPES.items()}

    misfits = [
        each
        for each in market()
        if len(fitting(topics[each["type"]], json.dumps(each).encode())) != 1
    ]

    assert market()
    assert misfits == []


def test_headers_that_records_are_given_on_their_way_fit() -> None:
    moved = rekeyed(consumed("chats", b"{}", at=(3, 17), headers=()), "chats", "acme", 1)

    assert complaints("Chat", text_of(moved), "headers") == []


# --- outputs


@lru_cache(maxsize=1)
def announced() -> list[tuple[str, bytes, bytes]]:
    """Return what a worker announces of the simulated market: topic, key, value."""
    write = account_writer(default_rules(), announce_alert, announce_errand)
    found = folded(each for each in market() if "account_id" in each and each["type"] != "spend")
    made = [write(account, END.timestamp())[1] for account in found.values()]
    return [(each.topic, each.key, each.value) for several in made for each in several]


@pytest.mark.parametrize(
    ("topic", "message"), [("score-changes", "ScoreChange"), ("alerts", "Alert")]
)
def test_what_a_worker_announces_fits(topic: str, message: str) -> None:
    values = [json.loads(value) for name, _, value in announced() if name == topic]

    assert len(values) >= 30
    assert [found for each in values if (found := complaints(message, each))] == []


def test_every_rule_and_transition_was_among_what_was_announced() -> None:
    alerts = [json.loads(value) for topic, _, value in announced() if topic == "alerts"]
    scores = [json.loads(value) for topic, _, value in announced() if topic == "score-changes"]

    assert {each["rule"] for each in alerts} >= set(AlertsModel.model_fields) - {
        "competitor_research"
    }
    assert len({t["rule"] for each in scores for t in each["transitions"]}) == 3


def test_documented_fields_are_those_that_are_produced() -> None:
    schemas = written()["components"]["schemas"]
    made = {topic: set(json.loads(value)) for topic, _, value in announced()}

    of_all = set(schemas["ScoreChange"]["properties"]) - {"merged_into"}
    assert made["score-changes"] == of_all
    assert made["alerts"] == set(schemas["Alert"]["properties"])


@pytest.mark.parametrize(
    "errand",
    [
        Errand("acme", gift=ALERT_ID, giver="acme-uk"),
        Errand("acme", event=decoded(EXAMPLES["Email"].payload)[0]),
        departure("ann", former="agency", to="acme", time=1.5),
    ],
)
def test_what_accounts_tell_each_other_fits(errand: Errand) -> None:
    found = announce_errand(errand)

    assert fitting(found.topic, found.value) == ["Transfer"]
    if errand.event is not None:
        told = json.loads(found.value)
        assert len(fitting(told["topic"], json.dumps(told["event"]).encode())) == 1


class Producer:
    """Keeps what the board would produce."""

    def __init__(self) -> None:
        self.sent: list[tuple[str, Any]] = []

    async def send(self, key: str, value: Any) -> RecordAt:
        self.sent.append((key, value))
        return RecordAt(0, len(self.sent))


async def acted() -> list[tuple[str, Any]]:
    """Return key and value of what the board produces when people act."""
    book, producer = AlertBook(), Producer()
    book.add(alert_json("acme") | {"id": ALERT_ID})
    index = {"acme": object()}
    board: Any = SimpleNamespace(
        actions=producer, book=book, index=index, require_loaded=lambda: None
    )
    who: Any = SimpleNamespace(name="ann")
    nothing: Any = None
    minutes: Any = SimpleNamespace(minutes=60)
    await alert_routes.acknowledge(board, who, ALERT_ID, nothing)
    await alert_routes.withdraw(board, who, ALERT_ID, nothing)
    await alert_routes.mute(board, who, "account", "acme", minutes, nothing)
    await alert_routes.unmute(board, who, "account", "acme", nothing)
    return producer.sent


def test_what_the_board_produces_fits() -> None:
    found = [
        (fitting("alert-actions", json.dumps(value).encode()), fits_key("alert-actions", key))
        for key, value in asyncio.run(acted())
    ]

    assert [payload for payload, _ in found] == [
        ["Acknowledgement"], ["Withdrawal"], ["Mute"], ["Withdrawal"]
    ]  # fmt: skip
    assert all(set(payload) <= set(keys) for payload, keys in found)


def fits_key(topic: str, key: str) -> list[str]:
    """Return the messages of *topic* that may have *key*."""
    place = "bindings/kafka/key"
    return [each for each in messages_of(topic) if not complaints(each, key, place)]


def test_what_the_commands_mute_and_unmute_produce_fits() -> None:
    muted = mutes.mute("rule", "surge_started", until=1e9, by="ann", now=9e8)
    lifted = mutes.unmute("rule", "surge_started")

    assert fitting(muted.topic, muted.value) == ["Mute"]
    assert fitting(lifted.topic, lifted.value) == ["Withdrawal"]
    assert fits_key(muted.topic, (muted.key or b"").decode()) == ["Mute", "Withdrawal"]


@pytest.mark.parametrize("outcome", [each for each in Outcome if each is not Outcome.SKIPPED])
def test_recorded_deliveries_fit(outcome: Outcome) -> None:
    made = message_of(delivery(alert(), "crm", outcome, now=1.5, detail="why"), 3)

    assert fitting(made.topic, made.value) == ["Delivery"]
    assert "Delivery" in fits_key(made.topic, (made.key or b"").decode())


def test_delivery_that_holds_an_alert_fits() -> None:
    whole = next(value for topic, _, value in announced() if topic == "alerts")
    held = msgspec.structs.replace(
        delivery(alert(), "crm", Outcome.HELD, now=1.0),
        digest="d", offset=17, timestamp=1_767_225_600_123, alert=msgspec.Raw(whole),
    )  # fmt: skip

    assert fitting("deliveries", message_of(held, 3).value) == ["Delivery"]


def text_of(message: Message) -> dict[str, str]:
    return {name: value.decode() for name, value in message.headers}


@pytest.mark.parametrize("reason", Reason)
def test_dead_letters_fit(reason: Reason) -> None:
    letter = dead_letter(consumed("chats", b"raw", at=(3, 17)), BadRecord(reason, "why"))

    assert complaints("DeadLetter", text_of(letter), "headers") == []
    assert complaints("DeadLetter", (letter.value or b"").decode()) == []


def test_dead_letters_that_are_cut_or_lines_of_files_fit() -> None:
    large = consumed("chats", b"x" * LARGE_BYTES, at=(3, 17))
    cut = dead_letter(large, BadRecord(Reason.TOO_LARGE, "why")).instead

    assert cut is not None
    for letter in (cut, replayed_line(b"no JSON")):
        assert complaints("DeadLetter", text_of(letter), "headers") == []


def test_receipts_of_replayed_letters_fit() -> None:
    made = dead_letter(consumed("chats", b"raw", at=(3, 17)), BadRecord(Reason.NOT_JSON, "why"))
    letter = letter_of(consumed("dead-letters", b"raw", at=(0, 1), headers=made.headers))

    assert letter is not None
    assert complaints("ReplayReceipt", text_of(receipt(letter)), "headers") == []


def test_unresolved_events_fit() -> None:
    found = unresolved(consumed("chats", b"{}", at=(3, 17)))

    assert complaints("Unresolved", text_of(found), "headers") == []
    assert complaints("Unresolved", (found.value or b"").decode()) == []


def test_every_shape_of_an_output_is_the_payload_of_a_message() -> None:
    payloads = {m.payload.get("$ref", "") for each in channels().values() for m in each.messages}

    assert {f"#/components/schemas/{each.__name__}" for each in OUTPUT_SHAPES} <= payloads
