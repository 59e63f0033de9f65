"""The quick decoders accept exactly what the judge of all records accepts, and read the same."""

import datetime as dt
import json

import hypothesis.strategies as st
import pytest
from hypothesis import find, given
from pydantic_core import ValidationError

from scoring.events import Event, any_decoder, decoders
from tests.strategies import START, Json, bodies, rfc3339

DECODERS = decoders()
JUDGE = any_decoder()

ODD_VALUES = (
    b"null",
    b"true",
    b"[]",
    b'""',
    b'"\xff"',
    b'"\\ud800"',
    b'"\\ud83d\\ude00"',
    b'"a\\u0000b"',
    b"-0.0",
    b"-1",
    b"1e400",
    b"NaN",
    b"Infinity",
    b"01",
    b"12345678901234567890123",
    b'"12"',
    b'"2026-01-02T03:04:05Z"',
    b'"2026-01-02t03:04:05z"',
    b'"2026-01-02 03:04:05Z"',
    b'"2026-01-02T03:04:05.1234567+01:00"',
    b'"2026-01-02T03:04:05.123456-23:59"',
    b'"2026-01-02T03:04:05+0100"',
    b'"2026-01-02T03:04:05"',
    b'"2026-01-02T24:00:00Z"',
    b'"2026-02-30T03:04:05Z"',
    b'"0001-01-01T00:00:00+05:00"',
    b'"2026-01-02T03:04:60Z"',
    b'"' + b"x" * 513 + b'"',
    '"é\u2028"'.encode(),
    b"[" * 199 + b"]" * 199,
    b"[" * 201 + b"]" * 201,
    b'{"":' * 400 + b"1" + b"}" * 400,
    b"[" * 3_000 + b"]" * 3_000,
)
AD: Json = {
    "id": "1", "source": "s", "type": "ad", "action": "click", "campaign_id": "c",
    "placement": "web", "cost": 1,
}  # fmt: skip
FIELDS = ("id", "time", "action", "url", "direction", "strength", "cost", "contact_id", "unknown")


def read(decode: object, raw: bytes) -> Event | None:
    try:
        found: Event = decode(raw)  # type: ignore[operator]
    except ValidationError:
        return None
    return found


@st.composite
def records(draw: st.DrawFn, type_: str) -> bytes:
    """Draw a record of *type_*, up to two fields of which are odd."""
    plain: Json = {"id": "1", "source": "test", "time": rfc3339(START), **draw(bodies((type_,)))}
    odd = draw(st.lists(st.sampled_from(FIELDS), max_size=2, unique=True))
    fields = [
        b'"%b":%b' % (name.encode(), json.dumps(value).encode())
        for name, value in plain.items()
        if name not in odd
    ]
    fields += [b'"%b":%b' % (name.encode(), draw(st.sampled_from(ODD_VALUES))) for name in odd]
    return b"{" + b",".join(draw(st.permutations(fields))) + b"}"


@pytest.mark.parametrize("type_", ["ad", "chat", "email", "intent", "page_visit"])
@given(data=st.data())
def test_every_decoder_decides_as_the_judge_does(type_: str, data: st.DataObject) -> None:
    raw = data.draw(records(type_))

    found = read(DECODERS[type_], raw)

    assert found == read(JUDGE, raw)


@given(data=st.data())
def test_a_time_is_read_as_the_judge_reads_it(data: st.DataObject) -> None:
    known = ("Z", "+00:00", ".5Z", ".123Z", ".123456Z", ".123+00:00", ".123456+00:00", "+05:30")
    time = list("2026-01-02T03:04:05" + data.draw(st.sampled_from(known)))
    for _ in range(data.draw(st.integers(0, 4))):
        at = data.draw(st.integers(0, len(time)) | st.integers(16, len(time)))
        with_ = data.draw(st.sampled_from((*"019:.,+-TZtz W", "٣", "\0", "")))
        time[at : at + data.draw(st.integers(0, 1))] = with_
    raw = json.dumps(AD | {"time": "".join(time)}).encode()

    assert read(DECODERS["ad"], raw) == read(JUDGE, raw)


def test_most_records_need_no_judge() -> None:
    raw = json.dumps(AD | {"time": "2026-01-02T03:04:05.5Z"}).encode()

    found = read(DECODERS["ad"], raw)

    assert found is not None
    assert found["time"].tzinfo is dt.UTC  # the judge has a time zone of its own


@pytest.mark.parametrize("type_", ["ad", "chat", "email", "intent", "page_visit"])
@pytest.mark.parametrize(("depth", "read_"), [(200, True), (201, False)])
def test_records_are_as_deep_as_the_judge_reads(type_: str, depth: int, *, read_: bool) -> None:
    body = find(bodies((type_,)), lambda _: True)
    plain: Json = {"id": "1", "source": "test", "time": rfc3339(START), **body}
    raw = json.dumps(plain).encode()[:-1] + b',"unknown":' + b"[" * depth + b"]" * depth + b"}"

    assert (read(JUDGE, raw) is not None) is read_
    assert (read(DECODERS[type_], raw) is not None) is read_
