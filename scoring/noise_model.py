"""The model's section on noise: which events are nobody's interest, a switch for each rule."""

import ipaddress
from typing import Annotated, TypeAlias

from pydantic import AfterValidator, Field, Strict, StringConstraints

from scoring.sections import Positive, Section


def _network(value: str) -> str:
    ipaddress.ip_network(value)  # its ValueError says what is wrong
    return value


Word: TypeAlias = Annotated[str, StringConstraints(min_length=3, max_length=128)]
# What is shorter is part of a browser's user agent sooner or later.
Path: TypeAlias = Annotated[str, StringConstraints(max_length=512, pattern=r"^/")]
Domain: TypeAlias = Annotated[
    str, StringConstraints(min_length=1, max_length=253, pattern=r"^[^\s@.A-Z][^\s@A-Z]*$")
]
Address: TypeAlias = Annotated[
    str, StringConstraints(min_length=3, max_length=512, pattern=r"^[^\sA-Z]+@[^\s@A-Z]+$")
]
Network: TypeAlias = Annotated[str, StringConstraints(max_length=64), AfterValidator(_network)]

# TOML knows lists only.
UserAgents: TypeAlias = Annotated[tuple[Word, ...], Strict(strict=False)]
Paths: TypeAlias = Annotated[tuple[Path, ...], Strict(strict=False)]
Domains: TypeAlias = Annotated[tuple[Domain, ...], Strict(strict=False)]
Addresses: TypeAlias = Annotated[tuple[Address, ...], Strict(strict=False)]
Networks: TypeAlias = Annotated[tuple[Network, ...], Strict(strict=False)]


class CrawlerRule(Section):
    """Robots that say so in their user agent."""

    enabled: bool
    user_agents: UserAgents
    never: UserAgents


class HealthCheckRule(Section):
    """Probes of our own and of services that watch sites."""

    enabled: bool
    user_agents: UserAgents
    paths: Paths


class StaffRule(Section):
    """Our own people."""

    enabled: bool
    domains: Domains
    addresses: Addresses
    networks: Networks


class GatewayRule(Section):
    """Mail security gateways, which open emails and follow their links before people can."""

    enabled: bool
    seconds_after_delivery: Positive
    links_at_once: Annotated[int, Field(ge=2, le=64)]
    links_seconds: Positive
    hosts: Domains
    networks: Networks


class NoiseModel(Section):
    """Which events are labelled instead of scored."""

    crawler: CrawlerRule
    health_check: HealthCheckRule
    staff: StaffRule
    gateway: GatewayRule
