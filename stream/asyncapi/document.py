"""The AsyncAPI 3 document as a value, and as YAML."""

from typing import Any, Final

import yaml

from stream.asyncapi.channels import HEADERS, Channel, Message, channels
from stream.asyncapi.examples import EXAMPLES
from stream.asyncapi.schemas import payload_schemas
from stream.settings import Settings
from stream.topics import INPUTS, TRANSFERS, topic_specs
from stream.version import installed_version

Json = dict[str, Any]

BINDING: Final = {"bindingVersion": "0.5.0"}
LINE_COLUMNS: Final = 100

DESCRIPTION: Final = """\
Surgeline scores accounts by what their people do. Producers write events to the input topics; what
comes of them is in the output topics. Operations are those of Surgeline: it receives the inputs and
sends the outputs.

Records are one JSON object each, UTF-8. Key every event by its account_id. All input topics have
the same number of partitions, and an account lives in partition (murmur2(account_id) & 0x7fffffff)
% partitions of each: the default of Kafka's Java client, which librdkafka calls
partitioner=murmur2_random. A record found elsewhere, or without a key, is sent there again by
Surgeline and scored a little later.

A repeat of the same source and id is not scored twice. What breaks the contract, or is larger than
SURGELINE_MAX_RECORD_BYTES (1 MiB), goes to dead-letters with the reason in its headers; everything
else goes on. Outputs are at least once: the ids of alerts and transitions are the same at every
repeat. Readers must expect new fields.

Where SURGELINE_TOPIC_PREFIX is set, every address begins with it. Partitions and replicas are those
of a default installation.
"""
HEAD: Final = "# Made from the event contract by `make asyncapi`; a test holds it to that.\n"


def document() -> Json:
    """Return the document: plain values, the same in every process."""
    found = channels()
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "Surgeline",
            "version": installed_version(),
            "description": DESCRIPTION,
            "license": {"name": "Apache-2.0"},
        },
        "defaultContentType": "application/json",
        "servers": {"kafka": _server()},
        "channels": {name: _channel(name, each) for name, each in found.items()},
        "operations": {_operation_id(name): _operation(name, each) for name, each in found.items()},
        "components": {
            "messages": {m.name: _message(m) for each in found.values() for m in each.messages},
            "schemas": {**HEADERS} | payload_schemas(),
        },
    }


def _server() -> Json:
    return {
        "host": "{brokers}",
        "protocol": "kafka",
        "description": (
            "Your Kafka cluster. Whether it wants TLS, and a user and password, is for it to say."
        ),
        "variables": {
            "brokers": {
                "default": _default("kafka_url"),
                "description": "host:port of a broker, as in SURGELINE_KAFKA_URL.",
            }
        },
    }


def _default(setting: str) -> Any:
    return Settings.model_fields[setting].default


def _channel(name: str, channel: Channel) -> Json:
    config = next(each.config for each in topic_specs() if each.name == name)
    return {
        "address": name,
        "summary": channel.summary,
        "description": f"{_kept(config)} {_read(name)}",
        "messages": {
            each.name: {"$ref": f"#/components/messages/{each.name}"} for each in channel.messages
        },
        "bindings": {
            "kafka": {
                "partitions": _default("partitions"),
                "replicas": _default("replication"),
                "topicConfiguration": {
                    key: [value] if key == "cleanup.policy" else int(value)
                    for key, value in config.items()
                },
            }
            | BINDING
        },
    }


def _kept(config: dict[str, str]) -> str:
    if config["cleanup.policy"] == "compact":
        return "Compacted: the newest record of each key is kept."
    kept = int(config["retention.ms"])
    return "Kept for ever." if kept < 0 else f"Kept for {kept // 86_400_000} days."


def _read(name: str) -> str:
    if name == TRANSFERS:
        return "Never compacted. Workers write here, and nobody else."
    if name in INPUTS:
        return "Never compacted. Producers write here."
    return "Written by Surgeline alone; read it as you like."


def _operation_id(name: str) -> str:
    verb = "receive" if name in INPUTS else "send"
    return verb + "".join(word.capitalize() for word in name.split("-"))


def _operation(name: str, channel: Channel) -> Json:
    found: Json = {
        "action": "receive" if name in INPUTS else "send",
        "channel": {"$ref": f"#/channels/{name}"},
        "summary": channel.summary,
        "messages": [
            {"$ref": f"#/channels/{name}/messages/{each.name}"} for each in channel.messages
        ],
    }
    if name in INPUTS:
        group = {"type": "string", "default": _default("group")}
        found["bindings"] = {"kafka": {"groupId": group} | BINDING}
    return found


def _message(message: Message) -> Json:
    example = EXAMPLES[message.name]
    headers = {} if message.headers is None else {"headers": message.headers}
    shown = {} if example.headers is None else {"headers": example.headers}
    return {
        "name": message.name,
        "summary": message.summary,
        "contentType": message.content_type,
        **headers,
        "payload": message.payload,
        "bindings": {"kafka": {"key": message.key} | BINDING},
        "examples": [{**shown, "payload": example.payload}],
    }


def _text(dumper: yaml.SafeDumper, value: str) -> Any:
    style = "|" if "\n" in value else None
    return dumper.represent_scalar("tag:yaml.org,2002:str", value, style=style)


class _Dumper(yaml.SafeDumper):
    """Writes YAML for readers: nothing by reference, paragraphs as blocks."""

    yaml_representers = yaml.SafeDumper.yaml_representers | {str: _text}

    def ignore_aliases(self, data: Any) -> bool:  # noqa: ARG002  # PyYAML's signature
        return True


def yaml_text() -> str:
    """Return the document as it lies in `deploy/asyncapi.yaml`."""
    dumped = yaml.dump(
        document(), Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=LINE_COLUMNS
    )
    return f"{HEAD}{dumped}"
