"""Commands on alerts: notifier, notify test, notify check, alerts, mute, unmute."""

import asyncio
import getpass
import re
import time
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeAlias

import typer

from stream.cli.operating import quiet_libraries
from stream.cli.options import Json, KafkaUrl
from stream.cli.output import print_json, say, terminal, text
from stream.cli.running import PortFile, run_fast

if TYPE_CHECKING:
    from rich.text import Text

    from stream.notify.listing import Listed
    from stream.notify.routes import Route
    from stream.outputs import Message
    from stream.settings import Settings

UNITS = {"m": 60.0, "h": 3_600.0, "d": 86_400.0, "w": 604_800.0}
STYLES = {"high": "bold red", "medium": "yellow", "low": "dim"}

RoutesFile: TypeAlias = Annotated[
    Path | None, typer.Option("--routes", metavar="FILE", help="Instead of SURGELINE_ROUTES.")
]


class Muted(StrEnum):
    """What can be muted."""

    ACCOUNT = "account"
    RULE = "rule"


def register(app: typer.Typer) -> None:
    """Add this module's commands to *app*."""
    app.command()(notifier)
    group = typer.Typer(help="Look at the routes of alerts, and try them.", no_args_is_help=True)
    group.command("test")(try_route)
    group.command("check")(check_routes)
    app.add_typer(group, name="notify")
    for command in (alerts, mute, unmute):
        app.command()(command)


def notifier(
    kafka_url: KafkaUrl = None, routes: RoutesFile = None, port_file: PortFile = None
) -> None:
    """Deliver alerts to the people and programs that want them, until it is told to stop."""
    from stream.logs import process_logs
    from stream.notify.routes_file import read_routes
    from stream.settings import load_settings

    settings = load_settings(kafka_url=kafka_url, routes=routes)
    with process_logs("notifier", settings.log_level, settings.log_format):
        found = read_routes(settings.routes)
        from stream.notify.process import run_notifier

        run_fast(run_notifier(settings, found, port_file=port_file))


def try_route(
    route: Annotated[str, typer.Argument(help="Name of a route.")],
    owner: Annotated[
        str, typer.Option(help="Email address of the account's owner.")
    ] = "owner@example.com",
    routes: RoutesFile = None,
) -> None:
    """Send a sample alert to a route, once, whatever its hours and limits."""
    from stream.notify.routes_file import read_routes
    from stream.notify.trying import send_sample
    from stream.settings import load_settings

    settings = load_settings(routes=routes)
    found = read_routes(settings.routes)
    asyncio.run(send_sample(found, route, settings, owner=owner))
    say(f"route {route} has taken a sample.")


def check_routes(routes: RoutesFile = None, as_json: Json = False) -> None:
    """Check the file of routes, and list what it says; secrets are not shown."""
    from stream.notify.routes_file import read_routes
    from stream.settings import load_settings

    found = read_routes(load_settings(routes=routes).routes)
    rows = [_row(each, default=each.name in found.default) for each in found.routes.values()]
    if as_json:
        print_json(rows)
        return
    for row in rows:
        terminal().print(text("  ".join(f"{name} {value}" for name, value in row.items() if value)))


def _row(route: "Route", *, default: bool) -> dict[str, object]:
    return {
        "route": route.name,
        "kind": "webhook" if route.webhook else "apprise",
        "default": default,
        "always": route.always,
        "owners": list(route.owners),
        "rules": list(route.rules),
        "severities": list(route.severities),
        "tiers": list(route.tiers),
    }


def alerts(
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on as they come.")] = False,
    account: Annotated[str | None, typer.Option(help="Only of this account.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=100_000, help="The newest so many.")] = 50,
    kafka_url: KafkaUrl = None,
    as_json: Json = False,
) -> None:
    """List alerts, the newest last."""
    from stream.settings import load_settings

    settings = load_settings(kafka_url=kafka_url)
    quiet_libraries()
    asyncio.run(_alerts(settings, account, limit, follow=follow, as_json=as_json))


async def _alerts(
    settings: "Settings", account: str | None, limit: int, *, follow: bool, as_json: bool
) -> None:
    import msgspec

    from stream.notify.listing import list_alerts

    console = terminal()
    async for each in list_alerts(settings, account=account, limit=limit, follow=follow):
        if as_json:
            print_json([msgspec.json.decode(each.raw)])
        else:
            console.print(_line(each), soft_wrap=True)


def _line(each: "Listed") -> "Text":
    alert = each.alert
    line = text(f"{alert.at}  ", "dim")
    line.append_text(text(f"{alert.severity:6}  ", STYLES.get(alert.severity, "")))
    line.append_text(text(alert.sentence, "bold"))
    line.append_text(text(f"  {alert.rule}, {alert.stage or 'no target'}", "dim"))
    if alert.owner:
        line.append_text(text(f", owner {alert.owner}", "dim"))
    return line


def mute(
    what: Annotated[Muted, typer.Argument(help="account or rule.")],
    name: Annotated[str, typer.Argument(help="Id of the account, or name of the rule.")],
    duration: Annotated[str, typer.Option("--for", metavar="4h", help="30m, 4h, 2d or 1w.")],
    by: Annotated[str | None, typer.Option(help="Who mutes; without it the user's name.")] = None,
    kafka_url: KafkaUrl = None,
) -> None:
    """Tell nobody of an account's, or a rule's, alerts for a while; they stay listed."""
    from stream.notify import mutes
    from stream.settings import load_settings

    now = time.time()
    message = mutes.mute(
        what.value, name, until=now + _seconds(duration), by=by or getpass.getuser(), now=now
    )
    asyncio.run(_produce(load_settings(kafka_url=kafka_url), message))
    say(f"{what.value} {name} is muted for {duration}.")


def unmute(
    what: Annotated[Muted, typer.Argument(help="account or rule.")],
    name: Annotated[str, typer.Argument(help="Id of the account, or name of the rule.")],
    kafka_url: KafkaUrl = None,
) -> None:
    """Tell of its alerts again."""
    from stream.notify import mutes
    from stream.settings import load_settings

    asyncio.run(_produce(load_settings(kafka_url=kafka_url), mutes.unmute(what.value, name)))
    say(f"{what.value} {name} is not muted.")


def _seconds(duration: str) -> float:
    found = re.fullmatch(r"([0-9]{1,4})([mhdw])", duration)
    if found is None or not int(found[1]):
        raise typer.BadParameter("must be like 30m, 4h, 2d or 1w.", param_hint="--for")
    return int(found[1]) * UNITS[found[2]]


async def _produce(settings: "Settings", message: "Message") -> None:
    from stream.kafka_admin import Reached, declare_topics
    from stream.outputs import produce
    from stream.replay import replay_producer

    quiet_libraries()
    await declare_topics(settings)
    async with Reached(settings), replay_producer(settings) as producer:
        await (await produce(producer, message, prefix=settings.topic_prefix))
