"""Sending: one message to one endpoint, once; what came of it is a value, never an exception."""

import asyncio
import logging
import re
import threading
import time
from dataclasses import dataclass
from typing import Final, Protocol
from urllib.parse import parse_qsl, unquote, urlsplit

import aiohttp

from stream.errors import said
from stream.notify.matching import Destination
from stream.notify.policy import retry_after_seconds
from stream.notify.rendering import SIGNATURE, Outgoing, signature
from stream.tracing import Span, no_span
from stream.version import installed_version

AGAIN: Final = frozenset({408, 425, 429})
"""Answers of a client's fault that pass by themselves; those of a server's fault all do."""
BUSY: Final = frozenset({429, 503})
UNANSWERED_TIMES: Final = 4.0
"""So many times its time-out an Apprise service may take: it may ask several times."""


@dataclass(frozen=True, slots=True)
class Failure:
    """Why a message was not delivered."""

    why: str
    again: bool = True
    """Whether another try may end better."""
    away: bool = False
    """Whether it is the endpoint and not this message."""
    after_seconds: float | None = None


class Sender(Protocol):
    """Sends to one endpoint."""

    async def send(self, message: Outgoing) -> Failure | None:
        """Send once; return why it failed, None when the endpoint took it."""


class TracedSender:
    """Sends by another, and times it."""

    def __init__(self, sender: Sender, span: Span, route: str) -> None:
        self._sender = sender
        self._span = span
        self._route = route

    async def send(self, message: Outgoing) -> Failure | None:
        """Send *message* once."""
        with self._span("deliver", route=self._route):
            return await self._sender.send(message)


class WebhookSender:
    """Posts signed JSON."""

    def __init__(
        self, session: aiohttp.ClientSession, url: str, *, secret: str, timeout_seconds: float
    ) -> None:
        self._session = session
        self._url = url
        self._secret = secret
        self._timeout = aiohttp.ClientTimeout(total=timeout_seconds)
        self._agent = f"surgeline/{installed_version()}"

    async def send(self, message: Outgoing) -> Failure | None:
        """Post *message* once."""
        now = time.time()
        headers = {
            "Content-Type": "application/json",
            "User-Agent": self._agent,
            "Idempotency-Key": message.key,
            SIGNATURE: signature(self._secret, message.body, now=now),
        }
        try:
            async with self._session.post(
                self._url,
                data=message.body,
                headers=headers,
                timeout=self._timeout,
                allow_redirects=False,
            ) as answer:
                return _judged(answer.status, answer.headers.get("Retry-After"), now)
        except TimeoutError:
            return Failure(f"no answer within {self._timeout.total:g} s", away=True)
        except (aiohttp.ClientError, OSError, ValueError) as error:
            # What the client says may hold the address, and that may hold a token.
            reason = said(error) if isinstance(error, OSError) and error.errno else ""
            reason = reason.replace(self._url, "its address")
            return Failure(f"no connection ({type(error).__name__}{_after(reason)})", away=True)


def _after(reason: str) -> str:
    return f": {reason}" if reason else ""


def _judged(status: int, retry_after: str | None, now: float) -> Failure | None:
    if 200 <= status < 300:
        return None
    pause = retry_after_seconds(retry_after, now) if status in BUSY else None
    again = status in AGAIN or status >= 500
    return Failure(f"answered {status}", again=again, away=status in BUSY, after_seconds=pause)


class AppriseSender:
    """Sends text by Apprise, in a thread of its own: another that hangs delays nobody."""

    def __init__(self, url: str, *, timeout_seconds: float) -> None:
        self._url = url
        self._timeout_seconds = timeout_seconds
        self._log = logging.getLogger("apprise")

    async def send(self, message: Outgoing) -> Failure | None:
        """Send *message* once."""
        loop = asyncio.get_running_loop()
        done: asyncio.Future[Failure | None] = loop.create_future()

        def settle(failure: Failure | None) -> None:
            if not done.done():
                done.set_result(failure)

        def work() -> None:
            failure = self._notify(message)
            if not loop.is_closed():
                loop.call_soon_threadsafe(settle, failure)

        threading.Thread(target=work, name="apprise", daemon=True).start()
        limit = UNANSWERED_TIMES * self._timeout_seconds
        try:
            return await asyncio.wait_for(done, limit)
        except TimeoutError:
            return Failure(f"no answer within {limit:g} s", away=True)

    def _notify(self, message: Outgoing) -> Failure | None:
        import apprise

        told = _Told(threading.get_ident())
        self._log.propagate = False  # it may say tokens
        self._log.addHandler(told)
        try:
            service = apprise.Apprise.instantiate(self._url, suppress_exceptions=True)
            if service is None:
                return Failure("Apprise does not know this URL", again=False)
            service.socket_connect_timeout = self._timeout_seconds
            service.socket_read_timeout = self._timeout_seconds
            taken = service.notify(
                body=message.text, title=message.title, body_format=apprise.NotifyFormat.TEXT
            )
        except Exception as error:  # noqa: BLE001  # whatever a service does, the others go on
            return Failure(f"Apprise fails ({type(error).__name__})")
        finally:
            self._log.removeHandler(told)
        return None if taken else Failure(redacted(told.last or "not taken", self._url))


class _Told(logging.Handler):
    """Keeps the last warning of one thread: Apprise answers but yes or no."""

    def __init__(self, thread: int) -> None:
        super().__init__(logging.WARNING)
        self._thread = thread
        self.last = ""

    def emit(self, record: logging.LogRecord) -> None:
        """Keep *record* if it is of this thread."""
        if record.thread == self._thread:
            self.last = said(ValueError(record.getMessage()))


def redacted(text: str, url: str) -> str:
    """Return *text* without what of *url* may be secret: all but its scheme and host.

    >>> redacted("refused T0KEN at hooks.example.com", "slack://u:pw@hooks.example.com/T0KEN")
    'refused *** at hooks.example.com'
    """
    parts = urlsplit(url)
    host = (parts.hostname or "").casefold()
    pieces = [parts.username or "", parts.password or "", *parts.path.split("/")]
    pieces += [value for _, value in parse_qsl(parts.query)]
    if not re.fullmatch(r"[0-9.]+|.*\..*|localhost", host):
        pieces.append(parts.hostname or "")  # services put a token there
    known = {each for piece in pieces for each in (piece, unquote(piece)) if len(each) > 3}
    for piece in sorted(known, key=len, reverse=True):
        text = re.sub(re.escape(piece), "***", text, flags=re.IGNORECASE)
    return text


def speaks(url: str) -> bool:
    """Tell whether Apprise knows what *url* means."""
    import apprise

    logging.getLogger("apprise").propagate = False  # it would say the URL
    return apprise.Apprise.instantiate(url, suppress_exceptions=True) is not None


def sender_of(destination: Destination, session: aiohttp.ClientSession) -> Sender:
    """Return what sends to *destination*."""
    route, address = destination
    if route.webhook is None:
        return AppriseSender(address, timeout_seconds=route.timeout_seconds)
    assert route.secret is not None
    return WebhookSender(
        session, address, secret=route.secret, timeout_seconds=route.timeout_seconds
    )


def traced(sender: Sender, destination: Destination, span: Span) -> Sender:
    """Return what sends as *sender* does, timed where anybody looks at the times."""
    return sender if span is no_span else TracedSender(sender, span, destination.route.name)
