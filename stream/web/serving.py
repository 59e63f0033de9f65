"""An ASGI application as a process: where it listens, and how it is served."""

import contextlib
import logging
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import uvicorn

from stream.errors import RefusedStart
from stream.listening import web_address, write_port

log = logging.getLogger(__name__)

LOOPBACK_HOSTS: Final = frozenset({"127.0.0.1", "localhost", "::1"})
STOP_SECONDS: Final = 3
"""Requests that are being answered get so long at the end."""
MOST_CONNECTIONS: Final = 1_000
IDLE_SECONDS: Final = 30
BACKLOG: Final = 512


class Server(uvicorn.Server):
    """Signals are handled by whoever runs it: uvicorn's way ends the process by them."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave signals alone."""
        yield


def server_of(app: Any, *, stop_seconds: int = STOP_SECONDS, **options: Any) -> Server:
    """Return the server of *app*; *options* are uvicorn's."""
    config = uvicorn.Config(
        app,
        log_config=None,
        log_level=logging.WARNING,
        access_log=False,
        server_header=False,
        lifespan="off",
        ws="none",
        limit_concurrency=MOST_CONNECTIONS,
        timeout_keep_alive=IDLE_SECONDS,
        timeout_graceful_shutdown=stop_seconds,
        # Nobody may say from which address they come, unless *options* name who may.
        **({"proxy_headers": False} | options),
    )
    return Server(config)


def listening(process: str, host: str, port: int) -> socket.socket:
    """Return the socket of *process* (``board``); raises RefusedStart, naming the variable."""
    try:
        family, kind, *_, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        listener = socket.socket(family, kind)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen(BACKLOG)
    except OSError as error:
        raise RefusedStart(
            f"SURGELINE_{process.upper()}_PORT={port}: cannot listen on {host} "
            f"({error.strerror or error})."
        ) from error
    listener.setblocking(False)  # noqa: FBT003  # the socket's own way
    return listener


def announce(process: str, listener: socket.socket, port_file: Path | None) -> None:
    """Tell where *process* listens: in the log, and in *port_file*."""
    host, port = listener.getsockname()[:2]
    write_port(port, port_file)
    log.info("The %s is at %s/.", process, web_address(host, port))
