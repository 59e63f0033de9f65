"""Logs: what a line says, for programs and for people."""

import datetime as dt
import json
import logging
from collections.abc import Iterator
from typing import Any, cast

import pytest

from stream.errors import NotFound
from stream.logs import Format, last_line_logged, set_up_logging


@pytest.fixture(autouse=True)
def untouched() -> Iterator[None]:
    """Give the root logger back as it was."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    logging.captureWarnings(capture=False)


def lines(captured: pytest.CaptureFixture[str]) -> list[dict[str, Any]]:
    return [json.loads(each) for each in captured.readouterr().err.splitlines()]


def test_json_line_says_what_when_how_grave_and_who(capsys: pytest.CaptureFixture[str]) -> None:
    set_up_logging("info", process="worker", form="json")

    logging.getLogger("stream.ownership").warning("Shard %d was refused.", 3)

    (line,) = lines(capsys)
    time = dt.datetime.fromisoformat(line.pop("timestamp"))
    assert time.utcoffset() == dt.timedelta(0)
    assert abs(time - dt.datetime.now(dt.UTC)) < dt.timedelta(minutes=1)
    assert line == {
        "event": "Shard 3 was refused.",
        "level": "warning",
        "logger": "stream.ownership",
        "process": "worker",
    }


def test_text_line_holds_the_sentence(capsys: pytest.CaptureFixture[str]) -> None:
    set_up_logging("info", process="exporter", form="text")

    logging.getLogger("stream.exporter").info("Redis is back.")

    said = capsys.readouterr().err
    assert "Redis is back. [stream.exporter] process=exporter" in said
    assert said.count("\n") == 1


def test_auto_is_json_where_nobody_reads_along(capsys: pytest.CaptureFixture[str]) -> None:
    set_up_logging("info")

    logging.getLogger("any").info("Here.")

    assert lines(capsys)[0]["event"] == "Here."


@pytest.mark.parametrize("library", ["aiokafka", "faust", "mode", "asyncio"])
def test_libraries_speak_at_level_debug_only(
    capsys: pytest.CaptureFixture[str], library: str
) -> None:
    said = {}
    for level in ("info", "debug"):
        set_up_logging(level, form="json")
        logging.getLogger(f"{library}.part").error("Attempt failed.")
        said[level] = [each["logger"] for each in lines(capsys)]

    assert said == {"info": [], "debug": [f"{library}.part"]}


READ = "ann@acme.example"


def fail(value: str = READ) -> int:
    return int(value)


@pytest.mark.parametrize("form", ["json", "text"])
def test_traceback_quotes_no_record_above_level_debug(
    capsys: pytest.CaptureFixture[str], form: str
) -> None:
    said = {}
    for level in ("info", "debug"):
        set_up_logging(level, form=cast(Format, form))
        try:
            fail()
        except ValueError:
            logging.getLogger("any").exception("A fault.")
        said[level] = capsys.readouterr().err

    assert "in fail" in said["info"]
    assert "ValueError" in said["info"]
    assert READ not in said["info"]
    assert READ in said["debug"]


def test_last_sentence_is_a_json_line_too(capsys: pytest.CaptureFixture[str]) -> None:
    set_up_logging("info", process="worker", form="json")

    with pytest.raises(SystemExit) as ended, last_line_logged("json"):
        raise NotFound("Nothing\nis here.")

    assert ended.value.code == 1
    (line,) = lines(capsys)
    assert (line["event"], line["level"]) == ("Nothing is here.", "critical")


def test_last_sentence_is_left_to_the_command_line_as_text() -> None:
    with pytest.raises(NotFound), last_line_logged("text"):
        raise NotFound("Nothing is here.")


def test_fault_ends_the_process_with_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    set_up_logging("info", process="worker", form="json")

    with pytest.raises(SystemExit) as ended, last_line_logged("json"):
        fail()

    assert ended.value.code == 1
    assert "ValueError" in lines(capsys)[0]["exception"]
