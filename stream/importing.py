"""Importing: accounts and contacts from CSV files, as HubSpot, Salesforce and others export them.

Every row becomes one record, or one complaint that says its line and what is wrong.
"""

import csv
import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import IO, Any, Final, NamedTuple

from pydantic_core import ValidationError

from scoring.errors import BadRecord
from scoring.events import Decoder, any_decoder, bad_record, check_event
from stream.csv_columns import Layout, event_of, layout_of
from stream.errors import NotFound, SurgelineError, said

SAMPLE_CHARACTERS: Final = 65_536


class Complaint(NamedTuple):
    """What is wrong with one row."""

    line: int
    """Of the file, counted from 1; the heading is the first."""
    detail: str


class Row(NamedTuple):
    """A good row."""

    line: int
    event: dict[str, Any]


class CsvFile:
    """A CSV file of accounts or contacts, and what its columns mean.

    *kind* is ``account`` or ``contact``, None to see it by the columns; *own* maps headings to
    fields. Raises NotFound and SurgelineError for a file that cannot be read.
    """

    def __init__(self, path: Path, *, kind: str | None, own: Mapping[str, str]) -> None:
        self._file = _opened(path)
        try:
            self._reader = csv.reader(self._file, delimiter=_delimiter(self._file), strict=True)
            self._heading = next(self._reader, [])
        except (UnicodeDecodeError, csv.Error) as error:
            raise SurgelineError(f"{path} is no CSV file in UTF-8: {said(error)}.") from error
        if not self._heading:
            raise SurgelineError(f"{path} is empty: its first line must name the columns.")
        self.layout: Layout = layout_of(self._heading, kind=kind, own=own)

    def rows(self, *, target: bool, now: str) -> Iterator[Row | Complaint]:
        """Yield what each row is, once.

        *target* holds for accounts whose file does not say; *now* is the time of the records.
        """
        decode, seen = any_decoder(), dict[str, int]()
        with self._file:
            while True:
                line = self._reader.line_num + 1
                try:
                    cells = next(self._reader)
                except StopIteration:
                    return
                except (UnicodeDecodeError, csv.Error) as error:
                    yield Complaint(line, f"no CSV in UTF-8 ({said(error)}); the rest is not read")
                    return
                if any(cell.strip() for cell in cells):
                    yield self._row(line, cells, seen, decode=decode, common=(target, now))

    def _row(
        self,
        line: int,
        cells: list[str],
        seen: dict[str, int],
        *,
        decode: Decoder,
        common: tuple[bool, str],
    ) -> Row | Complaint:
        width, layout = len(self._heading), self.layout
        if len(cells) != width:
            return Complaint(line, f"{len(cells)} cells; the heading has {width}")
        try:
            event = event_of(cells, layout, target=common[0], now=common[1])
            check_event(decode(json.dumps(event).encode()), now=float("inf"))
        except ValidationError as error:
            return Complaint(line, bad_record(error).detail)
        except BadRecord as error:
            return Complaint(line, error.detail)
        except ValueError as error:
            return Complaint(line, str(error))
        name = event[f"{layout.kind}_id"]
        first = seen.setdefault(name, line)
        if first != line:
            return Complaint(line, f"{layout.kind}_id {name!r} is in line {first} already")
        return Row(line, event)


def _opened(path: Path) -> IO[str]:
    try:
        return path.open(encoding="utf-8-sig", newline="")
    except FileNotFoundError as error:
        raise NotFound(f"{path} cannot be read: {error.strerror}.") from error
    except OSError as error:
        raise SurgelineError(f"{path} cannot be read: {error.strerror}.") from error


def _delimiter(file: IO[str]) -> str:
    first = file.read(SAMPLE_CHARACTERS).partition("\n")[0]
    file.seek(0)
    return max(",;\t", key=first.count)


def records_of(rows: Iterable[Row]) -> Iterator[bytes]:
    """Yield each row as a line for `stream.replay`."""
    for row in rows:
        yield json.dumps(row.event, ensure_ascii=False).encode()
