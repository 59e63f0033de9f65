"""Matching: to whom an alert goes."""

from collections.abc import Iterable
from typing import NamedTuple

from stream.notify.alert import Alert
from stream.notify.routes import Route, Routes

OWNER = "owner"


class Destination(NamedTuple):
    """One place where an alert goes."""

    route: Route
    address: str

    @property
    def key(self) -> tuple[str, str]:
        """Return what tells endpoints apart."""
        return self.route.name, self.address


def destinations(alert: Alert, routes: Routes) -> list[Destination]:
    """Return where *alert* goes, each route once, in the order of the file.

    To the routes that its rule names, ``owner`` standing for those of the account's owner. Where
    there are none, to the default ones. What a route does not let through goes nowhere instead.
    """
    chosen: set[str] = set()
    for name in alert.notify:
        found = _of_owner(alert, routes) if name == OWNER else _named(name, routes)
        chosen |= found or set(routes.default)
    chosen |= {route.name for route in routes.routes.values() if route.always}
    return list(_addressed(alert, (r for r in routes.routes.values() if r.name in chosen)))


def _of_owner(alert: Alert, routes: Routes) -> set[str]:
    """Return the routes of the owner: those that list it, else those that it is filled into."""
    every = routes.routes.values()
    listing = {route.name for route in every if _lists(route, alert)}
    filled = (route for route in every if route.for_owner and not route.owners)
    return listing or {route.name for route in filled if route.address(alert) is not None}


def _named(name: str, routes: Routes) -> set[str]:
    return {name} & routes.routes.keys()


def _lists(route: Route, alert: Alert) -> bool:
    email = (alert.owner_email or "").casefold()
    return any(each == alert.owner_id or each.casefold() == email for each in route.owners if each)


def lets_through(route: Route, alert: Alert) -> bool:
    """Tell whether *route* wants alerts like this one; an empty list wants all."""
    return (
        (not route.rules or alert.rule in route.rules)
        and (not route.severities or alert.severity in route.severities)
        and (not route.tiers or alert.tier in route.tiers)
    )


def _addressed(alert: Alert, routes: Iterable[Route]) -> Iterable[Destination]:
    for route in routes:
        address = route.address(alert)
        if address is not None and lets_through(route, alert):
            yield Destination(route, address)
