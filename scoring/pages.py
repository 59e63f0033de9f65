"""What a page says: its value for engagement and its intent topics, by words in its path."""

import re
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from typing import Final, NamedTuple
from urllib.parse import urlsplit

from scoring.model import ScoringModel

ANY_TOPIC: Final = "*"
"""The intent topic to which every visit and signal belongs."""

URLS_REMEMBERED: Final = 65_536
_EXTENSION = re.compile(r"\.[a-z0-9]+$")


class Page(NamedTuple):
    """What one URL means to the model."""

    kind: str
    """``excluded``, ``high``, ``medium`` or ``normal``."""
    value: float
    """Factor on a visit's points."""
    topics: tuple[str, ...]
    """Intent topics that a visit counts for, sorted; none for excluded pages."""
    path: str
    """As it stands in the URL: ``/Pricing.html``."""
    name: str
    """As people write it, the same for all spellings: ``/pricing``."""


def path_of(url: str) -> str:
    """Return the path of *url*, as it stands there.

    >>> path_of("https://example.com/Docs/Intro.html?x=1"), path_of("https://example.com")
    ('/Docs/Intro.html', '/')
    """
    try:
        return urlsplit(url).path or "/"
    except ValueError:
        return "/"


def segments(url: str) -> tuple[str, ...]:
    """Return the path segments of *url*, lower-cased, without final extensions, undecoded.

    >>> segments("https://example.com/Docs/Intro.html?x=1")
    ('docs', 'intro')
    """
    try:
        path = urlsplit(url).path
    except ValueError:  # such as an unclosed IPv6 bracket: a page without a known path
        return ()
    return tuple(_EXTENSION.sub("", part) for part in path.lower().split("/") if part)


def matches(parts: Sequence[str], words: Sequence[str]) -> bool:
    """Tell whether a segment equals a word or starts with the word and a hyphen.

    >>> matches(("pricing-2026",), ("pricing",)), matches(("pricings",), ("pricing",))
    (True, False)
    """
    return any(part == word or part.startswith(f"{word}-") for part in parts for word in words)


def page_reader(model: ScoringModel) -> Callable[[str], Page]:
    """Return a function from URL to Page under *model* that remembers the newest URLs."""
    pages, values = model.pages, model.pages.value
    classes: Mapping[str, tuple[tuple[str, ...], float]] = {
        "excluded": (pages.excluded, values.excluded),
        "high": (pages.high, values.high),
        "medium": (pages.medium, values.medium),
    }

    @lru_cache(maxsize=URLS_REMEMBERED)
    def read(url: str) -> Page:
        parts = segments(url)
        kind = next((k for k, (words, _) in classes.items() if matches(parts, words)), "normal")
        value = classes[kind][1] if kind in classes else values.normal
        path, name = path_of(url), "/" + "/".join(parts)
        if kind == "excluded":
            return Page(kind, value, (), path, name)
        topics = [topic for topic, words in model.surge.topics.items() if matches(parts, words)]
        return Page(kind, value, tuple(sorted((ANY_TOPIC, *topics))), path, name)

    return read
