"""What the notifier's tests share: endpoints that take messages or do not, and notifiers."""

import json
import socket
import socketserver
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple

from stream.routing import shard_of
from tests.alerts import raw_alert
from tests.integration.worker_kit import PARTITIONS, Found, Place, Sent, Worker
from tests.system.harness import Json, eventually

SECRET = "0123456789abcdef-secret"
DELIVERED_SECONDS = 30.0
QUICK = "retry = { first_seconds = 0.05, longest_seconds = 0.3, give_up_minutes = 5.0 }\n"
HASTY = "retry = { first_seconds = 0.05, longest_seconds = 0.1, give_up_minutes = 0.01 }\n"


class Posted(NamedTuple):
    """One request that an endpoint got."""

    headers: Mapping[str, str]
    body: bytes
    status: int
    """What it was answered, 0 when nothing."""

    @property
    def json(self) -> Json:
        found: Json = json.loads(self.body)
        return found

    @property
    def key(self) -> str:
        return self.headers["Idempotency-Key"]


class Answer(NamedTuple):
    """How a request is answered."""

    status: int = 200
    headers: Mapping[str, str] = {}


Judge = Callable[[int, Json], Answer]
"""Answers the so many-th request, counted from 1; it may block."""


class Receiver:
    """A real HTTP server on loopback that keeps its port while it is down."""

    def __init__(self, judge: Judge = lambda _, __: Answer(), *, port: int = 0) -> None:
        self.posted: list[Posted] = []
        self.port = port or _free_port()
        self._judge = judge
        self._count = 0
        self._lock = threading.Lock()
        self._server: ThreadingHTTPServer | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/hook"

    def start(self) -> None:
        """Begin to listen."""
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                receiver.take(self)

            def log_message(self, *_: object) -> None:
                """Say nothing."""

        class Server(ThreadingHTTPServer):
            daemon_threads = True
            block_on_close = False
            request_queue_size = 128

            def handle_error(self, *_: object) -> None:
                """Say nothing of clients that hung up."""

        self._server = Server(("127.0.0.1", self.port), Handler)
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()

    def stop(self) -> None:
        """Refuse connections."""
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()
            self._server = None

    def take(self, request: BaseHTTPRequestHandler) -> None:
        """Answer one request as the judge says, and keep it."""
        body = request.rfile.read(int(request.headers["Content-Length"]))
        with self._lock:
            self._count += 1
            number = self._count
        answer = self._judge(number, json.loads(body))
        with self._lock:
            self.posted.append(Posted(dict(request.headers), body, answer.status))
        request.send_response(answer.status)
        for name, value in answer.headers.items():
            request.send_header(name, value)
        request.send_header("Content-Length", "0")
        request.end_headers()

    @property
    def taken(self) -> list[Json]:
        """Return the alerts of requests that were answered with 200, in order."""
        return [each.json["alert"] for each in list(self.posted) if each.status == 200]

    def wait_taken(self, count: int) -> list[Json]:
        """Return what was taken once it is *count* alerts."""
        eventually(lambda: len(self.taken) >= count, within_seconds=DELIVERED_SECONDS)
        return self.taken


@contextmanager
def receiving(judge: Judge = lambda _, __: Answer()) -> Iterator[Receiver]:
    """Run a receiver until the end of the block."""
    receiver = Receiver(judge)
    receiver.start()
    try:
        yield receiver
    finally:
        receiver.stop()


class Mail(NamedTuple):
    """One message that the mail server took."""

    to: list[str]
    text: str


class MailServer:
    """A real SMTP server on loopback; after so many *refusals* it takes whatever it is given."""

    def __init__(self, *, refusals: int = 0) -> None:
        self.mails: list[Mail] = []
        self.refused = 0
        server = self

        class Handler(socketserver.StreamRequestHandler):
            def handle(self) -> None:
                server.mails.extend(_conversation(self.rfile, self.wfile, server.refuses))

        self._refusals = refusals
        self._lock = threading.Lock()

        self._server = socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.port: int = self._server.server_address[1]

    def refuses(self) -> bool:
        """Tell whether one more is refused."""
        with self._lock:
            refused = self.refused < self._refusals
            self.refused += refused
        return refused

    def __enter__(self) -> "MailServer":
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()


def _conversation(lines: Any, out: Any, refuses: Callable[[], bool]) -> Iterator[Mail]:
    def say(text: str) -> None:
        out.write(f"{text}\r\n".encode())

    to: list[str] = []
    say("220 mail.test")
    for line in lines:
        verb = line.strip().upper()[:4]
        if verb == b"MAIL" and refuses():
            say("450 busy")
            continue
        if verb == b"RCPT":
            to.append(line.decode().strip())
        if verb == b"DATA":
            say("354 go on")
            text = b"".join(iter(lines.readline, b".\r\n"))
            yield Mail(to, text.decode())
            to = []
        say("221 bye" if verb == b"QUIT" else "250 ok")
        if verb == b"QUIT":
            return


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def webhook(name: str, receiver: Receiver, *further: str) -> str:
    """Return the table of a route to *receiver*."""
    lines = [f'webhook = "{receiver.url}"', f'secret = "{SECRET}"', *further]
    return f"[routes.{name}]\n" + "\n".join(lines) + "\n"


def mail(name: str, server: MailServer, *further: str) -> str:
    """Return the table of a route to the owners' mail boxes on *server*."""
    to = f"mailto://127.0.0.1:{server.port}?from=s@example.com&to={{owner_email}}&format=text"
    return "\n".join([f"[routes.{name}]", f'url = "{to}"', QUICK, *further]) + "\n"


def write_routes(place: Place, *tables: str, default: Sequence[str] = ("crm",)) -> str:
    """Write a file of routes and return its path."""
    path = place.directory / f"{place.prefix}routes.toml"
    path.write_text(f"default = {json.dumps(list(default))}\n" + "\n".join(tables))
    return str(path)


def notifier(place: Place, routes: str, **settings: str) -> Worker:
    """Start a notifier in *place* and wait until it delivers."""
    started = start_notifier(place, routes, **settings)
    started.wait_ready()
    return started


def start_notifier(place: Place, routes: str, **settings: str) -> Worker:
    """Start a notifier in *place*."""
    log = place.directory / f"{place.prefix}notifier-{len(place.workers)}.log"
    env = {"SURGELINE_NOTIFIER_PORT": "0", "SURGELINE_ROUTES": routes, "SURGELINE_CLOCK": "wall"}
    started = Worker(place.environment(**env, **settings), log, "notifier")
    place.workers.append(started)
    return started


def told(account: str, number: int = 0, **fields: Any) -> Sent:
    """Return the record of an alert, where a worker would put it."""
    partition = shard_of(account, PARTITIONS)
    return Sent("alerts", raw_alert(account, number, **fields), account.encode(), partition)


def deliveries(place: Place, count: int) -> dict[str, Json]:
    """Return key -> the newest record of `deliveries`, once *count* of them are settled."""

    def newest(found: list[Found]) -> dict[str, Json]:
        return {(each.key or b"").decode(): each.json for each in found}

    def enough(found: list[Found]) -> bool:
        settled = [each for each in newest(found).values() if each["outcome"] != "held"]
        return len(settled) >= count

    return newest(place.read("deliveries", enough))


def outcomes(place: Place, count: int) -> list[str]:
    """Return the outcomes of *count* settled alerts, sorted."""
    return sorted(each["outcome"] for each in deliveries(place, count).values())


def wait_drained(process: Worker) -> None:
    """Wait until a notifier has nothing in hand."""
    drained = eventually(
        lambda: process.metric("surgeline_notifications_waiting") == 0,
        within_seconds=DELIVERED_SECONDS,
    )
    assert drained, process.log()


def in_order(alerts: Sequence[Json]) -> bool:
    """Tell whether the alerts of each account come in the order of their numbers."""
    last: dict[str, int] = {}
    for each in alerts:
        number = int(each["cause"]["id"].removeprefix("e"))
        if number < last.get(each["account_id"], -1):
            return False
        last[each["account_id"]] = number
    return True
