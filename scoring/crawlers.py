"""Crawlers: whether a user agent is one of those that robots are known by.

The patterns are those of crawler-user-agents, a list that is kept up to date by many. Most of
them are plain text, which is looked for ten times as fast as by regular expressions.
"""

import re
from collections.abc import Callable
from functools import cache

AGENTS_REMEMBERED = 16_384
LOOKED_AT = 512
"""Characters of a user agent: as many as the contract allows."""

_PLAIN = re.compile(r"(?:[^\\.^$*+?{}\[\]|()]|\\[^A-Za-z0-9])+")
_ESCAPED = re.compile(r"\\(.)")


def known_crawler(user_agent: str) -> bool:
    """Tell whether the list knows *user_agent* as a crawler's.

    >>> known_crawler("Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)")
    True
    >>> known_crawler("Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0")
    False
    """
    texts, search = _patterns()
    shown = user_agent[:LOOKED_AT]
    return any(text in shown for text in texts) or search(shown) is not None


@cache
def _patterns() -> tuple[tuple[str, ...], Callable[[str], object]]:
    """Return the list's plain texts, and the search for what is none."""
    # Half a megabyte of examples comes with it: read where a user agent is first asked about.
    from crawleruseragents import CRAWLER_USER_AGENTS_DATA

    patterns = [str(each["pattern"]) for each in CRAWLER_USER_AGENTS_DATA]
    texts = tuple(_ESCAPED.sub(r"\1", each) for each in patterns if _PLAIN.fullmatch(each))
    others = [f"(?:{each})" for each in patterns if not _PLAIN.fullmatch(each)]
    return texts, re.compile("|".join(others)).search
