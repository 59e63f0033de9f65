"""Hypothesis strategies: records and models close to good ones, and far from them."""

import copy
import json
import tomllib
from collections.abc import Mapping
from importlib import resources
from typing import Any

from hypothesis import strategies as st

from scoring.events import TOPIC_TYPES, TYPE_TOPICS
from tests.fuzz.seeds import HISTORY, ODD_VALUES

Json = dict[str, Any]

TIMES = (
    "2025-12-31T23:59:60Z",
    "0001-01-01T00:00:00+23:59",
    "9999-12-31T23:59:59.999999-23:59",
    "2026-01-01T12:00:00.123456789Z",
    "2026-01-01t12:00:00z",
    "2026-01-01 12:00:00Z",
    "2026-02-30T00:00:00Z",
    "2026-01-01T12:00:00-00:00",
    "2026-01-01T12:00:00+24:00",
    "1969-12-31T23:59:59.999999Z",
)
_numbers = st.one_of(
    st.integers(),
    st.floats(),
    st.sampled_from([0, -0.0, 1e308, -1e308, 5e-324, 2**53 + 1, 2**64, 10**400]),
)
_texts = st.one_of(
    st.text(st.characters(codec="utf-8")),
    st.text(),
    st.sampled_from(["", "x" * 512, "x" * 513, "é" * 512, "\x00", "*", *TIMES]),
)
_json = st.recursive(
    st.one_of(st.none(), st.booleans(), _numbers, _texts),
    lambda inner: st.one_of(
        st.lists(inner, max_size=4), st.dictionaries(_texts, inner, max_size=4)
    ),
    max_leaves=8,
)
_fields = st.sampled_from(sorted({name for event in HISTORY for name in event}))
_urls = st.builds(
    "https://x.example/{}{}".format,
    st.sampled_from(["", "pricing/", "careers", "[", "%2F", "//", "docs.html"]),
    st.text(max_size=20),
)


@st.composite
def _near(draw: st.DrawFn) -> tuple[str, bytes]:
    """Draw a good event with up to three fields changed, dropped or added."""
    event = dict(draw(st.sampled_from(HISTORY)))
    topic = TYPE_TOPICS[event["type"]]
    for _ in range(draw(st.integers(0, 3))):
        name = draw(_fields)
        change = draw(st.sampled_from(["drop", "value", "text", "number", "url", "time"]))
        if change == "drop":
            event.pop(name, None)
        else:
            drawn = {"value": _json, "text": _texts, "number": _numbers, "url": _urls}
            event[name] = draw(drawn.get(change, st.sampled_from(TIMES)))
    text = json.dumps(event, ensure_ascii=draw(st.booleans()))
    return topic, text.encode("utf-8", "surrogatepass")


@st.composite
def _damaged(draw: st.DrawFn) -> tuple[str, bytes]:
    """Draw a good record with bytes replaced, cut out or repeated."""
    topic, value = draw(_near())
    at = draw(st.integers(0, len(value)))
    length = draw(st.integers(0, 8))
    return topic, value[:at] + draw(st.binary(max_size=8)) + value[at + length :]


_topics = st.sampled_from(sorted(TOPIC_TYPES))


def records() -> st.SearchStrategy[tuple[str, bytes | None]]:
    """Draw (topic, value)."""
    return st.one_of(
        _near(),
        _damaged(),
        st.tuples(_topics, _json.map(lambda v: json.dumps(v).encode())),
        st.tuples(_topics, st.one_of(st.none(), st.binary(), st.sampled_from(ODD_VALUES))),
    )


def _default() -> Json:
    text = (resources.files("scoring") / "default_model.toml").read_text(encoding="utf-8")
    return tomllib.loads(text)


def _leaves(table: Mapping[str, Any], path: tuple[str, ...] = ()) -> list[tuple[str, ...]]:
    found: list[tuple[str, ...]] = []
    for name, value in table.items():
        nested = isinstance(value, Mapping)
        found += _leaves(value, (*path, name)) if nested else [(*path, name)]
    return found


_DEFAULT = _default()
_paths = st.sampled_from(_leaves(_DEFAULT))
_words = st.lists(st.one_of(st.sampled_from(["pricing", "a-b", "x.y", "é"]), st.text(max_size=5)))
_settings = st.one_of(
    _numbers, _words, st.booleans(), st.text(max_size=5), st.floats(1e-9, 1e9), st.integers(0, 400)
)


def toml(value: Any) -> str:
    """Return *value* as TOML writes it: as JSON does, but for tables, infinities and NaN."""
    if isinstance(value, float):
        return {"inf": "inf", "-inf": "-inf", "nan": "nan"}.get(str(value), repr(value))
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{toml(k)} = {toml(v)}" for k, v in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(toml, value)) + "]"
    return json.dumps(value)


@st.composite
def _changed_model(draw: st.DrawFn) -> bytes:
    """Draw the default model with up to four numbers or lists replaced."""
    table = copy.deepcopy(_DEFAULT)
    for _ in range(draw(st.integers(1, 4))):
        *sections, name = draw(_paths)
        place = table
        for section in sections:
            place = place[section]
        place[name] = draw(_settings)
    text = "".join(f"{toml(name)} = {toml(value)}\n" for name, value in table.items())
    return text.encode("utf-8", "surrogatepass")


@st.composite
def _extreme_model(draw: st.DrawFn) -> bytes:
    """Draw the default model with all numbers of some sections replaced by one."""
    number = draw(st.one_of(st.floats(0), st.sampled_from([5e-324, 1e-9, 1e9, 1e150, 1.7e308])))
    sections = draw(st.sets(st.sampled_from(["points", "caps", "weight", "value", "relationship"])))
    table = copy.deepcopy(_DEFAULT)
    places = {
        "points": table["engagement"]["points"],
        "caps": table["engagement"]["daily_cap_minutes"],
        "weight": table["engagement"]["seniority_weight"],
        "value": table["pages"]["value"],
        "relationship": table["relationship"],
    }
    for section in sections:
        for name, value in places[section].items():
            if isinstance(value, float) and not name.endswith(("share", "floor")):
                places[section][name] = number
    text = "".join(f"{toml(name)} = {toml(value)}\n" for name, value in table.items())
    return text.encode()


def models() -> st.SearchStrategy[bytes]:
    """Draw model files."""
    return st.one_of(
        _changed_model(),
        _extreme_model(),
        st.binary(max_size=200),
        st.text(st.characters(codec="utf-8")).map(str.encode),
    )
