"""Logs: one line an event on stderr."""

import logging
import sys


def set_up_logging(level: str) -> None:
    """Log *level* and above to stderr.

    The libraries log every failed attempt with a traceback; the worker itself says once what
    is wrong, so theirs are shown only at level debug.
    """
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)-7s %(message)s"))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    quiet = logging.DEBUG if level == "debug" else logging.CRITICAL + 1
    # Services of the libraries log under the module of our subclasses.
    for name in ("aiokafka", "faust", "mode", "asyncio", "stream.app", "stream.transport"):
        logging.getLogger(name).setLevel(quiet)
