"""The application: routes, errors, the document and the guard around all of it."""

from http import HTTPStatus
from typing import Any, Final

from fastapi import APIRouter, FastAPI
from fastapi.exceptions import RequestValidationError
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response

from stream.board.account_routes import add_account_routes
from stream.board.alert_routes import add_alert_routes
from stream.board.asking import BEARER, BoardHere
from stream.board.board import Board
from stream.board.documents import document_of, problem_answers
from stream.board.guard import App, Guard, Rules
from stream.board.page_routes import add_page_routes, read_files
from stream.board.paths import allow_ids
from stream.errors import NotFound, SurgelineError
from stream.version import installed_version
from stream.web.problems import Problem, status_name, unavailable
from stream.web.rate_limit import RateLimit

MOST_ERRORS: Final = 10


def create_app(board: Board) -> App:
    """Return the ASGI application of *board*."""
    allow_ids()
    # The usual pages of documentation load scripts from elsewhere.
    app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None, redirect_slashes=False)
    app.state.board = board
    api = APIRouter(prefix="/api/v1", dependencies=[BEARER])
    add_account_routes(api)
    add_alert_routes(api)
    app.include_router(api)
    _add_probes(app)
    add_page_routes(app, read_files())
    _add_document(app)
    _add_errors(app)
    settings = board.settings
    rules = Rules(board.tokens, RateLimit(settings.board_rate), settings.board_url)
    return Guard(app, rules, board.metrics)


def _add_probes(app: FastAPI) -> None:
    plain: dict[int | str, dict[str, Any]] = {200: {"content": {"text/plain": {"example": "ok\n"}}}}
    get = app.get
    kind = PlainTextResponse
    get("/healthz", response_class=kind, responses=problem_answers() | plain)(healthz)
    get("/readyz", response_class=kind, responses=problem_answers(503) | plain)(readyz)
    get("/metrics", response_class=kind, responses=problem_answers() | plain)(metrics)


async def healthz() -> Response:
    """Say that this process works."""
    return PlainTextResponse("ok\n")


async def readyz(board: BoardHere) -> Response:
    """Say whether all accounts are read, and Redis and Kafka answer."""
    wrong = board.wrong()
    if wrong is not None:
        raise unavailable(wrong)
    return PlainTextResponse("ok\n")


async def metrics(board: BoardHere) -> Response:
    """Export the board's metrics for Prometheus."""
    data = generate_latest(board.metrics.registry)
    return Response(data, headers={"Content-Type": CONTENT_TYPE_LATEST})


def _add_document(app: FastAPI) -> None:
    document: dict[str, Any] = {}

    def made() -> dict[str, Any]:
        if not document:
            document.update(document_of(app, installed_version()))
        return document

    async def openapi(_: Request) -> Response:
        from starlette.responses import JSONResponse

        return JSONResponse(made())

    app.openapi = made  # type: ignore[method-assign]  # FastAPI's own way to replace it
    app.add_route("/openapi.json", openapi, methods=["GET"])


def _add_errors(app: FastAPI) -> None:
    handlers: dict[Any, Any] = {
        Problem: _problem,
        HTTPException: _refused,
        RequestValidationError: _invalid,
        SurgelineError: _failed,
        Exception: _broken,
    }
    for kind, handler in handlers.items():
        app.add_exception_handler(kind, handler)


async def _problem(_: Request, problem: Problem) -> Response:
    return problem.response()


async def _refused(_: Request, error: HTTPException) -> Response:
    if error.status_code == HTTPStatus.BAD_REQUEST:  # FastAPI's word for bytes that are no text
        return Problem(422, "The body is not JSON in UTF-8.").response()
    detail = f"{status_name(error.status_code)}."
    return Problem(error.status_code, detail, headers=error.headers).response()


async def _invalid(_: Request, error: RequestValidationError) -> Response:
    wrong = [
        {"where": ".".join(map(str, each["loc"])), "problem": str(each["msg"])}
        for each in error.errors()[:MOST_ERRORS]
    ]
    detail = "; ".join(f"{each['where']}: {each['problem']}" for each in wrong)
    return Problem(422, f"{detail}.", errors=wrong).response()


async def _failed(_: Request, error: SurgelineError) -> Response:
    if isinstance(error, NotFound):
        return Problem(404, str(error)).response()
    return unavailable(str(error)).response()


async def _broken(_: Request, __: Exception) -> Response:
    return Problem(500, "The board has failed; its log says how.").response()
