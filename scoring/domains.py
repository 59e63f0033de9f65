"""Domains: the registrable part of a host, and which of them say nothing about an employer.

The Public Suffix List decides what is registrable, private suffixes included: who rents a
subdomain of a host of shops is somebody of their own. Lists of free mail, internet providers,
hosting and VPN networks are data, in ``scoring/data``, one domain a line, to be reviewed and
extended; a model adds its own and takes some out (``[resolution.domains]``).
"""

import importlib.resources
import ipaddress
import re
from collections.abc import Callable, Iterable
from enum import StrEnum
from functools import lru_cache
from typing import Final

from publicsuffixlist import PublicSuffixList

from scoring.resolution_rules import KnownDomains

HOSTS_REMEMBERED: Final = 65_536
LONGEST_HOST: Final = 253


class Label(StrEnum):
    """Why an event leads to no account."""

    FREE_MAIL = "free_mail"
    PROVIDER = "provider"
    HOSTING = "hosting"
    VPN = "vpn"
    UNKNOWN = "unknown"
    """There is a way to look for, and nobody at its end."""


NETWORKS: Final = (Label.VPN, Label.HOSTING, Label.PROVIDER)
"""Labels of networks, in the order in which they are looked up."""

_LEGAL_FORMS: Final = frozenset(
    {
        *("ab", "ag", "as", "asa", "bv", "co", "company", "corp", "corporation", "gmbh", "group"),
        *("holding", "holdings", "inc", "incorporated", "kg", "limited", "llc", "llp", "ltd"),
        *("lp", "nv", "oy", "oyj", "plc", "pty", "sa", "sarl", "sas", "se", "spa", "srl"),
    }
)
_PUNCTUATION: Final = re.compile(r"[^\w\s-]|_")
_GAPS: Final = re.compile(r"[\s-]+")


class Domains:
    """What is known of domains; *own* adds to the lists and takes from them."""

    def __init__(self, own: KnownDomains) -> None:
        suffixes = PublicSuffixList()
        company = frozenset(each.lower() for each in own.company)
        given: dict[Label, Iterable[str]] = {
            Label.FREE_MAIL: own.free_mail,
            Label.PROVIDER: own.provider,
            Label.HOSTING: own.hosting,
            Label.VPN: own.vpn,
        }
        self._lists = {
            label: frozenset({*_listed(label.value), *map(str.lower, extra)}) - company
            for label, extra in given.items()
        }

        @lru_cache(maxsize=HOSTS_REMEMBERED)
        def registrable(host: str) -> str | None:
            name = _host_name(host)
            found: str | None = None if name is None else suffixes.privatesuffix(name)
            return found

        @lru_cache(maxsize=HOSTS_REMEMBERED)
        def network(host: str) -> Label | None:
            ends = _ends(host)
            return next((each for each in NETWORKS if not self._lists[each].isdisjoint(ends)), None)

        self.registrable: Callable[[str], str | None] = registrable
        """Return the registrable domain of a host, None for addresses and public suffixes."""
        self.network: Callable[[str], Label | None] = network
        """Return which kind of network a host belongs to, None for one that may be a company."""

    def mail(self, domain: str) -> Label | None:
        """Return why an address at *domain* says nothing about an employer, None if it does.

        A provider's customers have their mail there, too.
        """
        ends = _ends(domain)
        if not self._lists[Label.FREE_MAIL].isdisjoint(ends):
            return Label.FREE_MAIL
        return self.network(domain)

    def company(self, text: str) -> str | None:
        """Return the registrable domain that *text*, a domain or a URL, gives a company.

        None when it is not one, or belongs to no company alone.
        """
        bare = text.strip().lower().partition("://")[2] or text.strip().lower()
        domain = self.registrable(re.split(r"[/?#:]", bare.rpartition("@")[2], maxsplit=1)[0])
        return None if domain is None or self.mail(domain) else domain


@lru_cache(maxsize=4)
def domains_of(own: KnownDomains) -> Domains:
    """Return the domains with those of a model: made once, as reading the lists takes a while."""
    return Domains(own)


def network_of_name(name: str) -> Label | None:
    """Return which kind of network is called *name*, None for one that may be a company.

    >>> network_of_name("COMCAST-7922"), network_of_name("Acme Corp.")
    (<Label.PROVIDER: 'provider'>, None)
    """
    padded = f"{plain_name(name)} "
    return next((label for label, start in _named() if padded.startswith(start)), None)


def plain_name(name: str) -> str:
    """Return the *name* of a company as it is compared: no case, marks or legal form.

    >>> plain_name("ACME, Inc."), plain_name("Crédit-Agricole S.A."), plain_name("Group")
    ('acme', 'crédit agricole', 'group')
    """
    words = _GAPS.split(_PUNCTUATION.sub("", name.casefold()).strip())
    while len(words) > 1 and words[-1] in _LEGAL_FORMS:
        del words[-1]
    return " ".join(words)


def _host_name(host: str) -> str | None:
    """Return *host* in the form that lists have it, None when it is no name."""
    name = host.strip().strip(".").lower()
    if not name or len(name) > LONGEST_HOST or "." not in name or ".." in name:
        return None
    try:
        ipaddress.ip_address(name)
    except ValueError:
        pass
    else:
        return None
    if name.isascii():
        return name
    try:
        return name.encode("idna").decode()
    except UnicodeError:
        return None


def _ends(host: str) -> list[str]:
    """Return *host* and all domains that it is part of."""
    labels = host.strip(".").lower().split(".")
    return [".".join(labels[at:]) for at in range(len(labels))]


def _lines(name: str) -> Iterable[str]:
    text = (importlib.resources.files("scoring") / "data" / name).read_text(encoding="utf-8")
    lines = (line.partition("#")[0].strip() for line in text.splitlines())
    return [line for line in lines if line]


def _listed(name: str) -> frozenset[str]:
    return frozenset(_lines(f"{name}.txt"))


@lru_cache(maxsize=1)
def _named() -> tuple[tuple[Label, str], ...]:
    pairs = (line.split(" ", 1) for line in _lines("network_names.txt"))
    return tuple((Label(label), f"{start} ") for label, start in pairs)
