"""The table of faults: a row each, printed when the tests are over."""

from collections.abc import Iterable
from typing import Any, NamedTuple


class Row(NamedTuple):
    """What one fault did."""

    fault: str
    injected: int
    recovered_seconds: float
    lost: int
    double: int
    notes: str = ""

    def properties(self) -> dict[str, Any]:
        """Return it as plain values, which travel between the processes of a test run."""
        return self._asdict()


HEADER = ("fault", "injected", "recovered in s", "lost", "double", "notes")


def markdown(rows: Iterable[Row]) -> str:
    """Return *rows* as a table in Markdown."""
    lines = [_line(HEADER), _line(("---", "---:", "---:", "---:", "---:", "---"))]
    lines += [
        _line(
            (
                row.fault,
                str(row.injected),
                f"{row.recovered_seconds:.1f}",
                str(row.lost),
                str(row.double),
                row.notes,
            )
        )
        for row in rows
    ]
    return "\n".join(lines) + "\n"


def _line(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cells)} |"
