"""The operator's database of networks: whose an IP address is, in MaxMind's format (MMDB).

Any of them will do: ASN (the organisation's name), ISP and company databases (name, often a
domain, kind of network), domains, anonymous networks. Fields are found by their names, flat or
in a table of their own, as MaxMind, IPinfo and others write them.
"""

from collections.abc import Mapping
from functools import lru_cache
from ipaddress import ip_address
from pathlib import Path
from typing import Any, Final

import maxminddb

from scoring.domains import Label
from scoring.resolution import LookUpAddress, Network
from stream.errors import InvalidSetting, said

ADDRESSES_REMEMBERED: Final = 65_536
_DOMAINS: Final = ("domain", "company_domain", "as_domain")
_NAMES: Final = (
    "organization",
    "company_name",
    "name",
    "as_name",
    "autonomous_system_organization",
    "isp",
)
_PARTS: Final = ("company", "traits", "asn", "as")
_KINDS: Final = ("type", "company_type", "user_type", "as_type")
_FLAGS: Final = {
    "is_anonymous_vpn": Label.VPN,
    "is_tor_exit_node": Label.VPN,
    "is_public_proxy": Label.VPN,
    "is_residential_proxy": Label.VPN,
    "is_anonymous": Label.VPN,
    "vpn": Label.VPN,
    "is_hosting_provider": Label.HOSTING,
    "hosting": Label.HOSTING,
}
_LABELS: Final = {
    "isp": Label.PROVIDER,
    "residential": Label.PROVIDER,
    "cellular": Label.PROVIDER,
    "dialup": Label.PROVIDER,
    "hosting": Label.HOSTING,
    "content_delivery_network": Label.HOSTING,
    "vpn": Label.VPN,
}


def open_networks(path: Path | None) -> LookUpAddress | None:
    """Return what looks addresses up in the database at *path*, None without one.

    Raises InvalidSetting for a file that is no such database.
    """
    if path is None:
        return None
    try:
        database = maxminddb.open_database(path)
    except (maxminddb.InvalidDatabaseError, OSError, ValueError) as error:
        raise InvalidSetting(
            f"SURGELINE_NETWORKS={path}: must be a database in MaxMind's format ({said(error)})."
        ) from None

    @lru_cache(maxsize=ADDRESSES_REMEMBERED)
    def look_up(address: str) -> Network | None:
        try:
            found = database.get(str(ip_address(address)))
        except ValueError:  # no address, or a longer kind than the database holds
            return None
        return network_of(found) if isinstance(found, dict) else None

    return look_up


def network_of(found: Mapping[str, Any]) -> Network:
    """Return what the record *found* in a database says.

    >>> network_of({"autonomous_system_organization": "ACME-AS"}).name
    'ACME-AS'
    """
    parts = [part for name in _PARTS if isinstance(part := found.get(name), dict)]
    tables = [*parts, found]
    label = _label(tables)
    return Network(_text(tables, _DOMAINS), _text(tables, _NAMES), label)


def _label(tables: list[Any]) -> Label | None:
    for table in tables:
        for flag, label in _FLAGS.items():
            if table.get(flag) in (True, "true", 1):
                return label
    for table in tables:
        for name in _KINDS:
            if (label_ := _LABELS.get(str(table.get(name, "")).lower())) is not None:
                return label_
    return None


def _text(tables: list[Any], names: tuple[str, ...]) -> str | None:
    for table in tables:
        for name in names:
            value = table.get(name)
            if isinstance(value, str) and value:
                return value
    return None
