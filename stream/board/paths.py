"""Ids in paths: any text, slashes included when they are encoded."""

from typing import Final

from starlette.convertors import Convertor, register_url_convertor

ENCODED_SLASH: Final = "\udc2f"
"""Stands for an encoded slash until the path is taken apart; no decoded path can contain it."""


class _IdConvertor(Convertor[str]):
    regex = "(?s:.+)"

    def convert(self, value: str) -> str:
        """Return the id that *value* means."""
        return value.replace(ENCODED_SLASH, "/")

    def to_string(self, value: str) -> str:
        """Return *value*; nothing here makes paths."""
        return value


def allow_ids() -> None:
    """Let routes say ``{name:id}``. Again does nothing."""
    register_url_convertor("id", _IdConvertor())
