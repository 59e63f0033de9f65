"""What routes take: the board, who asks, and bounded queries."""

from typing import Annotated, Any, Literal

from fastapi import Depends, Path, Query, Request, Security
from fastapi.security import HTTPBearer
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from stream.board.board import Board
from stream.board.index import Wanted
from stream.board.tokens import Principal
from stream.web.problems import Problem

Id = Annotated[str, Path(min_length=1, max_length=512, examples=["acme"])]
AlertId = Annotated[
    str, Path(pattern="^[0-9a-f]{32}$", examples=["5f2b8c0e9d3a4b1f8e7d6c5b4a392817"])
]
Text = Annotated[str, Field(min_length=1, max_length=512)]
CursorText = Annotated[str, Field(min_length=1, max_length=6_000, pattern="^[A-Za-z0-9_-]+$")]
StageName = Literal["target", "engaged", "opportunity", "customer", "retained", "expanded", "none"]


# Coroutines, though none of them waits: FastAPI runs plain functions in threads.


async def board_of(request: Request) -> Board:
    """Return the board that *request* is answered from."""
    board: Board = request.app.state.board
    return board


async def principal_of(request: Request) -> Principal:
    """Return who asks; the guard has let them in."""
    principal: Principal = request.scope["principal"]
    return principal


async def operator_of(request: Request) -> Principal:
    """Return who asks. Raises Problem unless they may acknowledge and mute."""
    principal = await principal_of(request)
    if not principal.is_operator:
        raise Problem(403, "This needs a token with the role operator.")
    return principal


BoardHere = Annotated[Board, Depends(board_of)]
Asking = Annotated[Principal, Depends(principal_of)]
Operator = Annotated[Principal, Depends(operator_of)]

BEARER: Any = Security(
    HTTPBearer(auto_error=False, description="Wanted where the board has tokens.")
)
"""Only says so in the document: the guard has looked already."""


def _whole(value: Any) -> Any:
    """Return *value*, a whole number as an int: JSON knows no difference between 5 and 5.0."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


class _Question(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class TodayQuery(_Question):
    """Which accounts to act on are asked for."""

    owner: Text | None = None
    tier: Annotated[int, Field(ge=1, le=3)] | None = None
    stage: StageName | None = Field(None, description="`none`: accounts that are no target")
    limit: Annotated[int, Field(ge=1, le=200)] = 50

    @property
    def wanted(self) -> Wanted:
        """Return the filters."""
        return Wanted(owner=self.owner, tier=self.tier, stage=self.stage)


class AccountsQuery(_Question):
    """Which page of which list of accounts is asked for."""

    q: Annotated[
        str, Field(max_length=200, description="Part of the name, the id or a domain.")
    ] = ""
    owner: Text | None = None
    tier: Annotated[int, Field(ge=1, le=3)] | None = None
    stage: StageName | None = Field(None, description="`none`: accounts that are no target")
    surging: bool | None = None
    sort: Literal["engagement", "intent_surge", "relationship", "last_event_at"] = "engagement"
    limit: Annotated[int, Field(ge=1, le=200)] = 50
    cursor: CursorText | None = Field(None, description="`next` of the page before")

    @property
    def wanted(self) -> Wanted:
        """Return the filters."""
        return Wanted(self.q.strip() or None, self.owner, self.tier, self.stage, self.surging)


class AlertsQuery(_Question):
    """Which page of alerts is asked for."""

    account: Text | None = None
    owner: Text | None = None
    rule: Annotated[str, Field(min_length=1, max_length=64)] | None = None
    severity: Literal["high", "medium", "low"] | None = None
    acknowledged: bool | None = None
    limit: Annotated[int, Field(ge=1, le=200)] = 50
    cursor: CursorText | None = Field(None, description="`next` of the page before")


class StreamQuery(_Question):
    """What is listened to."""

    account: Text | None = None


class NoQuery(_Question):
    """Nothing."""


class AcknowledgeBody(_Question):
    """Who takes the alert on; absent: who asks."""

    by: Annotated[str, Field(min_length=1, max_length=200)] | None = None


class MuteBody(_Question):
    """For how long."""

    minutes: Annotated[
        int, Field(ge=1, le=43_200, strict=True, examples=[1_440]), BeforeValidator(_whole)
    ]


AsksAccounts = Annotated[AccountsQuery, Query()]
AsksToday = Annotated[TodayQuery, Query()]
AsksAlerts = Annotated[AlertsQuery, Query()]
AsksStream = Annotated[StreamQuery, Query()]
AsksNothing = Annotated[NoQuery, Query()]
