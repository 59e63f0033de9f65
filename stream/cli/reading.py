"""Commands that read stored scores: top, account, explain, funnel."""

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from stream.cli.options import (
    AsOf,
    By,
    Json,
    Limit,
    ModelFile,
    RedisUrl,
    Score,
    Stage,
    as_of_seconds,
)
from stream.cli.output import print_json, say, terminal

if TYPE_CHECKING:
    from rich.console import Console

    from scoring.account import AccountState
    from scoring.rules import Rules
    from stream.reader import Funnel, Reading, Wanted
    from stream.settings import Settings

AccountId = Annotated[str, typer.Argument(metavar="ID", help="The account's id.")]


def register(app: typer.Typer) -> None:
    """Add this module's commands to *app*."""
    app.command()(top)
    app.command()(account)
    app.command()(explain)
    app.command()(funnel)


def top(
    *,
    by: By = Score.ENGAGEMENT,
    limit: Limit = 20,
    every: Annotated[
        bool, typer.Option("--all", help="List every stored account; --limit does not apply.")
    ] = False,
    tier: Annotated[
        int | None, typer.Option("--tier", min=1, max=3, help="Only accounts of this tier.")
    ] = None,
    stage: Annotated[
        Stage | None, typer.Option("--stage", help="Only accounts in this funnel stage.")
    ] = None,
    owner: Annotated[
        str | None, typer.Option("--owner", metavar="ID", help="Only accounts of this owner.")
    ] = None,
    surging: Annotated[
        bool, typer.Option("--surging", help="Only accounts that surge on some topic.")
    ] = False,
    as_of: AsOf = None,
    redis_url: RedisUrl = None,
    model: ModelFile = None,
    as_json: Json = False,
) -> None:
    """List the accounts with the highest scores, and why.

    Sorted by the score chosen with --by, highest first, equal scores by account id; the same
    with --all. Without --all, accounts that have no score of that kind are not listed.
    """
    from stream.reader import Wanted

    found, rules = asyncio.run(
        _top(
            _settings(redis_url, model),
            by=by.value,
            limit=None if every else limit,
            wanted=Wanted(tier, None if stage is None else stage.value, owner, surging),
            as_of=as_of_seconds(as_of),
        )
    )
    _warn_of_later_stages(found)
    if as_json:
        print_json(each.report for each in found.accounts)
    else:
        print_accounts(found, rules)


async def _top(
    settings: "Settings", *, by: str, limit: int | None, wanted: "Wanted", as_of: float | None
) -> "tuple[Reading, Rules]":
    from stream.reader import open_scores, read_all, read_top

    async with open_scores(settings) as stored:
        if limit is None:
            found = await read_all(stored, by=by, wanted=wanted, as_of=as_of)
        else:
            found = await read_top(stored, by=by, limit=limit, wanted=wanted, as_of=as_of)
        return found, stored.rules


def _warn_of_later_stages(found: "Reading") -> None:
    if found.ahead:
        whose = "1 account" if found.ahead == 1 else f"{found.ahead} accounts"
        say(
            f"note: stage and surging topics of {whose} are those of a later instant, at which "
            "the worker looked at them last; all scores are as of the time asked for."
        )


def print_accounts(found: "Reading", rules: "Rules", console: "Console | None" = None) -> None:
    """Print accounts as a table for people, and what it is as of."""
    from scoring.account import decode_state
    from scoring.report import rfc3339
    from stream.cli.listing import accounts_table, listed

    console = terminal() if console is None else console
    rows = [
        listed(decode_state(each.state), found.as_of, rules, each.report) for each in found.accounts
    ]
    if rows:
        console.print(accounts_table(rows, console))
    number = "1 account" if len(rows) == 1 else f"{len(rows)} accounts"
    console.print(f"{number} as of {rfc3339(found.as_of)}", style="dim")


def account(
    account_id: AccountId,
    as_of: AsOf = None,
    redis_url: RedisUrl = None,
    model: ModelFile = None,
    as_json: Json = False,
) -> None:
    """Show one account: its scores, its stage, and the reasons in short."""
    from scoring.report import account_report
    from stream.cli.pages import print_account

    state, now, rules = _one(account_id, as_of, redis_url, model)
    if as_json:
        print_json([account_report(state, now, rules)])
    else:
        print_account(state, now, rules)


def explain(
    account_id: AccountId,
    as_of: AsOf = None,
    redis_url: RedisUrl = None,
    model: ModelFile = None,
    as_json: Json = False,
) -> None:
    """Explain an account's scores: sentences first, then the parts that add up to each."""
    from scoring.explain import explain as explained
    from stream.cli.pages import print_explanation

    state, now, rules = _one(account_id, as_of, redis_url, model)
    found = explained(state, now, rules)
    if as_json:
        print_json([found])
    else:
        print_explanation(found, name=_name(state))


def _one(
    account_id: str, as_of: str | None, redis_url: str | None, model: Path | None
) -> "tuple[AccountState, float, Rules]":
    from stream.reader import Reading, open_scores, read_account

    async def read() -> "tuple[AccountState, float, Rules]":
        async with open_scores(_settings(redis_url, model)) as stored:
            state, now = await read_account(stored, account_id, as_of_seconds(as_of))
            return state, now, stored.rules

    state, now, rules = asyncio.run(read())
    later = state.instant is not None and state.instant > now
    _warn_of_later_stages(Reading(now, [], int(later)))
    return state, now, rules


def _name(state: "AccountState") -> str | None:
    return None if state.record is None else state.record.details.get("name")


def funnel(
    as_of: AsOf = None, redis_url: RedisUrl = None, model: ModelFile = None, as_json: Json = False
) -> None:
    """Show how many accounts are in each funnel stage, and how many moved.

    As the workers counted them; with --as-of every account is evaluated at that time, and moves
    that fall due until then are counted too.
    """
    from stream.cli.pages import funnel_json, print_funnel

    found = asyncio.run(_funnel(_settings(redis_url, model), as_of_seconds(as_of)))
    if as_json:
        print_json([funnel_json(found)])
    else:
        print_funnel(found)


async def _funnel(settings: "Settings", as_of: float | None) -> "Funnel":
    from stream.reader import open_scores, read_funnel

    async with open_scores(settings) as stored:
        return await read_funnel(stored, as_of)


def _settings(redis_url: str | None, model: Path | None) -> "Settings":
    from stream.settings import load_settings

    return load_settings(redis_url=redis_url, model=model)
