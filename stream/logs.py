"""Logs: one line an event on stderr, as JSON for programs or as text for people.

The project's modules and the libraries all log by the standard library; structlog turns what
they log into lines. Above level debug a line names topics, offsets, shards and servers, never a
contact, an email address or anything else out of a record.
"""

import logging
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final, Literal

import structlog
from structlog.types import EventDict, Processor, WrappedLogger

from scoring.errors import ScoringError
from stream.errors import SurgelineError

Format = Literal["auto", "json", "text"]

LIBRARIES: Final = ("aiokafka", "faust", "mode", "asyncio", "stream.app", "stream.transport")
"""Loggers of the libraries; their services log under the module of our subclasses."""


def set_up_logging(level: str, *, process: str = "surgeline", form: Format = "auto") -> None:
    """Log *level* and above to stderr, each line with the name of this *process*.

    *form* ``auto`` is text where stderr is a terminal, else JSON. The libraries log every failed
    attempt with a traceback; the worker itself says once what is wrong, so theirs are shown only
    at level debug.
    """
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_formatter(process, json=logs_json(form), quoting=level == "debug"))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    logging.captureWarnings(capture=True)
    quiet = logging.DEBUG if level == "debug" else logging.CRITICAL + 1
    for name in LIBRARIES:
        logging.getLogger(name).setLevel(quiet)
    # At level debug it shows every request as it is sent, and one of them holds the password.
    logging.getLogger("aiokafka.conn").setLevel(max(quiet, logging.INFO))


def logs_json(form: Format) -> bool:
    """Tell whether *form* means JSON for this process."""
    return form == "json" or (form == "auto" and not sys.stderr.isatty())


@contextmanager
def process_logs(process: str, level: str, form: Format) -> Iterator[None]:
    """Log as *process* while inside, and the error that ends it as the last line."""
    set_up_logging(level, process=process, form=form)
    with last_line_logged(form):
        yield


@contextmanager
def last_line_logged(form: Format) -> Iterator[None]:
    """Log the error that ends the process, and raise SystemExit (exit code 1) instead of it.

    With JSON every line can then be parsed. As text, our own sentences are left to the command
    line, which prints them.
    """
    try:
        yield
    except (ScoringError, SurgelineError) as error:
        if not logs_json(form):
            raise
        logging.getLogger("surgeline").critical("%s", " ".join(str(error).splitlines()))
        raise SystemExit(1) from None
    except Exception:
        logging.getLogger("surgeline").critical("The process ends by a fault.", exc_info=True)
        raise SystemExit(1) from None


def _formatter(process: str, *, json: bool, quoting: bool) -> logging.Formatter:
    def named(_: WrappedLogger, __: str, event: EventDict) -> EventDict:
        event["process"] = process
        return event

    def traced(_: WrappedLogger, __: str, event: EventDict) -> EventDict:
        found = event.pop("exc_info", None)
        error = sys.exception() if found is True else found[1] if found else None
        if error is not None:
            event["exception"] = _trace(error, quoting=quoting)
        return event

    shared: list[Processor] = [
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        named,
        traced,
    ]
    last: Processor = structlog.processors.JSONRenderer()
    if not json:
        last = structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty(), pad_event_to=0)
    return structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=shared,
        processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, last],
    )


def _trace(error: BaseException, *, quoting: bool) -> str:
    """Return where *error* and what led to it were raised.

    What a fault says of itself may quote a record, so foreign errors speak only when *quoting*.
    """
    parts: list[str] = []
    at: BaseException | None = error
    while at is not None:
        ours = quoting or isinstance(at, ScoringError | SurgelineError)
        said = f": {at}" if ours and str(at) else ""
        frames = "".join(traceback.format_tb(at.__traceback__))
        parts.append(f"{frames}{type(at).__qualname__}{said}")
        at = at.__cause__ or (None if at.__suppress_context__ else at.__context__)
    return "\nled to\n".join(reversed(parts))
