"""Who may send: write keys, of which a file holds the source, the kind, the hash and the origins.

A key in a page is known to everybody who looks, so a key of kind ``browser`` is good for what
visitors do alone, and for pages of its origins.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Final, Literal, NamedTuple, get_args
from urllib.parse import urlsplit

from stream.errors import InvalidSetting
from stream.web.hash_file import (
    HashFile,
    append_line,
    hash_of,
    is_hash,
    is_name,
    lines_of,
    new_secret,
)
from stream.web.serving import LOOPBACK_HOSTS

Kind = Literal["server", "browser"]
KINDS: Final[tuple[Kind, ...]] = get_args(Kind)
VARIABLE: Final = "SURGELINE_COLLECTOR_KEYS_FILE"

PUBLIC_TYPES: Final = frozenset({"page_visit", "ad", "chat", "email", "meeting", "identify"})
"""What a browser's key may send: no record of the CRM, no spend, no signal of others."""


class Sender(NamedTuple):
    """Whose key it is."""

    source: str
    kind: Kind
    origins: frozenset[str] = frozenset()

    def lets_in(self, origin: str | None) -> bool:
        """Tell whether a page of *origin* may use the key; None for what is no page."""
        return origin is None or origin in self.origins

    def may_send(self, type_: str) -> bool:
        """Tell whether events of *type_* may come with the key."""
        return self.kind == "server" or type_ in PUBLIC_TYPES


class Anybody(Sender):
    """Whoever asks on loopback, where no keys are wanted; pages of loopback may, too."""

    __slots__ = ()

    def lets_in(self, origin: str | None) -> bool:
        """Tell whether *origin* is on loopback."""
        return origin is None or urlsplit(origin).hostname in LOOPBACK_HOSTS


DEFAULT_SOURCE: Final = "collector"


class OpenDoor:
    """Everybody is let in, under the source that their key spells."""

    def sender(self, key: str) -> Sender | None:
        """Return who sends with *key*."""
        return Anybody(key if is_name(key) else DEFAULT_SOURCE, "server")

    def knows_origin(self, origin: str) -> bool:
        """Tell whether pages of *origin* may send."""
        return Anybody(DEFAULT_SOURCE, "server").lets_in(origin)

    def look_again(self) -> None:
        """There is no file."""


class WriteKeys(HashFile[Mapping[str, Sender]]):
    """The keys of a file; a change of the file counts from the next look at it."""

    def __init__(self, file: Path) -> None:
        super().__init__(file, read_keys, what="write keys")

    def sender(self, key: str) -> Sender | None:
        """Return whose *key* it is, None for an unknown one."""
        return self.known.get(hash_of(key))

    def knows_origin(self, origin: str) -> bool:
        """Tell whether pages of *origin* may send with some key."""
        return any(origin in each.origins for each in self.known.values())


Door = OpenDoor | WriteKeys


def new_key(source: str, kind: Kind, origins: list[str]) -> tuple[str, str]:
    """Return a new key, which nothing here stores, and its line for the file.

    Raises InvalidSetting for what the file cannot hold.
    """
    key = new_secret()
    line = " ".join([f"{source}:{kind}:{hash_of(key)}", *origins])
    _sender(line, f"Source {source!r}")
    return key, line


def add_key_line(file: Path, line: str) -> None:
    """Append *line* to *file*, which only its owner may read when it is new.

    A source may have several keys: one is replaced by making another and removing its line later.
    Raises InvalidSetting when the file cannot be written, or holds something else.
    """
    try:
        if file.exists() and file.stat().st_size:
            read_keys(file)
        append_line(file, line)
    except OSError as error:
        raise InvalidSetting(f"{file} cannot be written ({error.strerror}).") from error


def read_keys(file: Path) -> dict[str, Sender]:
    """Return hash -> sender of the keys in *file*.

    Raises InvalidSetting: one sentence that names the line.
    """
    known = dict(_sender(line, where) for line, where in lines_of(file, VARIABLE))
    if not known:
        raise InvalidSetting(
            f"{VARIABLE}={file}: holds no key; `surgeline collector-key SOURCE` makes one."
        )
    return known


def _sender(line: str, where: str) -> tuple[str, Sender]:
    head, *origins = line.split()
    source, _, rest = head.partition(":")
    kind, _, digest = rest.partition(":")
    for each in KINDS:
        if kind == each and is_name(source) and is_hash(digest):
            wrong = next((origin for origin in origins if not _is_origin(origin)), None)
            if wrong is not None:
                raise InvalidSetting(f"{where}: {wrong!r} must be like https://www.example.com.")
            if each == "browser" and not origins:
                raise InvalidSetting(f"{where}: a browser's key needs the origins of its pages.")
            return digest, Sender(source, each, frozenset(origins))
    raise InvalidSetting(
        f"{where}: must be source:kind:hash and origins, the source 1 to 64 of A-Z a-z 0-9 . _ @ -, "
        "as `surgeline collector-key` prints it."
    )


def _is_origin(text: str) -> bool:
    try:
        url = urlsplit(text)
    except ValueError:
        return False
    return url.scheme in ("http", "https") and text == f"{url.scheme}://{url.netloc}" != "://"
