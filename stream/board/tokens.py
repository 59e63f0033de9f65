"""Who may ask: bearer tokens, of which a file holds the names, the roles and the hashes."""

import hmac
from collections.abc import Iterable
from pathlib import Path
from typing import Final, Literal, NamedTuple, get_args

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

Role = Literal["reader", "operator"]
ROLES: Final[tuple[Role, ...]] = get_args(Role)


class Principal(NamedTuple):
    """Who asks, and what they may do."""

    name: str
    role: Role

    @property
    def is_operator(self) -> bool:
        """Tell whether they may acknowledge and mute."""
        return self.role == "operator"


LOCAL: Final = Principal("local", "operator")
"""Everybody, where no tokens are wanted."""


class Known(NamedTuple):
    """One line of the file."""

    principal: Principal
    digest: str
    """SHA-256 of the token, hex."""


def new_token(name: str, role: Role) -> tuple[str, str]:
    """Return a new token, which nothing here stores, and its line for the file.

    Raises InvalidSetting for a name that the file cannot hold.
    """
    if not is_name(name):
        raise InvalidSetting(f"Token name {name!r}: must be 1 to 64 of A-Z a-z 0-9 . _ @ -.")
    token = new_secret()
    return token, f"{name}:{role}:{hash_of(token)}"


def add_token_line(file: Path, line: str) -> None:
    """Append *line* to *file*, which only its owner may read when it is new.

    Raises InvalidSetting when it cannot be written, or holds the name already.
    """
    name = line.partition(":")[0]
    try:
        known = read_tokens(file) if file.exists() else []
        if any(each.principal.name == name for each in known):
            raise InvalidSetting(f"{file} holds a token named {name}: choose another name.")
        append_line(file, line)
    except OSError as error:
        raise InvalidSetting(f"{file} cannot be written ({error.strerror}).") from error


def read_tokens(file: Path) -> list[Known]:
    """Return the tokens in *file*. Raises InvalidSetting: one sentence that names the line."""
    variable = "SURGELINE_BOARD_TOKENS_FILE"
    known = [_known(line, where) for line, where in lines_of(file, variable)]
    if not known:
        raise InvalidSetting(
            f"{variable}={file}: holds no token; `surgeline board-token NAME` makes one."
        )
    return known


def _known(line: str, where: str) -> Known:
    name, _, rest = line.partition(":")
    role, _, digest = rest.partition(":")
    for each in ROLES:
        if role == each and is_name(name) and is_hash(digest):
            return Known(Principal(name, each), digest)
    raise InvalidSetting(
        f"{where}: must be name:role:hash with role reader or operator, as `surgeline board-token` "
        "prints it."
    )


class Tokens(HashFile[list[Known]]):
    """The tokens of a file; a change of the file counts from the next look at it."""

    def __init__(self, file: Path) -> None:
        super().__init__(file, read_tokens, what="board's tokens")

    def principal(self, token: str) -> Principal | None:
        """Return whose *token* it is, None for an unknown one."""
        return holder(token, self.known)


def holder(token: str, known: Iterable[Known]) -> Principal | None:
    """Return whose *token* it is; takes as long whichever it is, or is not."""
    digest, found = hash_of(token), None
    for each in known:
        if hmac.compare_digest(each.digest, digest):
            found = each.principal
    return found
