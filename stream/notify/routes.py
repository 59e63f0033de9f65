"""Routes: who is told of which alert, where and how often, read from a TOML file."""

import datetime as dt
import tomllib
from collections.abc import Mapping
from typing import Annotated, Any, Final, Literal, Self, TypeAlias
from urllib.parse import quote, urlsplit
from zoneinfo import ZoneInfo

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    Strict,
    StringConstraints,
    ValidationError,
    field_validator,
    model_validator,
)

from stream.errors import InvalidSetting
from stream.notify.alert import Alert

DAYS: Final = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
SECRETS: Final = ("url", "webhook", "secret")
"""Never shown, not in errors either; each may also come by ``_file`` or ``_env``."""
OWNER_FIELDS: Final = ("owner_email", "owner_id")
DEAD_AFTER_HOURS: Final = 14 * 7 * 24.0
"""So long `alerts` keeps them."""

Name: TypeAlias = Annotated[
    str, StringConstraints(min_length=1, max_length=64, pattern=r"^[A-Za-z0-9_.-]+$")
]
# TOML knows lists only.
Texts: TypeAlias = Annotated[tuple[str, ...], Strict(strict=False)]


def _time_of_day(value: object) -> object:
    try:
        return dt.time.fromisoformat(value) if isinstance(value, str) else value
    except ValueError:
        raise ValueError("must be a time of day like 20:00") from None


def _zone(value: object) -> object:
    if not isinstance(value, str):
        return value
    try:
        return ZoneInfo(value)
    except (KeyError, ValueError, OSError):
        raise ValueError("must be a time zone like Europe/Berlin") from None


def _none(value: object) -> object:
    """Return *value*, None for ``false``: TOML has no other way to undo a default."""
    return None if value is False else value


TimeOfDay: TypeAlias = Annotated[dt.time, BeforeValidator(_time_of_day)]
Zone: TypeAlias = Annotated[ZoneInfo, BeforeValidator(_zone)]


class _Section(BaseModel):
    model_config = ConfigDict(
        frozen=True, extra="forbid", strict=True, arbitrary_types_allowed=True
    )


class QuietHours(_Section):
    """When nobody is disturbed, by the wall clock of a time zone."""

    start: TimeOfDay = Field(alias="from")
    end: TimeOfDay = Field(alias="to")
    zone: Zone
    days: Annotated[tuple[Literal[DAYS], ...], Strict(strict=False)] = ()  # type: ignore[valid-type]
    """Whole days that are quiet."""

    @model_validator(mode="after")
    def _ends(self) -> Self:
        if self.start == self.end or set(self.days) == set(DAYS):
            raise ValueError("must end some time: from and to must differ, and a day be left")
        return self


class RateLimit(_Section):
    """At most so many to an owner within so many minutes; the rest comes as a digest."""

    alerts: Annotated[int, Field(ge=1, le=10_000)]
    minutes: Annotated[float, Field(gt=0, le=10_080)]


class Retry(_Section):
    """How long an endpoint that fails is tried again."""

    first_seconds: Annotated[float, Field(gt=0, le=60)] = 0.5
    longest_seconds: Annotated[float, Field(gt=0, le=3_600)] = 60.0
    give_up_minutes: Annotated[float, Field(ge=0, le=10_080)] = 30.0


class Route(_Section):
    """One address, what is let through to it, and how."""

    name: Name
    url: str | None = Field(default=None, min_length=3, max_length=2_048, repr=False)
    """For people: an Apprise URL, in which ``{owner_email}`` and ``{owner_id}`` are filled in."""
    webhook: str | None = Field(default=None, min_length=8, max_length=2_048, repr=False)
    """For programs: gets signed JSON."""
    secret: str | None = Field(default=None, min_length=16, max_length=1_024, repr=False)
    owners: Texts = ()
    """Ids or email addresses of the owners whose route it is."""
    rules: Texts = ()
    severities: Annotated[tuple[Literal["high", "medium", "low"], ...], Strict(strict=False)] = ()
    tiers: Annotated[tuple[Annotated[int, Field(ge=1, le=3)], ...], Strict(strict=False)] = ()
    always: bool = False
    """Whether it gets what it lets through, whoever else does."""
    quiet_hours: Annotated[QuietHours | None, BeforeValidator(_none)] = None
    rate_limit: Annotated[RateLimit | None, BeforeValidator(_none)] = None
    urgent: Annotated[tuple[Literal["high", "medium", "low"], ...], Strict(strict=False)] = ()
    """Severities for which neither of the two counts."""
    digest_minutes: Annotated[float, Field(gt=0, le=1_440)] = 15.0
    max_age_hours: Annotated[float, Field(gt=0, le=DEAD_AFTER_HOURS)] = 24.0
    retry: Retry = Retry()
    timeout_seconds: Annotated[float, Field(gt=0, le=300)] = 10.0
    concurrency: Annotated[int, Field(ge=1, le=64)] = 8

    @field_validator("webhook")
    @classmethod
    def _web_address(cls, value: str | None) -> str | None:
        parts = urlsplit(value or "https://none")
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError("must be like https://crm.example.com/alerts")
        return value

    @model_validator(mode="after")
    def _one_address(self) -> Self:
        if (self.url is None) == (self.webhook is None):
            raise ValueError("must have either url or webhook (or their _file or _env)")
        if (self.webhook is None) != (self.secret is None):
            raise ValueError("must have a secret if, and only if, it has a webhook")
        return self

    @property
    def for_owner(self) -> bool:
        """Tell whether the owner is filled in."""
        return any(f"{{{name}}}" in (self.url or "") for name in OWNER_FIELDS)

    def address(self, alert: Alert) -> str | None:
        """Return where *alert* goes to, None when what is to be filled in is not known."""
        address = self.webhook or self.url or ""
        for name in OWNER_FIELDS if self.for_owner else ():
            value = getattr(alert, name)
            if f"{{{name}}}" in address and not value:
                return None
            # An owner comes from the CRM and must not write the rest of the address.
            address = address.replace(f"{{{name}}}", quote(value or "", safe="@"))
        return address


class Routes(_Section):
    """A whole file of routes."""

    default: Texts = ()
    """Routes of alerts whose owner has none."""
    zones: Annotated[dict[str, Zone], Field(max_length=10_000)] = {}
    """Owner -> the time zone of their quiet hours."""
    routes: dict[str, Route] = {}

    @model_validator(mode="after")
    def _known(self) -> Self:
        for name in self.default:
            if name not in self.routes:
                raise ValueError(f"default names {name!r}, which must be one of the routes")
        return self


def parse_routes(
    text: str, *, source: str = "routes", secrets: Mapping[str, Mapping[str, str]] | None = None
) -> Routes:
    """Return the routes that the TOML *text* describes.

    *secrets* is route -> what its ``_file`` and ``_env`` fields stood for. Raises InvalidSetting:
    one sentence with *source*, the field, its value unless it is secret, and what it must be.
    """
    table = parse_table(text, source=source)
    common = table.pop("defaults", {})
    routes = table.get("routes", {})
    if isinstance(routes, dict) and isinstance(common, dict):
        table["routes"] = {
            name: _route(name, common, given, (secrets or {}).get(name, {}))
            for name, given in routes.items()
        }
    try:
        return Routes.model_validate(table)
    except ValidationError as error:
        raise InvalidSetting(_sentence(error, source=source)) from None


def parse_table(text: str, *, source: str) -> dict[str, Any]:
    """Return the table in the TOML *text*. Raises InvalidSetting."""
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise InvalidSetting(f"{source} is not valid TOML: {error}.") from None


def _route(
    name: str, common: Mapping[str, Any], given: object, secrets: Mapping[str, str]
) -> object:
    if not isinstance(given, dict):
        return given
    elsewhere = {f"{each}_{place}" for each in SECRETS for place in ("file", "env")}
    own = {field: value for field, value in given.items() if field not in elsewhere}
    return {"name": name, **common, **own, **secrets}


def _sentence(error: ValidationError, *, source: str) -> str:
    first = error.errors(include_url=False)[0]
    field = ".".join(str(part) for part in first["loc"]) or "the file"
    rule = first["msg"].removeprefix("Value error, ").replace("a valid tuple", "a list")
    value = first.get("input")
    secret = any(part in SECRETS for part in first["loc"])
    shown = isinstance(value, str | int | float | dt.time) and not secret
    return f"{source}: {field}{f' = {value!r}' if shown else ''}: {rule.rstrip('.')}."
