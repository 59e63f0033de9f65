"""What pages and emails load: the tracker script, and the pixel for where no script runs."""

import base64
import importlib.resources
from typing import Any, Final

from starlette.requests import Request
from starlette.responses import Response

from stream.collector.collector import Collector
from stream.collector.segment_routes import take_calls
from stream.web.files import File
from stream.web.problems import Problem

GIF: Final = base64.b64decode("R0lGODlhAQABAIAAAAAAAP///yH5BAEAAAAALAAAAAABAAEAAAIBRAA7")
"""One transparent point."""
SCRIPT_KEPT: Final = "public, max-age=3600"
NEVER_KEPT: Final = {"Cache-Control": "no-store, private"}


def read_script() -> File:
    """Return the tracker script, without its indents and lines of comment: pages wait for it."""
    path = importlib.resources.files("stream.collector") / "static" / "tracker.js"
    lines = [line.strip() for line in path.read_bytes().splitlines()]
    script = b"\n".join(line for line in lines if line and not line.startswith(b"//"))
    return File.of(script, "text/javascript")


async def show_pixel(request: Request, collector: Collector) -> Response:
    """Take the open of an email, or a page where no script runs, and show one point.

    Readers show the picture of an answer that says no, too.
    """
    status, headers = 200, dict(NEVER_KEPT)
    try:
        asking = collector.asking(request, request.query_params.get("writeKey"))
        _, faults = await take_calls(collector, asking, [(0, _call(request))], None)
        status = 400 if faults else 200
    except Problem as problem:
        status = problem.status
        headers |= problem.headers
    return Response(GIF, status_code=status, headers=headers, media_type="image/gif")


def _call(request: Request) -> dict[str, Any]:
    given = request.query_params
    call: dict[str, Any] = {
        name: given[name] for name in ("messageId", "userId", "anonymousId") if name in given
    }
    context = {"groupId": given.get("groupId")}
    properties: dict[str, Any] = {"email": given.get("email")}
    if given.get("type", "open") == "page":
        properties["url"] = given.get("url") or request.headers.get("referer")
        return call | {"type": "page", "context": context, "properties": properties}
    properties["campaign_id"] = given.get("campaign")
    opened = {"type": "track", "event": "Email Opened"}
    return call | opened | {"context": context, "properties": properties}
