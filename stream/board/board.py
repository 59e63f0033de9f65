"""The board put together: what it keeps, what keeps it fresh, and who is let in."""

import asyncio
import gc
import time
from dataclasses import dataclass
from typing import Any, Final

from scoring.report import rfc3339
from stream.board.actions import Actions
from stream.board.alert_book import AlertBook
from stream.board.broadcast import Broadcast
from stream.board.index import AccountIndex
from stream.board.intake import Intake
from stream.board.keeper import Keeper
from stream.board.log_tail import Followed, LogTail
from stream.board.metrics import BoardMetrics
from stream.board.moves import Moves
from stream.board.tokens import Tokens
from stream.errors import InvalidSetting
from stream.settings import Settings
from stream.topics import ALERTS
from stream.web.problems import unavailable
from stream.web.serving import LOOPBACK_HOSTS

TOKENS_SECONDS: Final = 2.0
"""After which a change of the tokens' file counts."""
SETTLED_SECONDS: Final = 0.5
SILENT_SECONDS: Final = 15.0
"""Kafka is away when it answered nothing for so long."""


@dataclass
class Board:
    """Everything that routes need; `run` keeps it fresh."""

    settings: Settings
    index: AccountIndex
    book: AlertBook
    moves: Moves
    broadcast: Broadcast
    tail: LogTail
    keeper: Keeper
    actions: Actions
    metrics: BoardMetrics
    tokens: Tokens | None
    followed: dict[str, Followed]

    async def run(self) -> None:
        """Keep everything fresh until cancelled."""
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self.tail.run())
                tasks.create_task(self.keeper.run())
                tasks.create_task(self._look_at_tokens())
                tasks.create_task(self._settle())
        finally:
            self.broadcast.close()
            await self.actions.close()

    async def _look_at_tokens(self) -> None:
        while self.tokens is not None:
            self.tokens.look_again()
            await asyncio.sleep(TOKENS_SECONDS)

    async def _settle(self) -> None:
        """Spare the garbage collector what stays, once: looking at all of it takes 0.1 s."""
        gc.freeze()
        while True:
            await asyncio.sleep(SETTLED_SECONDS)
            if self.wrong() is None:
                break
        gc.collect()
        gc.freeze()

    def require_loaded(self) -> None:
        """Raise Problem until all accounts were read once."""
        if not self.keeper.loaded:
            raise unavailable(self.keeper.fault or "The accounts are still being read.")

    def wrong(self) -> str | None:
        """Return what keeps the board from being ready, None when nothing does."""
        if self.keeper.fault is not None:
            return self.keeper.fault
        if not self.keeper.loaded:
            return "The accounts are still being read."
        if self.tail.fault is not None:
            return self.tail.fault
        if not self.tail.caught_up:
            return "The alerts are still being read."
        if self.tail.silent_seconds > SILENT_SECONDS:
            return "Kafka does not answer."
        return None

    def moves_since(self) -> str | None:
        """Return before which time moves may be missing, None when all were read."""
        whole = self.followed[ALERTS].whole and not self.moves.dropped
        return None if whole or self.moves.oldest is None else rfc3339(self.moves.oldest)


def assemble(settings: Settings) -> Board:
    """Return the board of *settings*; nothing is opened yet.

    Raises InvalidSetting when it would let in everybody from other machines.
    """
    tokens = tokens_of(settings)
    index, book, moves = AccountIndex(), AlertBook(), Moves()
    broadcast, metrics = Broadcast(), BoardMetrics()
    followed: dict[str, Followed] = {}
    tail = LogTail(settings, followed)
    keeper = Keeper(settings, index, tail, tell_erased=book.erase)
    followed |= Intake(keeper, book, moves, broadcast, metrics, tail).followed()
    board = Board(
        settings=settings,
        index=index,
        book=book,
        moves=moves,
        broadcast=broadcast,
        tail=tail,
        keeper=keeper,
        actions=Actions(settings),
        metrics=metrics,
        tokens=tokens,
        followed=followed,
    )
    _watch(board)
    return board


def tokens_of(settings: Settings) -> Tokens | None:
    """Return the tokens, None where none are wanted; raises InvalidSetting."""
    if settings.board_tokens_file is not None:
        return Tokens(settings.board_tokens_file)
    if settings.board_host not in LOOPBACK_HOSTS:
        raise InvalidSetting(
            f"SURGELINE_BOARD_HOST={settings.board_host}: other machines reach the board there, so "
            "SURGELINE_BOARD_TOKENS_FILE must say who may; `surgeline board-token` makes tokens."
        )
    return None


def _watch(board: Board) -> None:
    def age() -> float:
        return time.monotonic() - board.keeper.read_at if board.keeper.loaded else -1.0

    gauges: dict[str, Any] = {
        "accounts": ("Accounts in memory.", lambda: len(board.index)),
        "alerts": ("Alerts in memory.", lambda: len(board.book)),
        "stream_clients": ("Clients that listen to the stream.", lambda: len(board.broadcast)),
        "changed_accounts": (
            "Accounts that changed and whose state was not read again yet.",
            lambda: board.keeper.dirty,
        ),
        "records_behind": ("Records of output topics not taken yet.", lambda: board.tail.behind),
        "read_age_seconds": ("Time since all accounts were read; -1 before that.", age),
        "ready": ("Whether the board is ready.", lambda: board.wrong() is None),
    }
    board.metrics.watch(**gauges)
