"""The application: fixed paths, each answered by one function.

Plain ASGI, since every event passes here.
"""

import time
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, Final

from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest
from starlette.requests import ClientDisconnect, Request
from starlette.responses import PlainTextResponse, Response

from stream.collector.collector import Collector
from stream.collector.event_routes import take_events
from stream.collector.page_routes import SCRIPT_KEPT, read_script, show_pixel
from stream.collector.segment_routes import take_batch, take_call
from stream.web.headers import header
from stream.web.problems import Problem, unavailable

Scope = MutableMapping[str, Any]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]
Route = Callable[[Request, Collector], Awaitable[Response]]

BROWSERS: Final = frozenset({"/v1/batch", "/v1/track", "/v1/page", "/v1/identify", "/v1/group"})
"""Where pages of known origins may post to."""
EMBEDDED: Final = frozenset({"/v1/tracker.js", "/v1/pixel.gif"})
"""What pages of others load."""
PREFLIGHT_KEPT: Final = "86400"


def create_app(collector: Collector) -> App:
    """Return the ASGI application of *collector*."""
    script = read_script()

    async def tracker(request: Request, _: Collector) -> Response:
        return script.answer(request, SCRIPT_KEPT)

    routes: dict[str, tuple[str, Route]] = {
        "/v1/batch": ("POST", take_batch),
        **{f"/v1/{call}": ("POST", take_call) for call in ("track", "page", "identify", "group")},
        "/v1/events": ("POST", take_events),
        "/v1/pixel.gif": ("GET", show_pixel),
        "/v1/tracker.js": ("GET", tracker),
        "/healthz": ("GET", _healthz),
        "/readyz": ("GET", _readyz),
        "/metrics": ("GET", _metrics),
    }
    return Front(routes, collector)


class Front:
    """Finds the route of a request, counts it, and says what every answer says."""

    def __init__(self, routes: dict[str, tuple[str, Route]], collector: Collector) -> None:
        self._routes = routes
        self._collector = collector

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            return
        request, began = Request(scope, receive), time.perf_counter()
        try:
            response = await self._answered(request)
        except Problem as problem:
            response = problem.response()
        except ClientDisconnect:
            return
        self._dress(request, response)
        route = scope["path"] if scope["path"] in self._routes else "none"
        seconds = time.perf_counter() - began
        self._collector.metrics.answered(route, response.status_code, seconds)
        await response(scope, receive, send)

    async def _answered(self, request: Request) -> Response:
        path, method = request.scope["path"], request.method
        found = self._routes.get(path)
        if found is None:
            raise Problem(404, "There is nothing here; see /v1/batch, /v1/events.")
        wanted, route = found
        if method == "OPTIONS" and path in BROWSERS:
            return self._preflight(request)
        if method != wanted and not (wanted == "GET" and method == "HEAD"):
            raise Problem(405, f"This path takes {wanted}.", headers={"Allow": wanted})
        return await route(request, self._collector)

    def _preflight(self, request: Request) -> Response:
        """Answer what a browser asks before it lets a page post."""
        origin = header(request.scope, b"origin")
        if origin is None or not self._collector.door.knows_origin(origin):
            raise Problem(403, "Pages of this origin may not send.")
        headers = {
            "Access-Control-Allow-Methods": "POST",
            "Access-Control-Allow-Headers": "Authorization, Content-Type",
            "Access-Control-Max-Age": PREFLIGHT_KEPT,
        }
        return Response(status_code=204, headers=headers)

    def _dress(self, request: Request, response: Response) -> None:
        path, headers = request.scope["path"], response.headers
        origin = header(request.scope, b"origin")
        headers["X-Content-Type-Options"] = "nosniff"
        if path in EMBEDDED:
            headers["Cross-Origin-Resource-Policy"] = "cross-origin"
        if path in BROWSERS:
            headers["Vary"] = "Origin"
            if origin is not None and self._collector.door.knows_origin(origin):
                headers["Access-Control-Allow-Origin"] = origin


async def _healthz(_: Request, __: Collector) -> Response:
    return PlainTextResponse("ok\n")


async def _readyz(_: Request, collector: Collector) -> Response:
    wrong = collector.wrong()
    if wrong is not None:
        raise unavailable(wrong)
    return PlainTextResponse("ok\n")


async def _metrics(_: Request, collector: Collector) -> Response:
    data = generate_latest(collector.metrics.registry)
    return Response(data, headers={"Content-Type": CONTENT_TYPE_LATEST})
