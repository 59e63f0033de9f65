"""The board as a process: it listens until it is told to stop."""

import asyncio
import contextlib
import logging
import signal
from pathlib import Path

import scipy.special  # noqa: F401  # not at the first surge: it would stop the loop for a moment

from stream.board.application import create_app
from stream.board.board import Board, assemble
from stream.errors import RefusedReading, RefusedStart, SurgelineError, first_of
from stream.reader import open_scores
from stream.settings import Settings
from stream.web.serving import Server, announce, listening, server_of

log = logging.getLogger(__name__)


async def run_board(settings: Settings, *, port_file: Path | None = None) -> None:
    """Serve until SIGINT or SIGTERM.

    Writes the port to *port_file*. Redis and Kafka may be away at the start. Raises InvalidSetting
    when tokens are missing, RefusedStart when it cannot listen, or when Redis does not let it in,
    RefusedReading when the scores are of another format or model.
    """
    board = assemble(settings)
    await _check_scores(settings)
    listener = listening("board", settings.board_host, settings.board_port)
    server = server_of(create_app(board), http="h11")
    with contextlib.ExitStack() as stack:
        stack.callback(listener.close)
        for each in (signal.SIGINT, signal.SIGTERM):
            asyncio.get_running_loop().add_signal_handler(each, _stop, server, board)
        keeping = asyncio.create_task(board.run())
        serving = asyncio.create_task(server.serve(sockets=[listener]))
        announce("board", listener, port_file)
        await asyncio.wait({keeping, serving}, return_when=asyncio.FIRST_COMPLETED)
        _stop(server, board)
        await serving
        keeping.cancel()
        await _ended(keeping)


async def _ended(keeping: "asyncio.Task[None]") -> None:
    """Wait for the end of *keeping*; raise the error that has ended it, if one has."""
    try:
        await keeping
    except asyncio.CancelledError:
        return
    except BaseExceptionGroup as group:
        raise first_of(group) from None


def _stop(server: Server, board: Board) -> None:
    server.should_exit = True
    board.broadcast.close()  # streams have no end of their own


async def _check_scores(settings: Settings) -> None:
    """Raise what no waiting cures."""
    try:
        async with open_scores(settings):
            pass
    except (RefusedReading, RefusedStart):
        raise
    except SurgelineError as error:
        log.warning("%s Waiting for it.", error)
