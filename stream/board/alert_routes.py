"""Routes about alerts: the newest, who takes them on, what is muted, the stream of events."""

import time
from collections.abc import AsyncIterator
from typing import Literal

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from scoring.alert_rules import AlertsModel
from scoring.report import rfc3339
from stream.board.account_routes import answer
from stream.board.alert_book import Chosen
from stream.board.asking import (
    AcknowledgeBody,
    AlertId,
    Asking,
    AsksAlerts,
    AsksNothing,
    AsksStream,
    BoardHere,
    Id,
    MuteBody,
    Operator,
)
from stream.board.board import Board
from stream.board.broadcast import events_of
from stream.board.cursors import cursor_of, place_of
from stream.board.documents import Responses, answers, problem_answers
from stream.board.shapes import Alert, Alerts, Mute, Mutes, Session
from stream.version import installed_version
from stream.web.problems import Problem

What = Literal["account", "rule"]

STREAM_EXAMPLE = """\
event: beat
data: {"at":"2026-01-31T09:00:00Z"}

event: scores
data: {"account_id":"acme","engagement":14.9,"intent_surge":0.0,"relationship":10.1}

"""


def add_alert_routes(router: APIRouter) -> None:
    """Add them to *router*."""
    router.get("/alerts", responses=answers(Alerts, 503))(alerts)
    acknowledged = answers(Alert, 404, 503)
    path = "/alerts/{alert_id}/acknowledge"
    router.post(path, responses=acknowledged)(acknowledge)
    router.delete(path, responses=acknowledged)(withdraw)
    router.get("/mutes", responses=answers(Mutes))(mutes)
    router.put("/mutes/{what}/{name:id}", responses=answers(Mute, 404, 503))(mute)
    router.delete(
        "/mutes/{what}/{name:id}",
        status_code=204,
        response_class=Response,
        responses=problem_answers(503) | {204: {"description": "Not muted any more."}},
    )(unmute)
    router.get("/session", responses=answers(Session))(session)
    router.get("/stream", response_class=StreamingResponse, responses=_stream_answers())(stream)


async def alerts(board: BoardHere, asked: AsksAlerts) -> Response:
    """List the alerts of the last 14 days, the newest first; at most 10,000 are kept."""
    board.require_loaded()
    chosen = Chosen(asked.account, asked.owner, asked.rule, asked.severity, asked.acknowledged)
    question = ("alerts", chosen)
    after = place_of(asked.cursor, *question)
    found = board.book.listed(chosen, after=after, limit=asked.limit)
    next_ = None if found.next is None else cursor_of(found.next, *question)
    return answer({"alerts": found.alerts, "next": next_})


async def acknowledge(
    board: BoardHere,
    who: Operator,
    alert_id: AlertId,
    _: AsksNothing,
    body: AcknowledgeBody | None = None,
) -> Response:
    """Say that somebody has taken the alert on."""
    by = who.name if body is None or body.by is None else body.by
    account_id = _known(board, alert_id)["account_id"]
    value = {"kind": "ack", "alert_id": alert_id, "account_id": account_id, "by": by}
    return await _act_on(board, alert_id, value | {"at": rfc3339(time.time())})


async def withdraw(board: BoardHere, _: Operator, alert_id: AlertId, __: AsksNothing) -> Response:
    """Take an acknowledgement back."""
    _known(board, alert_id)
    return await _act_on(board, alert_id, None)


async def _act_on(board: Board, alert_id: str, value: dict[str, object] | None) -> Response:
    key = f"ack|{alert_id}"
    at = await board.actions.send(key, value)
    board.book.acting(key, value, at)  # so that the next question shows it
    return answer(_known(board, alert_id))


def _known(board: Board, alert_id: str) -> dict[str, object]:
    found = board.book.get(alert_id)
    if found is None:
        raise Problem(404, "No such alert is among those of the last 14 days.")
    return found


async def mutes(board: BoardHere, _: AsksNothing) -> Response:
    """List what is muted now."""
    return answer({"mutes": board.book.mutes(time.time())})


async def mute(
    board: BoardHere, who: Operator, what: What, name: Id, body: MuteBody, _: AsksNothing
) -> Response:
    """Let nobody be told about an account, or by a rule, for some minutes from now."""
    _check_name(board, what, name)
    now = time.time()
    until = rfc3339(now + body.minutes * 60)
    shown = {"what": what, "name": name, "until": until, "by": who.name, "at": rfc3339(now)}
    await _set_mute(board, what, name, {"kind": "mute", **shown})
    return answer(shown)


async def unmute(board: BoardHere, _: Operator, what: What, name: Id, __: AsksNothing) -> Response:
    """Lift a mute; without one nothing happens."""
    await _set_mute(board, what, name, None)
    return Response(status_code=204)


async def _set_mute(board: Board, what: What, name: str, value: dict[str, object] | None) -> None:
    key = f"mute|{what}|{name}"
    at = await board.actions.send(key, value)
    board.book.acting(key, value, at)


def _check_name(board: Board, what: What, name: str) -> None:
    if what == "account":
        board.require_loaded()
        if board.index.get(name) is None:
            raise Problem(404, f"No account {name!r} is stored.")
    elif name not in AlertsModel.model_fields:
        known = ", ".join(AlertsModel.model_fields)
        raise Problem(404, f"There is no rule {name!r}; there are {known}.")


async def session(board: BoardHere, who: Asking, _: AsksNothing) -> Response:
    """Say who asks and what they may do."""
    version, clock = installed_version(), board.keeper.clock
    return answer({"role": who.role, "name": who.name, "version": version, "clock": clock})


async def stream(request: Request, board: BoardHere, asked: AsksStream) -> Response:
    """Tell of score changes and alerts as they happen, as server-sent events.

    `event: scores` carries a message of the topic `score-changes`; of several changes of an
    account within a tenth of a second the last. `event: alert` carries an alert, `event: beat` the
    time, at least every ten seconds. A client that comes back with `Last-Event-ID` gets the alerts
    that it missed, as far as this process remembers them.
    """
    who, last = request.scope["asking"], request.headers.get("last-event-id")
    board.broadcast.check_room(who)

    async def events() -> AsyncIterator[bytes]:
        with board.broadcast.listening(asked.account, who, last) as client:
            async for each in events_of(client, lambda: board.keeper.now):
                yield each

    return StreamingResponse(
        events(), media_type="text/event-stream", headers={"X-Accel-Buffering": "no"}
    )


def _stream_answers() -> Responses:
    content = {"text/event-stream": {"schema": {"type": "string"}, "example": STREAM_EXAMPLE}}
    return {200: {"description": "Events.", "content": content}} | problem_answers()
