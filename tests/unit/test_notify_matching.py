"""To whom an alert goes."""

from typing import Any

import pytest

from stream.notify.matching import destinations
from stream.notify.routes import Routes, parse_routes
from tests.alerts import alert

KEY = "secret = '0123456789abcdef'\n"


def routes(text: str) -> Routes:
    parts = ["default = ['floor']"]
    for line in text.strip().splitlines():
        name, _, rest = line.strip().partition(":")
        parts.append(
            f"[routes.{name}]\nwebhook = 'https://{name}.example.com'\n{KEY}{rest.strip()}"
        )
    return parse_routes("\n".join(parts))


def told(table: Routes, **fields: Any) -> list[str]:
    return [each.route.name for each in destinations(alert(**fields), table)]


def test_the_owner_of_the_account_is_told_by_id_or_by_address() -> None:
    table = routes("ann: owners = ['rep-7']\nbob: owners = ['BOB@example.com']\nfloor:")

    assert told(table, owner_id="rep-7") == ["ann"]
    assert told(table, owner_id=None, owner_email="bob@example.com") == ["bob"]


@pytest.mark.parametrize("owner", ["rep-9", None])
def test_an_alert_whose_owner_has_no_route_goes_to_the_default(owner: str | None) -> None:
    table = routes("ann: owners = ['rep-7']\nfloor:")

    assert told(table, owner_id=owner, owner_email=None) == ["floor"]


def test_a_route_into_which_the_owner_is_filled_is_for_owners_without_one_of_their_own() -> None:
    text = "[routes.ann]\nurl='json://ann'\nowners=['rep-7']\n[routes.mail]\nurl='mailto://h?to={owner_email}'"
    table = parse_routes(text)

    own = destinations(alert(owner_id="rep-7"), table)
    filled = destinations(alert(owner_id="rep-8", owner_email="b@example.com"), table)

    assert [each.address for each in own] == ["json://ann"]
    assert [each.address for each in filled] == ["mailto://h?to=b@example.com"]


@pytest.mark.parametrize(
    ("wanted", "fields"),
    [
        ("severities = ['high']", {"severity": "low"}),
        ("tiers = [1, 2]", {"tier": 3}),
        ("tiers = [1]", {"tier": None}),
        ("rules = ['surge_started']", {"rule": "stage_changed"}),
    ],
)
def test_a_route_gets_only_what_it_lets_through(wanted: str, fields: dict[str, Any]) -> None:
    table = parse_routes(
        f"default = ['floor']\n[routes.ann]\nurl='json://ann'\nowners=['rep-7']\n{wanted}\n"
        "[routes.floor]\nurl='json://floor'\n"
    )

    assert told(table, **fields) == []
    assert told(table, severity="high", tier=1, rule="surge_started") == ["ann"]


def test_a_rule_may_name_routes_beside_the_owner_and_each_is_told_once() -> None:
    table = routes("ann: owners = ['rep-7']\ncrm:\nfloor:")

    assert told(table, notify=["owner", "crm", "ann"]) == ["ann", "crm"]
    assert told(table, notify=["gone"]) == ["floor"]


def test_a_route_that_always_gets_everything_does_not_keep_the_default_from_it() -> None:
    table = routes("crm: always = true\nfloor:")

    assert told(table, owner_id=None, owner_email=None) == ["crm", "floor"]
