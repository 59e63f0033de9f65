"""Whose event it is: the order of the rules, ties between accounts, labels, roll-up."""

from typing import Any

import pytest

from scoring.directory import Kind, listed, told_by
from scoring.domains import Domains, Label, domains_of
from scoring.model import default_model, parse_model
from scoring.resolution import Found, Network, NotFound, Resolution, clues_of, resolve
from tests.builders import decoded
from tests.directory import DOMAINS, Json, account, contact, gone, identify, known

MODEL = default_model().resolution
LATER = "2026-02-01T00:00:00Z"
CRM = [
    account("acme", "acme.com", name="Acme, Inc."),
    account("globex", "https://www.globex.co.uk/about"),
    contact("ann", "acme", email="Ann@Acme.com"),
    contact("bob", "globex"),
    identify("cookie-ann", contact_id="ann"),
    identify("cookie-new", email="somebody@globex.co.uk"),
    identify("cookie-home", email="somebody@gmail.com"),
]


def found(events: list[Json], look_up: Any = None, model: Any = MODEL, **clues: str) -> Resolution:
    visit = {
        "id": "1",
        "source": "web",
        "type": "page_visit",
        "time": LATER,
        "url": "https://x.example/",
    }
    event, _ = decoded(visit | clues)
    domains: Domains = domains_of(model.domains)
    return resolve(clues_of(event, domains, look_up), known(events), model)


def who(result: Resolution) -> tuple[str, str, str | None]:
    assert isinstance(result, Found), result
    return result.account_id, result.by, result.contact_id


@pytest.mark.parametrize(
    ("clues", "expected"),
    [
        ({"account_id": "globex", "contact_id": "ann"}, ("globex", "account_id", "ann")),
        ({"contact_id": "ann", "email": "x@globex.co.uk"}, ("acme", "contact_id", "ann")),
        ({"contact_id": "nobody", "email": "ann@acme.com"}, ("acme", "email", "nobody")),
        ({"email": "ANN@acme.com"}, ("acme", "email", "ann")),
        ({"email": "eve@sales.globex.co.uk"}, ("globex", "email_domain", None)),
        ({"email": "eve@acme.com", "anonymous_id": "cookie-new"}, ("acme", "email_domain", None)),
        ({"email": "eve@gmail.com", "anonymous_id": "cookie-ann"}, ("acme", "anonymous_id", "ann")),
        ({"anonymous_id": "cookie-new"}, ("globex", "anonymous_id", None)),
        ({"anonymous_id": "x", "network_host": "gw.acme.com"}, ("acme", "network_host", None)),
        ({"anonymous_id": "cookie-home", "network_host": "a.acme.com"}, ("acme", "network_host", None)),
    ],
)  # fmt: skip
def test_first_rule_that_leads_somewhere_decides(
    clues: Json, expected: tuple[str, str, str | None]
) -> None:
    assert who(found(CRM, **clues)) == expected


def test_every_rule_has_the_confidence_of_the_model() -> None:
    def sure(**clues: str) -> float:
        result = found(CRM, **clues)
        assert isinstance(result, Found)
        return result.confidence

    assert sure(account_id="acme") == 1.0
    assert sure(contact_id="ann") == MODEL.confidence.contact_id
    assert sure(email="ann@acme.com") == MODEL.confidence.email
    assert sure(email="eve@acme.com") == MODEL.confidence.email_domain
    assert sure(network_host="gw.acme.com") == MODEL.confidence.network_host
    assert sure(anonymous_id="cookie-ann") == MODEL.confidence.anonymous_id


def test_visitor_is_no_surer_than_what_identified_them() -> None:
    result = found(CRM, anonymous_id="cookie-new")

    assert isinstance(result, Found)
    assert result.confidence == MODEL.confidence.email_domain


@pytest.mark.parametrize(
    ("clues", "why"),
    [
        ({}, Label.UNKNOWN),
        ({"email": "eve@nowhere.example"}, Label.UNKNOWN),
        ({"email": "eve@gmail.com"}, Label.FREE_MAIL),
        ({"email": "eve@mail.yahoo.co.uk"}, Label.FREE_MAIL),
        ({"network_host": "ad01-012.compuserve.com"}, Label.PROVIDER),
        ({"network_host": "ec2-1-2.compute-1.amazonaws.com"}, Label.HOSTING),
        ({"network_host": "us12.nordvpn.com"}, Label.VPN),
        ({"network_host": "gw.unknown.example"}, Label.UNKNOWN),
    ],
)
def test_event_of_nobody_is_labelled_with_the_reason(clues: Json, why: Label) -> None:
    assert found(CRM, **clues) == NotFound(why)


def test_provider_leads_to_no_account_though_one_has_its_domain() -> None:
    crm = [account("carrier", "comcast.net", "gmail.com", "amazonaws.com")]

    assert found(crm, network_host="c-1.hsd1.comcast.net") == NotFound(Label.PROVIDER)
    assert found(crm, email="eve@gmail.com") == NotFound(Label.FREE_MAIL)


def test_model_takes_domains_out_of_the_lists_and_adds_its_own() -> None:
    text = '[resolution.domains]\ncompany = ["aol.com"]\nprovider = ["acme.com"]'
    model = parse_model(text).resolution
    crm = [account("aol", "aol.com"), account("acme", "acme.com")]

    def by_host(host: str) -> Resolution:
        event, _ = decoded(
            {"id": "1", "source": "w", "type": "page_visit", "time": LATER, "url": "/"}
            | {"network_host": host}
        )
        domains = domains_of(model.domains)
        told = [told_by(*decoded(each), domains) for each in crm]
        entries = {each.key: each.entry for each in told if each}
        lines = [line for key, entry in entries.items() for line in listed(key, entry)]

        def look(key: Any) -> Any:
            if key[0] is Kind.ACCOUNT:
                return entries.get(key)
            return [line.member for line in lines if line.key == key]

        return resolve(clues_of(event, domains), look, model)

    assert who(by_host("gw.aol.com")) == ("aol", "network_host", None)
    assert by_host("gw.acme.com") == NotFound(Label.PROVIDER)


def test_private_suffix_separates_the_customers_of_a_host() -> None:
    crm = [account("blog", "acme.blogspot.com")]

    assert who(found(crm, network_host="www.acme.blogspot.com")) == ("blog", "network_host", None)
    assert found(crm, network_host="www.other.blogspot.com") == NotFound(Label.UNKNOWN)


def test_shared_domain_goes_to_the_account_with_most_contacts() -> None:
    crm = [
        account("parent", "acme.com"),
        account("child", "acme.com", parent_account_id="parent"),
        contact("ann", "child"),
    ]

    assert who(found(crm, email="x@acme.com"))[0] == "child"


def test_shared_domain_with_as_many_contacts_goes_to_the_parent() -> None:
    crm = [
        account("a-child", "acme.com", parent_account_id="b-middle"),
        account("b-middle", parent_account_id="z-parent"),
        account("z-parent", "acme.com"),
    ]

    assert who(found(crm, email="x@acme.com"))[0] == "z-parent"


def test_shared_domain_of_equals_goes_to_the_lowest_id() -> None:
    crm = [account("b", "acme.com"), account("a", "acme.com")]

    assert who(found(crm, email="x@acme.com"))[0] == "a"


def test_removed_records_lead_nowhere() -> None:
    crm = [*CRM, gone(CRM[0], LATER), gone(CRM[2], LATER)]

    assert found(crm, contact_id="ann", email="ann@acme.com") == NotFound(Label.UNKNOWN)


def test_contact_that_moved_is_not_lost_by_the_removal_at_the_old_account() -> None:
    moved = contact("ann", "globex", at="2026-01-10T00:00:00Z")
    left = gone(contact("ann", "acme"), at="2026-01-11T00:00:00Z")
    both = [[contact("ann", "acme"), moved, left], [contact("ann", "acme"), left, moved]]

    assert {who(found(each, contact_id="ann"))[0] for each in both} == {"globex"}


def rolled(events: list[Json], **clues: str) -> Resolution:
    return found(events, model=parse_model('[resolution]\nroll_up = "all"').resolution, **clues)


FAMILY = [
    account("group"),
    account("europe", parent_account_id="group"),
    account("berlin", "acme.de", parent_account_id="europe"),
]


def test_subsidiary_stays_itself_by_default() -> None:
    result = found(FAMILY, email="x@acme.de")

    assert isinstance(result, Found)
    assert (result.account_id, result.rolled_up_from) == ("berlin", None)


def test_subsidiary_rolls_up_over_all_levels() -> None:
    result = rolled(FAMILY, email="x@acme.de")

    assert isinstance(result, Found)
    assert (result.account_id, result.rolled_up_from) == ("group", "berlin")


def test_roll_up_ends_below_a_removed_or_unknown_parent() -> None:
    assert who(rolled([*FAMILY, gone(FAMILY[0], LATER)], email="x@acme.de"))[0] == "europe"
    assert who(rolled(FAMILY[2:], email="x@acme.de"))[0] == "berlin"


def test_circle_of_parents_rolls_nothing_up() -> None:
    circle = [account("a", "a.com", parent_account_id="b"), account("b", parent_account_id="a")]

    assert who(rolled(circle, email="x@a.com"))[0] == "a"


@pytest.mark.parametrize(
    ("network", "expected"),
    [
        (Network(domain="acme.com"), "acme"),
        (Network(name="ACME INC"), "acme"),
        (Network(domain="nowhere.example", name="Acme Inc."), "acme"),
        (Network(domain="acme.com", label=Label.VPN), Label.VPN),
        (Network(name="COMCAST-7922"), Label.PROVIDER),
        (Network(domain="hetzner.com"), Label.HOSTING),
        (Network(), Label.UNKNOWN),
        (None, Label.UNKNOWN),
    ],
)
def test_database_of_networks_is_asked_last(network: Network | None, expected: str) -> None:
    result = found(CRM, lambda _: network, ip="192.0.2.1")

    if isinstance(expected, Label):
        assert result == NotFound(expected)
    else:
        assert who(result) == (expected, "ip", None)


@pytest.mark.parametrize(
    ("text", "domain"),
    [
        ("acme.com", "acme.com"),
        ("https://www.acme.co.uk:8443/x?y#z", "acme.co.uk"),
        ("info@mail.acme.com", "acme.com"),
        ("bücher.example", "xn--bcher-kva.example"),
        ("gmail.com", None),
        ("co.uk", None),
        ("192.0.2.1", None),
        ("localhost", None),
        ("..", None),
        ("", None),
    ],
)
def test_company_domain_is_the_registrable_part(text: str, domain: str | None) -> None:
    assert DOMAINS.company(text) == domain
