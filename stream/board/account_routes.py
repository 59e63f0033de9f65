"""Routes about accounts: lists, one account, why it scores so, the funnel."""

import asyncio
import time
from itertools import islice
from typing import Any

import msgspec
from fastapi import APIRouter
from starlette.responses import Response

from scoring.explain import explain
from scoring.report import rfc3339
from scoring.timeline import last_facts, touches_of
from stream.board.account_view import account_view
from stream.board.asking import AsksAccounts, AsksNothing, AsksToday, BoardHere, Id
from stream.board.board import Board
from stream.board.cursors import cursor_of, place_of
from stream.board.documents import answers
from stream.board.lists import acted_on, listed, todays
from stream.board.shapes import Account, Accounts, Explanation, FunnelNow, Owners, Today
from stream.reader import read_account, read_funnel
from stream.routing import shard_of

ALERTS_SHOWN = 20

_encode = msgspec.json.Encoder().encode


def answer(body: Any) -> Response:
    """Return *body* as JSON."""
    return Response(_encode(body), media_type="application/json")


def add_account_routes(router: APIRouter) -> None:
    """Add them to *router*."""
    get = router.get
    get("/accounts", responses=answers(Accounts, 503))(accounts)
    get("/today", responses=answers(Today, 503))(today)
    get("/owners", responses=answers(Owners, 503))(owners)
    get("/funnel", responses=answers(FunnelNow, 503))(funnel)
    get(
        "/accounts/{account_id:id}/explain",
        responses=answers(Explanation, 404, 503),
        name="explain",
    )(explained)
    get("/accounts/{account_id:id}", responses=answers(Account, 404, 503))(account)


async def accounts(board: BoardHere, asked: AsksAccounts) -> Response:
    """List accounts by falling score, or the latest activity first; equal ones by id."""
    board.require_loaded()
    question = ("accounts", asked.sort, asked.wanted)
    after = place_of(asked.cursor, *question)
    page = board.index.page(asked.sort, asked.wanted, after=after, limit=asked.limit)
    board.keeper.look_first([row.account_id for row in page.rows])
    now, wall = board.keeper.now, time.time()
    decay, book = board.keeper.decay, board.book
    return answer(
        {
            "as_of": rfc3339(now),
            "total": page.total,
            "next": None if page.next is None else cursor_of(page.next, *question),
            "accounts": [listed(r, now, wall=wall, decay=decay, book=book) for r in page.rows],
        }
    )


async def today(board: BoardHere, asked: AsksToday) -> Response:
    """List the accounts to act on now.

    First those with alerts of the last 24 hours that nobody acknowledged or muted, the most severe
    and then the newest first; then those that surge; then the others, by engagement.
    """
    board.require_loaded()
    now, wall = board.keeper.now, time.time()
    decay, book = board.keeper.decay, board.book
    found = todays(board.index, book, asked.wanted, now=now, wall=wall, decay=decay)
    rows = list(islice(found, asked.limit))
    board.keeper.look_first([row.account_id for row in rows])
    shown = [acted_on(row, now, wall=wall, decay=decay, book=book) for row in rows]
    return answer({"as_of": rfc3339(now), "accounts": shown})


async def owners(board: BoardHere, _: AsksNothing) -> Response:
    """List the owners of accounts."""
    board.require_loaded()
    return answer({"owners": board.index.owners()})


async def account(board: BoardHere, account_id: Id, _: AsksNothing) -> Response:
    """Show one account: scores as of now, 13 weeks of history, contacts, touches, alerts."""
    stored = board.keeper.stored
    shard = shard_of(account_id, stored.partitions)
    (state, now), (history,), (logs,) = await asyncio.gather(
        read_account(stored, account_id, None),
        stored.store.history(shard, [account_id]),
        stored.store.facts(shard, [account_id]),
    )
    facts = last_facts(logs[0])
    names = await stored.store.names(shard, {subject for *_, subject, _, _, _ in facts})
    touches = touches_of(facts, names, state.contacts)
    view = account_view(state, now, stored.rules, history=history, touches=touches)
    return answer(view | _alerts_of(board, account_id))


def _alerts_of(board: Board, account_id: str) -> dict[str, Any]:
    newest = board.book.newest_open(account_id, wall=time.time())
    return {"alert": newest, "alerts": board.book.of_account(account_id, limit=ALERTS_SHOWN)}


async def explained(board: BoardHere, account_id: Id, _: AsksNothing) -> Response:
    """Say why the account scores what it does, as `surgeline explain` does."""
    stored = board.keeper.stored
    state, now = await read_account(stored, account_id, None)
    return answer(explain(state, now, stored.rules))


async def funnel(board: BoardHere, _: AsksNothing) -> Response:
    """Count the accounts in each stage, and those that moved."""
    found = await read_funnel(board.keeper.stored, None)
    moves = board.moves
    return answer(
        {
            "as_of": rfc3339(found.as_of),
            "stages": found.stages,
            "tiers": found.tiers,
            "moves": {
                "total": found.moves,
                "last_7_days": moves.counts(found.as_of, days=7),
                "last_30_days": moves.counts(found.as_of, days=30),
            },
            "moves_since": board.moves_since(),
            "surging": found.surging,
        }
    )
