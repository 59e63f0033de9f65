"""Files of secrets' hashes: one line each, read again when they change, added to by commands.

A secret is 256 random bits, so one SHA-256 of it cannot be searched for, and a slow hash would
only slow down every request.
"""

import logging
import re
import secrets
from collections.abc import Callable, Iterator
from hashlib import sha256
from pathlib import Path
from typing import Final, Generic, TypeVar

from stream.errors import InvalidSetting

log = logging.getLogger(__name__)

T = TypeVar("T")

SECRET_BYTES: Final = 32
LONGEST_SECRET: Final = 512

is_hash: Final = re.compile(r"[0-9a-f]{64}").fullmatch
is_name: Final = re.compile(r"[A-Za-z0-9._@-]{1,64}").fullmatch


def new_secret() -> str:
    """Return a new secret, which nothing here stores."""
    return secrets.token_urlsafe(SECRET_BYTES)


def hash_of(secret: str) -> str:
    """Return the SHA-256 of *secret*, hex."""
    return sha256(secret[:LONGEST_SECRET].encode("utf-8", "surrogatepass")).hexdigest()


def lines_of(file: Path, variable: str) -> Iterator[tuple[str, str]]:
    """Yield each line of *file* that says something, and where it stands, for errors.

    *variable* names the setting. Raises InvalidSetting when the file cannot be read.
    """
    where = f"{variable}={file}"
    try:
        lines = file.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError):
        raise InvalidSetting(f"{where}: must be a readable file.") from None
    for number, line in enumerate(lines, start=1):
        if line.strip() and not line.lstrip().startswith("#"):
            yield line.strip(), f"{where}, line {number}"


def append_line(file: Path, line: str) -> None:
    """Append *line* to *file*, which only its owner may read when it is new; raises OSError."""
    file.touch(mode=0o600)
    text = file.read_text(encoding="utf-8")
    between = "\n" if text and not text.endswith("\n") else ""
    with file.open("a", encoding="utf-8") as out:
        out.write(f"{between}{line}\n")


class HashFile(Generic[T]):
    """What a file holds; a change of the file counts from the next look at it."""

    def __init__(self, file: Path, read: Callable[[Path], T], *, what: str) -> None:
        self._file = file
        self._read = read
        self._what = what
        self.known = read(file)
        self._changed = self._stamp()

    def look_again(self) -> None:
        """Read the file again if it has changed; what cannot be read leaves all as it was."""
        stamp = self._stamp()
        if stamp == self._changed:
            return
        self._changed = stamp
        try:
            self.known = self._read(self._file)
        except InvalidSetting as error:
            log.error("%s The %s known before stay in force.", error, self._what)  # noqa: TRY400  # says all
        else:
            log.info("Read the %s again.", self._what)

    def _stamp(self) -> tuple[int, int, int] | None:
        try:
            found = self._file.stat()
        except OSError:
            return None
        return found.st_mtime_ns, found.st_size, found.st_ino
