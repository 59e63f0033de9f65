"""Headers of requests, read without the cost of parsing all that a request says of itself."""

from collections.abc import MutableMapping
from functools import lru_cache
from typing import Any
from urllib.parse import urlsplit


def header(scope: MutableMapping[str, Any], name: bytes) -> str | None:
    """Return the first header *name* (lower case) of an ASGI *scope*, None without it."""
    for key, value in scope["headers"]:
        if key == name:
            found: str = value.decode("latin-1")
            return found
    return None


@lru_cache(maxsize=1_024)
def host_name(host: str) -> str | None:
    """Return the name in a Host header, without port.

    >>> host_name("localhost:8321"), host_name("[::1]:80"), host_name("[")
    ('localhost', '::1', None)
    """
    try:
        return urlsplit(f"//{host}").hostname
    except ValueError:
        return None
