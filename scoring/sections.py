"""What the sections of the scoring model are made of: bounded numbers, words, frozen tables."""

from typing import Annotated, Final, TypeAlias, TypeVar, cast

import msgspec
from pydantic import BaseModel, ConfigDict, Field, Strict, StringConstraints

LARGEST: Final = 1e9
"""Of a model's numbers, so that sums and products of them stay finite and can be stored."""

Positive: TypeAlias = Annotated[float, Field(gt=0, le=LARGEST, allow_inf_nan=False)]
# A billionth of the shortest is still a step between two instants as doubles.
HalfLife: TypeAlias = Annotated[float, Field(ge=0.01, le=LARGEST, allow_inf_nan=False)]
NotNegative: TypeAlias = Annotated[float, Field(ge=0, le=LARGEST, allow_inf_nan=False)]
Share: TypeAlias = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]
Score: TypeAlias = Annotated[float, Field(gt=0, le=100, allow_inf_nan=False)]
Word: TypeAlias = Annotated[
    str, StringConstraints(min_length=1, max_length=128, pattern=r"^[^/?#\sA-Z]+$")
]
# TOML knows lists only.
Words: TypeAlias = Annotated[tuple[Word, ...], Strict(strict=False)]
TopicName: TypeAlias = Annotated[str, StringConstraints(min_length=1, max_length=512)]


class Section(BaseModel):
    """A table of the model: frozen, strict, without unknown fields."""

    # Built within the model that it is a part of, and not once more by itself at every start.
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, defer_build=True)


S = TypeVar("S", bound=Section)


def plain(section: S) -> S:
    """Return *section*, and the tables in it, as objects with the values of its fields and properties.

    They are read at every event: looking into one of pydantic's takes several times as long.
    """
    values = {name: plain(v) if isinstance(v, Section) else v for name, v in section}
    own = [kind for kind in type(section).__mro__ if issubclass(kind, Section)]
    properties = {n for kind in own for n, v in vars(kind).items() if isinstance(v, property)}
    values |= {name: getattr(section, name) for name in properties}
    # A dataclass is read as fast, and takes twenty times as long to make.
    return cast("S", msgspec.defstruct(type(section).__name__, [*values], frozen=True)(**values))
