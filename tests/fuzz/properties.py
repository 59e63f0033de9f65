"""What must hold of every record and every scoring model, whatever is in them."""

import math
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter
from pydantic_core import ValidationError

from scoring.account import AccountState, decode_state, encode_state
from scoring.errors import InvalidModel, Reason
from scoring.events import _SCHEMAS, TOPIC_TYPES, Event, check_event
from scoring.fold import Account, Outcome, fold
from scoring.model import ScoringModel
from scoring.rules import Rules
from scoring.scores import scores_at
from scoring.transitions import next_due, walk
from stream.decoding import Decoded, DecodeRecord, record_decoder
from stream.errors import InvalidSetting
from stream.model_file import read_model
from stream.outputs import dead_letter, rekeyed, unresolved
from stream.routing import shard_finder
from stream.writing import account_writer
from tests.builders import announce_alert, announce_errand, default_rules
from tests.builders import decoded as decoded_event
from tests.fuzz.seeds import HISTORY
from tests.records import consumed

NOW = 1_767_268_800.0
"""2026-01-01T12:00:00Z, the wall clock of these workers."""
MAX_BYTES = 16_384
YEAR = 365 * 86_400.0
PARTITIONS = 8


@lru_cache(maxsize=1)
def _decoders() -> dict[str, DecodeRecord]:
    return {topic: record_decoder(topic, max_bytes=MAX_BYTES) for topic in TOPIC_TYPES}


@lru_cache(maxsize=1)
def _judges() -> dict[str, Callable[[bytes], Event]]:
    return {
        topic: TypeAdapter(_SCHEMAS[type_]).validator.validate_json
        for topic, type_ in TOPIC_TYPES.items()
    }


@lru_cache(maxsize=1)
def _history() -> bytes:
    account = Account(AccountState("acme"))
    for event in HISTORY:
        valid, at = decoded_event(event)
        fold(account, valid, at, default_rules())
    return encode_state(account.state)


def record(topic: str, value: bytes | None) -> Any:
    return consumed(topic, value, at=(0, 5), timestamp=int(NOW * 1_000), key=b"acme")


def check_record(topic: str, value: bytes | None) -> None:
    """Assert that a record of *topic* is either scored or buried, as the contract says."""
    found = _decoders()[topic](record(topic, value), NOW)
    assert (found.event is None) is (found.error is not None)
    _check_verdict(topic, value, found)
    if found.event is None:
        _check_buried(found)
    else:
        _check_scored(topic, found)


def _check_verdict(topic: str, value: bytes | None, found: Decoded) -> None:
    """Assert that pydantic alone would have decided alike."""
    if value is None or len(value) > MAX_BYTES:
        assert found.error is not None
        return
    try:
        judged = _judges()[topic](value)
    except ValidationError:
        assert found.error is not None, "accepted although the contract refuses it"
        return
    if found.event is not None:
        assert found.event == judged
        assert found.time == check_event(judged, now=NOW)


def _check_buried(found: Decoded) -> None:
    assert found.error is not None
    assert found.error.reason in Reason
    assert found.error.detail
    letter = dead_letter(found.record, found.error)
    assert letter.value == found.record.value
    assert all(isinstance(value, bytes) for _, value in letter.headers)


def _check_scored(topic: str, found: Decoded) -> None:
    event = found.event
    assert event is not None
    assert event["type"] == TOPIC_TYPES[topic]
    assert math.isfinite(found.time)
    account_id = event.get("account_id")
    if account_id is None:
        assert unresolved(found.record).value == found.record.value
        return
    message = rekeyed(found.record, topic, account_id, shard_finder(PARTITIONS)(account_id))
    assert message.key
    if event["type"] == "spend":
        return
    for state in (AccountState(account_id), decode_state(_history())):
        account = Account(state)
        assert fold(account, event, found.time, default_rules()) in Outcome
        _check_account(account, default_rules())
        assert fold(account, event, found.time, default_rules()) is not Outcome.DEAD


def _check_account(account: Account, rules: Rules) -> None:
    """Assert that *account* can be stored, read back, scored now and later, and moved on."""
    state = account.state
    now = max(NOW, state.instant or NOW)
    stored, announced = account_writer(rules, announce_alert, announce_errand)(account, now)
    assert encode_state(decode_state(stored.state)) == stored.state
    assert all(each.key for each in announced)
    for at in (now, now + YEAR):
        scores = scores_at(state, at, rules)
        for score in (scores.engagement, scores.intent_surge, scores.relationship):
            assert 0.0 <= score <= 100.0
        assert 0.0 <= scores.engagement_minutes < math.inf
    due = next_due(state, rules)
    if due is not None:
        walk(state, account.live, due, rules)


def check_model(text: bytes, directory: Path) -> None:
    """Assert that a model file is refused in one sentence, or scores events."""
    path = directory / "model.toml"
    path.write_bytes(text)
    try:
        model = read_model(path)
    except (InvalidModel, InvalidSetting) as error:
        refusal = str(error)
    else:
        _check_model_scores(model)
        return
    assert refusal.startswith(str(path))
    assert "\n" not in refusal


def _check_model_scores(model: ScoringModel) -> None:
    rules = Rules.of(model)
    assert len(model.digest) == 16
    account = Account(AccountState("acme"))
    for event in HISTORY:
        valid, at = decoded_event(event)
        assert fold(account, valid, at, rules) in Outcome
    _check_account(account, rules)
