"""Scoring models in files."""

from pathlib import Path

from scoring.model import ScoringModel, default_model, parse_model
from stream.errors import InvalidSetting


def read_model(path: Path | None) -> ScoringModel:
    """Return the scoring model in the TOML file *path*, the default one for None.

    Raises InvalidSetting for a file that cannot be read, InvalidModel for what breaks the
    model's contract.
    """
    if path is None:
        return default_model()
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise InvalidSetting(f"{path} cannot be read: {error.strerror or error}.") from error
    except UnicodeDecodeError as error:
        raise InvalidSetting(f"{path} is not UTF-8 at byte {error.start}.") from error
    return parse_model(text, source=str(path))


def differences(model: ScoringModel, other: ScoringModel) -> dict[str, tuple[object, object]]:
    """Return dotted field -> (value in *model*, value in *other*) where they differ."""
    return _differences(model.model_dump(), other.model_dump(), prefix="")


def _differences(
    ours: dict[str, object], theirs: dict[str, object], *, prefix: str
) -> dict[str, tuple[object, object]]:
    found: dict[str, tuple[object, object]] = {}
    for name in sorted(ours.keys() | theirs.keys()):
        mine, other = ours.get(name), theirs.get(name)
        if isinstance(mine, dict) and isinstance(other, dict):
            found |= _differences(mine, other, prefix=f"{prefix}{name}.")
        elif mine != other:
            found[f"{prefix}{name}"] = (mine, other)
    return found
