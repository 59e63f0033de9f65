"""How far each way to an account is believed, and what a model knows of domains by itself."""

from typing import Annotated, Literal, TypeAlias

from pydantic import Field, Strict, StringConstraints

from scoring.sections import Section, Share

Domain: TypeAlias = Annotated[
    str, StringConstraints(min_length=3, max_length=253, pattern=r"^[^/@\s.A-Z]+(\.[^/@\s.A-Z]+)+$")
]
# TOML knows lists only.
DomainList: TypeAlias = Annotated[tuple[Domain, ...], Strict(strict=False)]


class Confidence(Section):
    """How sure a resolution is, 0 to 1, by the rule that found the account."""

    contact_id: Share
    email: Share
    email_domain: Share
    anonymous_id: Share
    network_host: Share
    ip: Share


class KnownDomains(Section):
    """What a model adds to the lists of domains, and takes out of all of them (``company``)."""

    free_mail: DomainList
    provider: DomainList
    hosting: DomainList
    vpn: DomainList
    company: DomainList


class ResolutionModel(Section):
    """Whose event it is: the ways from cookie, email address and network to an account."""

    roll_up: Literal["none", "all"]
    horizon_days: Annotated[float, Field(gt=0, le=91)]
    confidence: Confidence
    domains: KnownDomains
