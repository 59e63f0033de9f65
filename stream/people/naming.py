"""Names of a person: whether bytes hold one, however they are encoded."""

import json
import re
from collections.abc import Iterable
from typing import Final
from urllib.parse import quote

import msgspec

from scoring.erasing import veil_of
from scoring.kpis.facts import text_hash

_BEFORE: Final = rb"(?<![A-Za-z0-9_@+.-])"
_BEHIND: Final = rb"(?![A-Za-z0-9_@+-]|\.[A-Za-z0-9])"
"""A name is no part of a longer one: of ``ann`` there is nothing in ``ann-marie``."""
_NOTHING: Final = rb"(?!)"
SHORTEST: Final = 4
"""Shorter names, and numbers, are everywhere: as text they count in quotation marks only."""


class Person:
    """The ids and addresses of one person, to be looked for in bytes.

    >>> ann = Person(["anna"], ["ann@acme.example"])
    >>> ann.named_in(b'see?who=ANN%40acme.example'), ann.named_in(b"joanna"), ann.named_in(b"anna")
    (True, False, True)
    >>> Person(["42"], []).named_in(b"42"), Person(["42"], []).named_in(b'{"contact_id":"42"}')
    (False, True)
    """

    def __init__(self, contact_ids: Iterable[str], emails: Iterable[str]) -> None:
        self.contact_ids = frozenset(contact_ids)
        self.emails = frozenset(each.strip().lower() for each in emails)
        self.hashes = {text_hash(each): text_hash(veil_of(each)) for each in self.contact_ids}
        """What stands for each id in facts -> what stands there once the person is erased."""
        names = self.contact_ids | self.emails
        self._exact = {name.encode("utf-8", "surrogatepass").lower() for name in names}
        strong = [name for name in names if len(name) >= SHORTEST and not name.isdigit()]
        alone = _either(spelling for name in strong for spelling in _spellings(name))
        quoted = _either(json.dumps(name).encode() for name in names if name not in strong)
        packed = _either(msgspec.msgpack.encode(name) for name in names)
        text = _BEFORE + b"(?i:" + alone + b")" + _BEHIND
        self._strongly = re.compile(text)
        self._named = re.compile(text + b"|" + quoted + b"|" + packed)

    def named_in(self, data: bytes) -> bool:
        """Tell whether *data* holds a name: as text by itself, or as a whole string of msgpack."""
        return self._named.search(data) is not None

    def names(self, data: bytes) -> bool:
        """Tell whether *data* is a name, or holds one."""
        return self.is_name(data) or self.named_in(data)

    def plainly_in(self, data: bytes) -> bool:
        """Tell whether *data* holds a name that can be nothing else, as text by itself."""
        return self._strongly.search(data) is not None

    def is_name(self, data: bytes) -> bool:
        """Tell whether *data* is a name and nothing more."""
        return data.lower() in self._exact


def _either(spellings: Iterable[bytes]) -> bytes:
    found = sorted({re.escape(each) for each in spellings}, key=len, reverse=True)
    return b"|".join(found) or _NOTHING


def _spellings(name: str) -> set[bytes]:
    texts = {
        name,
        json.dumps(name)[1:-1],
        json.dumps(name, ensure_ascii=False)[1:-1],
        quote(name, safe="", errors="surrogatepass"),
        quote(name, safe="@", errors="surrogatepass"),
    }
    return {text.encode("utf-8", "surrogatepass") for text in texts}
