"""What every request passes: who asks, how often, from where, how much; and headers for all.

Plain ASGI: it must not stand in the way of streams, and it runs for every request.
"""

import time
from collections.abc import Awaitable, Callable, MutableMapping
from dataclasses import dataclass
from math import ceil
from typing import Any, Final
from urllib.parse import parse_qsl, unquote, urlsplit

from stream.board.metrics import BoardMetrics
from stream.board.paths import ENCODED_SLASH
from stream.board.tokens import LOCAL, Principal, Tokens
from stream.web.headers import host_name
from stream.web.problems import Problem
from stream.web.rate_limit import RateLimit
from stream.web.serving import LOOPBACK_HOSTS

Scope = MutableMapping[str, Any]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

LONGEST_BODY: Final = 4_096
LONGEST_URL: Final = 12_000
"""Bytes of path and query: an id of 512 characters is up to 6,144 of them when encoded."""
SAFE_METHODS: Final = frozenset({"GET", "HEAD", "OPTIONS"})
UNLIMITED: Final = frozenset({"/healthz", "/readyz", "/metrics"})

HEADERS: Final = (
    (
        b"content-security-policy",
        b"default-src 'self'; base-uri 'none'; object-src 'none'; frame-ancestors 'none'",
    ),
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"permissions-policy", b"camera=(), geolocation=(), microphone=()"),
)


@dataclass(frozen=True)
class Rules:
    """What the guard goes by."""

    tokens: Tokens | None
    """None: everybody is let in, and may do everything."""
    limit: RateLimit
    board_url: str | None
    """Where people open the board, which may be another name than those of loopback."""

    @property
    def hosts(self) -> frozenset[str]:
        """Return the host names under which it is served without tokens."""
        own = None if self.board_url is None else urlsplit(self.board_url).hostname
        return LOOPBACK_HOSTS | ({own} if own else set())


class Guard:
    """Wraps *app*."""

    def __init__(self, app: App, rules: Rules, metrics: BoardMetrics) -> None:
        self._app = app
        self._rules = rules
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        began, status = time.perf_counter(), 500

        async def guarded_send(message: MutableMapping[str, Any]) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                self._metrics.seconds.labels(_route(scope)).observe(time.perf_counter() - began)
                message["headers"] = _with_headers(message["headers"], scope["path"])
            await send(message)

        try:
            self._let_in(scope)
            await self._app(scope, await _body_read(scope, receive), guarded_send)
        except Problem as problem:
            await problem.response()(scope, receive, guarded_send)
        finally:
            self._metrics.requests.labels(_method(scope), _route(scope), str(status)).inc()

    def _let_in(self, scope: Scope) -> None:
        raw: bytes = scope.get("raw_path") or scope["path"].encode()
        if len(raw) + len(scope["query_string"]) > LONGEST_URL:
            raise Problem(414, f"Path and query may have {LONGEST_URL} bytes together.")
        scope["path"] = decoded_path(raw)
        _check_query(scope["query_string"].decode("latin-1"))
        headers = {name: value.decode("latin-1") for name, value in scope["headers"]}
        self._check_origin(scope, headers)
        if scope["path"] in UNLIMITED:
            return
        address = f"address {scope['client'][0]}" if scope.get("client") else "address"
        principal = self._principal(headers)
        self._check_rate(address if principal in (None, LOCAL) else f"token {principal.name}")
        if principal is None and scope["path"].startswith("/api/"):
            raise Problem(
                401,
                "A bearer token is needed: Authorization: Bearer TOKEN.",
                headers={"WWW-Authenticate": 'Bearer realm="surgeline"'},
            )
        scope["principal"] = principal
        scope["asking"] = address if principal in (None, LOCAL) else principal.name

    def _principal(self, headers: dict[bytes, str]) -> Principal | None:
        if self._rules.tokens is None:
            return LOCAL
        kind, _, token = headers.get(b"authorization", "").partition(" ")
        return self._rules.tokens.principal(token.strip()) if kind.lower() == "bearer" else None

    def _check_rate(self, who: str) -> None:
        seconds = self._rules.limit.wait(who)
        if seconds:
            headers = {"Retry-After": str(ceil(seconds))}
            raise Problem(429, "Too many requests; ask again later.", headers=headers)

    def _check_origin(self, scope: Scope, headers: dict[bytes, str]) -> None:
        """Refuse pages of others: those that a name leads here, and those that post from there.

        With tokens a foreign page has nothing to show for itself: tokens are no cookies.
        """
        host = headers.get(b"host", "")
        if self._rules.tokens is None and host_name(host) not in self._rules.hosts:
            raise Problem(421, "The board is not served under this host name.")
        if scope["method"] in SAFE_METHODS:
            return
        origin = headers.get(b"origin")
        own = {f"{scope['scheme']}://{host}", f"https://{host}", self._rules.board_url}
        if origin is not None and origin not in own:
            raise Problem(403, "Requests of other sites' pages are refused.")


def decoded_path(raw: bytes) -> str:
    """Return the path of *raw*, in which an encoded slash is told from one that parts segments."""
    parts = raw.decode("latin-1").replace("%2f", "%2F").split("%2F")
    return ENCODED_SLASH.join(unquote(part, errors="replace") for part in parts)


def _check_query(query: str) -> None:
    """Refuse a parameter that comes twice: which of them counts is anybody's guess."""
    try:
        names = [name for name, _ in parse_qsl(query, keep_blank_values=True, max_num_fields=50)]
    except ValueError:
        raise Problem(422, "The query has too many parameters.") from None
    for name in names:
        if names.count(name) > 1:
            errors = [{"where": f"query.{name}", "problem": "is given more than once"}]
            raise Problem(422, f"query.{name}: is given more than once.", errors=errors)


async def _body_read(scope: Scope, receive: Receive) -> Receive:
    """Return *receive* after the body, which is read here where it is wanted; raises Problem."""
    for name, value in scope["headers"]:
        if name == b"content-length" and (not value.isdigit() or int(value) > LONGEST_BODY):
            raise _too_long()
    if scope["method"] in SAFE_METHODS:
        return receive
    body, more = b"", True
    while more:
        message = await receive()
        body += message.get("body", b"")
        more = message.get("more_body", False)
        if len(body) > LONGEST_BODY:
            raise _too_long()
    waiting = [{"type": "http.request", "body": body, "more_body": False}]

    async def replay() -> MutableMapping[str, Any]:
        return waiting.pop() if waiting else await receive()

    return replay


def _too_long() -> Problem:
    return Problem(413, f"The body may have {LONGEST_BODY} bytes.")


def _with_headers(headers: Any, path: str) -> list[tuple[bytes, bytes]]:
    found = [*headers, *HEADERS]
    if path.startswith("/api/"):
        found += [(b"cache-control", b"no-store"), (b"vary", b"authorization")]
    return found


def _route(scope: Scope) -> str:
    """Return the template of the path, never an id."""
    route = scope.get("route")
    return getattr(route, "path_format", "page" if "endpoint" in scope else "none")


def _method(scope: Scope) -> str:
    known = ("GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH")
    return scope["method"] if scope["method"] in known else "other"
