"""Noise: events that nobody of the account is behind, and why.

A labelled event is deduplicated and counted like any other, and adds nothing: no points, no
exchange, no count of a topic, no alert. Most rules look at one event alone. The gateway's looks
at what the account's state keeps of its emails, which all come in the order of one topic, so
the same events get the same labels however they were batched.
"""

import ipaddress
from collections.abc import Callable, Iterable
from enum import StrEnum
from functools import lru_cache
from typing import Final, TypeAlias

from scoring.account import AccountState
from scoring.crawlers import AGENTS_REMEMBERED, known_crawler
from scoring.events import ENGAGEMENT_TYPES, Event
from scoring.gateway import EmailGateway
from scoring.noise_model import NoiseModel
from scoring.pages import Page

ADDRESSES_REMEMBERED: Final = 16_384


class Noise(StrEnum):
    """Why an event is noise. The list is closed: it is a metric label."""

    # Counted once an event: hashing a member of an enumeration is slow, its text is not.
    __hash__ = str.__hash__

    CRAWLER = "crawler"
    HEALTH_CHECK = "health_check"
    STAFF = "staff"
    GATEWAY = "gateway"


LabelOf: TypeAlias = Callable[[Event, float, AccountState], Noise | None]
"""Takes an event, its time in Unix seconds and the state, which it may change."""


def labels_by_type(
    model: NoiseModel, read_page: Callable[[str], Page]
) -> dict[str, LabelOf | None]:
    """Return what labels the events of each engagement type, None where no rule can.

    Rules are asked in the order staff, health check, crawler, gateway.
    """
    return {type_: _label_of(type_, model, read_page) for type_ in ENGAGEMENT_TYPES}


def _label_of(type_: str, model: NoiseModel, read_page: Callable[[str], Page]) -> LabelOf | None:
    rules: list[LabelOf] = []
    staff = model.staff
    if staff.enabled and (staff.domains or staff.addresses or staff.networks):
        rules.append(_staff(model, visits=type_ == "page_visit"))
    if type_ in ("page_visit", "email") and (model.crawler.enabled or model.health_check.enabled):
        rules.append(_by_user_agent(model, read_page if type_ == "page_visit" else None))
    gateway = model.gateway
    if type_ == "page_visit" and gateway.enabled and (gateway.hosts or gateway.networks):
        rules.append(_gateway_visit(model))
    if type_ == "email" and gateway.enabled:
        rules.append(_gateway_emails(EmailGateway(gateway)))
    return _first_of(rules) if rules else None


def _first_of(rules: list[LabelOf]) -> LabelOf:
    if len(rules) == 1:  # as most models have it
        return rules[0]

    def label(event: Event, time: float, state: AccountState) -> Noise | None:
        for rule in rules:
            found = rule(event, time, state)
            if found is not None:
                return found
        return None

    return label


def _gateway_emails(emails: EmailGateway) -> LabelOf:
    def rule(event: Event, time: float, state: AccountState) -> Noise | None:
        return Noise.GATEWAY if emails.is_behind(event, time, state) else None

    return rule


def _by_user_agent(model: NoiseModel, read_page: Callable[[str], Page] | None) -> LabelOf:
    """Return the rules that ask what fetched a page or opened an email; None asks no path."""
    health, agent_label = model.health_check, _agent_label(model)
    paths = frozenset(health.paths) if health.enabled else frozenset()

    def rule(event: Event, _time: float, _state: AccountState) -> Noise | None:
        user_agent = event.get("user_agent")
        if user_agent is None:
            return None
        if read_page is not None and read_page(event["url"]).path in paths:
            return Noise.HEALTH_CHECK
        return agent_label(user_agent)

    return rule


def _agent_label(model: NoiseModel) -> Callable[[str], Noise | None]:
    crawler, health = model.crawler, model.health_check
    probes = _lowered(health.user_agents) if health.enabled else ()
    robots, never = _lowered(crawler.user_agents), _lowered(crawler.never)

    @lru_cache(maxsize=AGENTS_REMEMBERED)
    def label(user_agent: str) -> Noise | None:
        lowered = user_agent.lower()
        if any(word in lowered for word in probes):
            return Noise.HEALTH_CHECK
        if not crawler.enabled or any(word in lowered for word in never):
            return None
        robot = any(word in lowered for word in robots) or known_crawler(user_agent)
        return Noise.CRAWLER if robot else None

    return label


def _lowered(words: Iterable[str]) -> tuple[str, ...]:
    return tuple(word.lower() for word in words)


def _staff(model: NoiseModel, *, visits: bool) -> LabelOf:
    """Return the rule for our own people: by address everywhere, by network where *visits*."""
    domains, addresses = model.staff.domains, frozenset(model.staff.addresses)
    is_ours = _in_networks(model.staff.networks)

    def rule(event: Event, _time: float, _state: AccountState) -> Noise | None:
        email = event.get("email")
        if email is not None:
            address = email.lower()
            if address in addresses or _below(address.rpartition("@")[2], domains):
                return Noise.STAFF
        if visits:
            ip, host = event.get("ip"), event.get("network_host")
            if (ip is not None and is_ours(ip)) or (host is not None and _below(host, domains)):
                return Noise.STAFF
        return None

    return rule


def _gateway_visit(model: NoiseModel) -> LabelOf:
    hosts, is_gateway = model.gateway.hosts, _in_networks(model.gateway.networks)

    def rule(event: Event, _time: float, _state: AccountState) -> Noise | None:
        ip, host = event.get("ip"), event.get("network_host")
        known = (ip is not None and is_gateway(ip)) or (host is not None and _below(host, hosts))
        return Noise.GATEWAY if known else None

    return rule


def _below(host: str, domains: Iterable[str]) -> bool:
    """Tell whether *host* is one of *domains*, or of theirs.

    >>> _below("Mail.Example.COM.", ["example.com"]), _below("notexample.com", ["example.com"])
    (True, False)
    """
    name = host.lower().rstrip(".")
    return any(name == each or name.endswith(f".{each}") for each in domains)


def _in_networks(networks: Iterable[str]) -> Callable[[str], bool]:
    known = [ipaddress.ip_network(each) for each in networks]

    @lru_cache(maxsize=ADDRESSES_REMEMBERED)
    def is_in(address: str) -> bool:
        try:
            found = ipaddress.ip_address(address)
        except ValueError:  # the contract takes any text
            return False
        if isinstance(found, ipaddress.IPv6Address) and found.ipv4_mapped is not None:
            found = found.ipv4_mapped
        return any(found in network for network in known)

    return is_in
