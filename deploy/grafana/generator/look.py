"""How all dashboards look: colours, thresholds, units, variables, links."""

from collections.abc import Sequence
from typing import Final

from grafana_foundation_sdk.builders import dashboard as build
from grafana_foundation_sdk.models import dashboard as model

from scoring.funnel import STAGES

Steps = Sequence[tuple[float, str]]
"""Thresholds: from this value on in this colour; the first is the colour of everything below."""

SOURCE: Final = model.DataSourceRef("prometheus", "${datasource}")
GOOD: Final = "green"
DOUBTFUL: Final = "yellow"
BAD: Final = "red"
NEUTRAL: Final = "blue"
BELOW: Final = float("-inf")

STAGE_COLOURS: Final = dict(
    zip(
        STAGES,
        # Light to deep along the funnel, told apart without red and green (after Okabe and Ito).
        ("#8e9aaf", "#56b4e9", "#0072b2", "#009e73", "#e69f00", "#cc79a7"),
        strict=True,
    )
)
"""One colour for each stage, on every dashboard."""

BUSINESS: Final = "business"
PIPELINE: Final = "pipeline"
"""Audiences of alerts, as the rules of Prometheus name them."""

TAG: Final = "surgeline"
BOARD_VARIABLE: Final = "board_url"
BOARD_DEFAULT: Final = "http://127.0.0.1:8321"


def more_is_worse(doubtful: float, bad: float) -> Steps:
    """Return thresholds for what should be small."""
    return ((BELOW, GOOD), (doubtful, DOUBTFUL), (bad, BAD))


def more_is_better(doubtful: float, good: float) -> Steps:
    """Return thresholds for what should be large."""
    return ((BELOW, BAD), (doubtful, DOUBTFUL), (good, GOOD))


PLAIN: Final[Steps] = ((BELOW, NEUTRAL),)


def thresholds(steps: Steps) -> build.ThresholdsConfig:
    """Return *steps* as Grafana takes them."""
    found = [
        model.Threshold(value=None if at == BELOW else at, color=colour) for at, colour in steps
    ]
    return build.ThresholdsConfig().mode(model.ThresholdsMode.ABSOLUTE).steps(found)


def fixed_colour(colour: str) -> list[model.DynamicConfigValue]:
    """Return the override that gives a series one *colour*."""
    return [model.DynamicConfigValue("color", {"mode": "fixed", "fixedColor": colour})]


def to_board(title: str, path: str = "/") -> build.DashboardLink:
    """Return a link to a page of the board."""
    url = f"${{{BOARD_VARIABLE}}}{path}"
    link = build.DashboardLink(title).type(model.DashboardLinkType.LINK)
    return link.url(url).target_blank(target_blank=True)


def source_variable() -> build.DatasourceVariable:
    """Return the variable that chooses the Prometheus."""
    return (
        build.DatasourceVariable("datasource")
        .label("Prometheus")
        .description("Which Prometheus is asked.")
        .type("prometheus")
    )


def tier_variable(metric: str, *, every: bool) -> build.QueryVariable:
    """Return the variable that chooses tiers by the label of *metric*.

    With *every*, tiers add up, and any number of them may be chosen; otherwise one of the figures
    that are computed for each, ``all`` among them.
    """
    variable = _query_variable("tier", "Tier", f"label_values({metric}, tier)")
    variable.description("Tier of the accounts; none: accounts without one.")
    if every:
        chosen = model.VariableOption(selected=True, text=["All"], value=["$__all"])
        return (
            variable.multi(multi=True).include_all(include_all=True).all_value(".*").current(chosen)
        )
    return variable.current(model.VariableOption(selected=True, text="all", value="all"))


def currency_variable() -> build.QueryVariable:
    """Return the variable that chooses the currency; amounts are never added up across them."""
    metrics = '{__name__=~"surgeline_kpi_(pipeline|revenue_won|cac)"}'
    variable = _query_variable("currency", "Currency", f"label_values({metrics}, currency)")
    return variable.description("Amounts are never added up across currencies.")


def _query_variable(name: str, label: str, query: str) -> build.QueryVariable:
    return (
        build.QueryVariable(name)
        .label(label)
        .datasource(SOURCE)
        .query(query)
        .refresh(model.VariableRefresh.ON_TIME_RANGE_CHANGED)
        .sort(model.VariableSort.ALPHABETICAL_ASC)
    )


def board_variable() -> build.TextBoxVariable:
    """Return the variable that says where people open the board."""
    return (
        build.TextBoxVariable(BOARD_VARIABLE)
        .label("Board")
        .description("Address under which you open Surgeline's board, for the links.")
        .default_value(BOARD_DEFAULT)
        .current(model.VariableOption(selected=True, text=BOARD_DEFAULT, value=BOARD_DEFAULT))
    )


def dashboard(uid: str, title: str, text: str, *, alerts: str) -> build.Dashboard:
    """Return an empty dashboard with what all have: source, links to the others and to the board.

    Where alerts for the audience *alerts* fire, it is marked on all lines over time.
    """
    firing = f'ALERTS{{alertstate="firing", audience="{alerts}"}}'
    marks = build.AnnotationQuery().name("Alerts").datasource(SOURCE).expr(firing)
    marks.enable(enable=True).hide(hide=False).icon_color(BAD)
    others = build.DashboardLink("Dashboards").type(model.DashboardLinkType.DASHBOARDS)
    others.tags([TAG]).as_dropdown(as_dropdown=False).keep_time(keep_time=True)
    others.include_vars(include_vars=False)
    return (
        build.Dashboard(f"Surgeline: {title}")
        .uid(f"surgeline-{uid}")
        .description(text)
        .tags([TAG])
        .timezone("browser")
        .refresh("30s")
        .tooltip(model.DashboardCursorSync.CROSSHAIR)
        .link(others)
        .link(to_board("Board"))
        .annotation(marks)
        .with_variable(source_variable())
    )
