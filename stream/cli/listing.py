"""Accounts as a table: the columns that a terminal's width has room for."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from rich.console import Console, Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from scoring.account import AccountState
from scoring.explain import one_line
from scoring.report import account_report, parse_time
from scoring.rules import Rules
from stream.cli.output import ago, score_text, text


@dataclass(frozen=True, slots=True)
class Listed:
    """One account of a table."""

    report: dict[str, Any]
    name: str | None
    why: str
    """The strongest reason for its scores."""
    age_seconds: float | None
    """Of its newest event."""


@dataclass(frozen=True, slots=True)
class _Column:
    title: str
    short: str
    """The title on a narrow terminal."""
    least: int
    """Columns that the terminal must have for this one to be shown."""
    cell: Callable[[Listed, Console], Text]
    options: dict[str, Any]


def listed(
    state: AccountState, now: float, rules: Rules, report: dict[str, Any] | None = None
) -> Listed:
    """Return *state* as of *now* as a line of a table; *report* where it is known already."""
    report = account_report(state, now, rules) if report is None else report
    newest = report["last_event_at"]
    return Listed(
        report,
        None if state.record is None else state.record.details.get("name"),
        one_line(state, now, rules),
        None if newest is None else now - parse_time(newest),
    )


def accounts_table(rows: Sequence[Listed], console: Console) -> Group:
    """Return *rows* as a table as wide as *console*, each account's reason on a line below it."""
    shown = [column for column in _COLUMNS if console.width >= column.least]
    heading = [text(_heading(column, console), "bold") for column in shown]
    lines = [[column.cell(row, console) for column in shown] for row in rows]
    widths = [max(cell.cell_len for cell in cells) for cells in zip(heading, *lines, strict=True)]
    parts: list[RenderableType] = [_line(shown, heading, widths)]
    for row, cells in zip(rows, lines, strict=True):
        parts.append(_line(shown, cells, widths))
        parts.append(Padding(text(row.why, "dim"), (0, 0, 0, 4), expand=False))
    return Group(*parts)


def _line(shown: Sequence[_Column], cells: Sequence[Text], widths: Sequence[int]) -> Table:
    """Return one line, its columns *widths* wide unless that is more than they may be."""
    grid = Table.grid(padding=(0, 2, 0, 0))
    for column, width in zip(shown, widths, strict=True):
        options = {name: value for name, value in column.options.items() if name != "max_width"}
        grid.add_column(width=min(width, column.options.get("max_width", width)), **options)
    grid.add_row(*cells)
    return grid


def _heading(column: _Column, console: Console) -> str:
    return column.title if console.width >= WIDE else column.short


def _score(name: str) -> Callable[[Listed, Console], Text]:
    def cell(row: Listed, console: Console) -> Text:
        return score_text(row.report[name], console, bar_width=8 if console.width >= 150 else 0)

    return cell


def _field(name: str, style: str = "") -> Callable[[Listed, Console], Text]:
    return lambda row, _: text(row.report[name], style)


def _topics(row: Listed, _: Console) -> Text:
    return text(", ".join(row.report["surging"]), "bold magenta")


def _age(row: Listed, _: Console) -> Text:
    return text("" if row.age_seconds is None else ago(row.age_seconds))


WIDE: Final = 110
"""Columns from which titles are written out."""

_ONE_LINE: Final[dict[str, Any]] = {"no_wrap": True, "overflow": "ellipsis"}
_NUMBER: Final[dict[str, Any]] = {"no_wrap": True}

_COLUMNS: Final = (
    _Column("account", "account", 0, _field("account_id", "bold"), {**_ONE_LINE, "max_width": 32}),
    _Column("name", "name", 130, lambda row, _: text(row.name), {**_ONE_LINE, "max_width": 24}),
    _Column("engagement", "eng", 0, _score("engagement"), _NUMBER),
    _Column("surge", "surge", 0, _score("intent_surge"), _NUMBER),
    _Column("relationship", "rel", 0, _score("relationship"), _NUMBER),
    _Column("stage", "stage", 60, _field("stage"), _ONE_LINE),
    _Column("tier", "tier", 90, _field("tier"), _ONE_LINE),
    _Column("owner", "owner", 120, _field("owner_id"), {**_ONE_LINE, "max_width": 16}),
    _Column("surging", "surging", 110, _topics, {**_ONE_LINE, "max_width": 28}),
    _Column("last touch", "last touch", 100, _age, {"no_wrap": True, "justify": "right"}),
)
