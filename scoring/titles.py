"""Titles: how people of an account are called in sentences."""

from typing import Final

_TITLES: Final = {"c_level": "C-level", "vp": "VP", "director": "director", "manager": "manager"}


def called(contact_id: str, seniority: str | None) -> str:
    """Return how a contact is called: an id is all that scores know of a name.

    >>> called("ann", "vp"), called("bob", "other"), called("eve", None)
    ('ann (VP)', 'bob', 'eve')
    """
    title = _TITLES.get(seniority or "")
    return f"{contact_id} ({title})" if title else contact_id
