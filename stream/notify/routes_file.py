"""Routes in files, and the secrets that they take from elsewhere."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from stream.errors import InvalidSetting
from stream.notify.routes import OWNER_FIELDS, SECRETS, Routes, parse_routes, parse_table
from stream.settings import variable_value


def read_routes(path: Path | None) -> Routes:
    """Return the routes in the TOML file *path*; for None there are none, and nobody is told.

    Raises InvalidSetting for a file that cannot be read or breaks its contract.
    """
    if path is None:
        return Routes()
    text = _text(path, said=str(path))
    secrets = {
        name: _secrets(given, place=f"{path}: routes.{name}")
        for name, given in _tables(parse_table(text, source=str(path)))
    }
    routes = parse_routes(text, source=str(path), secrets=secrets)
    _check_addresses(routes, source=str(path))
    return routes


def _tables(table: Mapping[str, Any]) -> list[tuple[str, dict[str, Any]]]:
    routes = table.get("routes")
    found = routes.items() if isinstance(routes, dict) else ()
    return [(name, given) for name, given in found if isinstance(given, dict)]


def _secrets(given: Mapping[str, Any], *, place: str) -> dict[str, str]:
    """Return field -> value of what a route takes from files and the environment."""
    found: dict[str, str] = {}
    for name in SECRETS:
        ways = [each for each in (name, f"{name}_file", f"{name}_env") if each in given]
        if len(ways) > 1:
            raise InvalidSetting(f"{place}: must not have both {ways[0]} and {ways[1]}.")
        for way in ways:
            value = given[way]
            if way == name:
                continue
            if not isinstance(value, str) or not value:
                raise InvalidSetting(f"{place}.{way}: must be a text.")
            found[name] = _secret(way, value, place=f"{place}.{way} = {value!r}")
    return found


def _secret(way: str, value: str, *, place: str) -> str:
    if way.endswith("_file"):
        # Editors and `echo` end a file with a newline, which is no part of the secret.
        secret = _text(Path(value), said=place).rstrip("\r\n")
    else:
        secret = variable_value(value) or ""
    if not secret:
        raise InvalidSetting(f"{place}: must name what holds the value, and that is empty.")
    return secret


def _text(path: Path, *, said: str) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        raise InvalidSetting(f"{said}: must be a readable file of UTF-8 text.") from None


def _check_addresses(routes: Routes, *, source: str) -> None:
    from stream.notify.sending import speaks

    for route in routes.routes.values():
        url = route.url
        for name in OWNER_FIELDS:
            url = None if url is None else url.replace(f"{{{name}}}", "owner@example.com")
        if url is not None and not speaks(url):
            raise InvalidSetting(
                f"{source}: routes.{route.name}.url: must be a URL that Apprise knows."
            )
