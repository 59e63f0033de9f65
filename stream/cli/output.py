"""What commands print: JSON for programs, tables for people, sentences on standard error."""

import json
import shutil
import sys
from collections.abc import Iterable, Mapping
from typing import Any, Final

from rich.console import Console
from rich.text import Text

WIDTH_OF_FILES: Final = 160
"""Columns of a table that goes to no terminal, unless COLUMNS says otherwise."""

_EIGHTHS: Final = " ▏▎▍▌▋▊▉"


def print_json(rows: Iterable[Mapping[str, Any]]) -> None:
    """Print each of *rows* as one line of JSON; numbers read back as they were."""
    for row in rows:
        sys.stdout.write(f"{json.dumps(row, allow_nan=False)}\n")
    sys.stdout.flush()  # a reader that has gone away is met here, and not at the exit


def terminal() -> Console:
    """Return a console on standard output, as wide as it is, in colour on a terminal only."""
    width = shutil.get_terminal_size((WIDTH_OF_FILES, 24)).columns
    return Console(file=sys.stdout, width=width, highlight=False, emoji=False)


def say(sentence: str) -> None:
    """Print one line on standard error."""
    print(f"surgeline: {plain(' '.join(sentence.splitlines()))}", file=sys.stderr)


def plain(value: object) -> str:
    r"""Return *value* as text that cannot steer a terminal: ids and names come from outside.

    >>> plain("a\x1b[2Jb") == "a\ufffd[2Jb"
    True
    """
    return "".join(char if char.isprintable() else "\ufffd" for char in str(value))


def text(value: object, style: str = "") -> Text:
    """Return *value* as it is, nothing in it read as markup; None is empty."""
    return Text("" if value is None else plain(value), style=style)


def bar(score: float, *, width: int = 8, ascii_only: bool = False) -> str:
    """Return *score* (0 to 100) as a bar of at most *width* characters.

    >>> bar(50.0, width=4), bar(53.125, width=4), bar(75.0, width=4, ascii_only=True)
    ('██', '██▏', '###')
    """
    share = min(max(score, 0.0), 100.0) / 100.0 * width
    if ascii_only:
        return "#" * round(share)
    full, eighths = divmod(round(share * 8), 8)
    return "█" * full + (_EIGHTHS[eighths] if eighths else "")


def score_text(score: float, console: Console, *, bar_width: int = 8) -> Text:
    """Return *score* as a number and, where *bar_width* is not 0, a bar after it."""
    style = "bold green" if score >= 70.0 else "yellow" if score >= 40.0 else ""
    shown = Text(f"{score:5.1f}", style=style or ("dim" if score < 0.05 else ""))
    if bar_width:
        drawn = bar(score, width=bar_width, ascii_only=not draws_blocks(console))
        shown.append(f" {drawn:<{bar_width}}", style=style or "cyan")
    return shown


def draws_blocks(console: Console) -> bool:
    """Tell whether *console* can show more than ASCII."""
    return console.encoding.lower().startswith("utf")


def ago(seconds: float) -> str:
    """Return an age as people say it in a narrow column.

    >>> ago(30), ago(7_300), ago(86_400 * 3), ago(86_400 * 800)
    ('now', '2 h', '3 d', '2 y')
    """
    for unit, size in (("y", 365 * 86_400), ("d", 86_400), ("h", 3_600), ("min", 60)):
        if seconds >= size:
            return f"{int(seconds // size)} {unit}"
    return "now"
