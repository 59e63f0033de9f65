"""Databases of networks in MaxMind's format, as several makers write them."""

from pathlib import Path
from typing import Any

import mmdb_writer
import netaddr
import pytest

from scoring.domains import Label
from scoring.resolution import LookUpAddress, Network
from stream.errors import InvalidSetting
from stream.networks import open_networks

RECORDS: dict[str, dict[str, Any]] = {
    "192.0.2.0/25": {"autonomous_system_number": 64500, "autonomous_system_organization": "ACME-AS"},
    "192.0.2.128/25": {"asn": {"domain": "acme.com", "name": "Acme, Inc.", "type": "business"}},
    "198.51.100.0/25": {"company": {"domain": "isp.example", "name": "Isp", "type": "isp"}},
    "198.51.100.128/25": {"as_name": "Host", "as_domain": "host.example", "hosting": "true"},
    "203.0.113.0/25": {"is_anonymous": True, "is_anonymous_vpn": True},
    "203.0.113.128/25": {"domain": "acme.com"},
    "2001:db8::/33": {"traits": {"organization": "Acme", "user_type": "business"}},
}  # fmt: skip


@pytest.fixture(scope="module")
def look_up(tmp_path_factory: pytest.TempPathFactory) -> LookUpAddress:
    path = tmp_path_factory.mktemp("networks") / "test.mmdb"
    writer = mmdb_writer.MMDBWriter(6, ipv4_compatible=True, database_type="test")
    for network, record in RECORDS.items():
        writer.insert_network(netaddr.IPSet([network]), record)
    writer.to_db_file(str(path))
    found = open_networks(path)
    assert found is not None
    return found


@pytest.mark.parametrize(
    ("address", "network"),
    [
        ("192.0.2.1", Network(name="ACME-AS")),
        ("192.0.2.200", Network("acme.com", "Acme, Inc.")),
        ("198.51.100.1", Network("isp.example", "Isp", Label.PROVIDER)),
        ("198.51.100.200", Network("host.example", "Host", Label.HOSTING)),
        ("203.0.113.1", Network(label=Label.VPN)),
        ("203.0.113.200", Network("acme.com")),
        ("2001:db8::1", Network(name="Acme")),
        ("10.0.0.1", None),
        ("no address", None),
        ("", None),
    ],
)
def test_fields_of_several_makers_are_found(
    look_up: LookUpAddress, address: str, network: Network | None
) -> None:
    assert look_up(address) == network


def test_without_a_database_addresses_say_nothing() -> None:
    assert open_networks(None) is None


def test_file_that_is_no_database_is_refused(tmp_path: Path) -> None:
    (tmp_path / "wrong.mmdb").write_bytes(b"no database")

    with pytest.raises(InvalidSetting, match="SURGELINE_NETWORKS"):
        open_networks(tmp_path / "wrong.mmdb")
