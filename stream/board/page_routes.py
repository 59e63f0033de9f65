"""The page: its files, read once and served from memory."""

import importlib.resources
import mimetypes
from importlib.resources.abc import Traversable
from typing import Final

from fastapi import FastAPI
from starlette.requests import Request
from starlette.responses import Response

from stream.web.files import File
from stream.web.problems import Problem

PAGES: Final = {
    "/": "today.html",
    "/accounts/{account_id:id}": "account.html",
    "/funnel": "funnel.html",
}
CHECKED: Final = "no-cache"
"""A browser keeps files, and asks each time whether they are still the same."""


def read_files() -> dict[str, File]:
    """Return the page's files by their path below ``static``."""
    found: dict[str, File] = {}
    _read(importlib.resources.files("stream.board") / "static", "", found)
    return found


def _read(folder: Traversable, prefix: str, found: dict[str, File]) -> None:
    if not folder.is_dir():
        return
    for entry in folder.iterdir():
        if entry.is_dir():
            _read(entry, f"{prefix}{entry.name}/", found)
        else:
            kind = mimetypes.guess_type(entry.name)[0] or "application/octet-stream"
            found[prefix + entry.name] = File.of(entry.read_bytes(), kind)


def add_page_routes(app: FastAPI, files: dict[str, File]) -> None:
    """Add the pages and *files* to *app*; neither is part of the API."""

    def page(name: str) -> None:
        async def show(request: Request) -> Response:
            return _file(files, name).answer(request, CHECKED)

        show.__name__ = name.partition(".")[0]
        app.add_route(next(path for path, n in PAGES.items() if n == name), show, methods=["GET"])

    async def static(request: Request) -> Response:
        return _file(files, request.path_params["path"]).answer(request, CHECKED)

    for name in PAGES.values():
        page(name)
    app.add_route("/static/{path:path}", static, methods=["GET"])


def _file(files: dict[str, File], name: str) -> File:
    found = files.get(name)
    if found is None:
        raise Problem(404, "There is no such page.")
    return found
