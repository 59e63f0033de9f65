"""The kinds of panels: a figure, lines over time, bars side by side."""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, TypeVar

from grafana_foundation_sdk.builders import bargauge, common, prometheus, stat, timeseries
from grafana_foundation_sdk.builders import dashboard as build
from grafana_foundation_sdk.models import common as common_model
from grafana_foundation_sdk.models import dashboard as model

from deploy.grafana.generator.look import (
    PLAIN,
    SOURCE,
    STAGE_COLOURS,
    Steps,
    fixed_colour,
    thresholds,
)

STAT_HEIGHT: Final = 5
GRAPH_HEIGHT: Final = 8
WIDTH: Final = 24
NO_DATA: Final = "no data yet"

Panel = stat.Panel | timeseries.Panel | bargauge.Panel
_Any = TypeVar("_Any", stat.Panel, timeseries.Panel, bargauge.Panel)


@dataclass(frozen=True)
class About:
    """What every panel says of itself. *text* ends with what to do when it looks bad."""

    title: str
    text: str
    unit: str = "short"
    steps: Steps = PLAIN
    no_value: str = NO_DATA
    decimals: int | None = None
    greatest: float | None = None
    """Upper end of the scale, such as 1 for shares."""
    links: tuple[build.DashboardLink, ...] = ()
    data_links: tuple[build.DashboardLink, ...] = ()
    """From a series; they may name its labels."""


def figure(about: About, expression: str) -> stat.Panel:
    """Return one large figure, with its course behind it."""
    panel = (
        stat.Panel()
        .height(STAT_HEIGHT)
        .span(4)
        .graph_mode(common_model.BigValueGraphMode.AREA)
        .color_mode(common_model.BigValueColorMode.VALUE)
        .reduce_options(common.ReduceDataOptions().calcs(["lastNotNull"]).values(values=False))
        .with_target(_query(expression, "", 0))
    )
    return _described(panel, about)


def lines(
    about: About, *queries: tuple[str, str], stacked: bool = False, span: int = 12
) -> timeseries.Panel:
    """Return lines over time, one or more for each (expression, legend)."""
    legend = (
        common.VizLegendOptions()
        .display_mode(common_model.LegendDisplayMode.TABLE)
        .placement(common_model.LegendPlacement.BOTTOM)
        .show_legend(show_legend=True)
        .calcs(["lastNotNull", "max"])
    )
    tooltip = common.VizTooltipOptions().mode(common_model.TooltipDisplayMode.MULTI)
    panel = (
        timeseries.Panel()
        .height(GRAPH_HEIGHT)
        .span(span)
        .legend(legend)
        .tooltip(tooltip.sort(common_model.SortOrder.DESCENDING))
        .line_width(2)
        .fill_opacity(60 if stacked else 8)
        .show_points(common_model.VisibilityMode.NEVER)
        .axis_soft_min(0)
        .color_scheme(build.FieldColor().mode(model.FieldColorModeId.PALETTE_CLASSIC_BY_NAME))
    )
    if stacked:
        panel.stacking(common.StackingConfig().mode(common_model.StackingMode.NORMAL))
    if len(about.steps) > 1:
        dashed = common_model.GraphThresholdsStyleMode.DASHED
        panel.thresholds_style(common.GraphThresholdsStyleConfig().mode(dashed))
    for number, (expression, name) in enumerate(queries):
        panel.with_target(_query(expression, name, number))
    return _described(panel, about)


def bars(about: About, expression: str, legend: str, *, span: int = 8) -> bargauge.Panel:
    """Return the newest values side by side, one bar a series."""
    panel = (
        bargauge.Panel()
        .height(GRAPH_HEIGHT)
        .span(span)
        .orientation(common_model.VizOrientation.HORIZONTAL)
        .display_mode(common_model.BarGaugeDisplayMode.BASIC)
        .show_unfilled(show_unfilled=True)
        .reduce_options(common.ReduceDataOptions().calcs(["lastNotNull"]).values(values=False))
        .with_target(_query(expression, legend, 0).instant())
        .min(0)
    )
    return _described(panel, about)


def by_stage(panel: _Any) -> _Any:
    """Give each stage its colour in *panel*, whose series are named by stages."""
    for stage, colour in STAGE_COLOURS.items():
        panel.override_by_name(stage, fixed_colour(colour))
    return panel


def filled(board: build.Dashboard, rows: Sequence[tuple[str, Sequence[Panel]]]) -> build.Dashboard:
    """Put *rows*, (title, panels), onto *board*; figures of a row share its width."""
    number = itertools.count(1)
    for title, panels in rows:
        board.with_row(build.Row(title).id(next(number)))
        figures = [each for each in panels if isinstance(each, stat.Panel)]
        for each, span in zip(figures, _shares(len(figures)), strict=True):
            each.span(span)
        for panel in panels:
            board.with_panel(panel.id(next(number)))
    return board


def _shares(count: int) -> list[int]:
    """Return the widths of *count* figures: full rows of at most six."""
    widths: list[int] = []
    while count > 0:
        in_row = min(count, 6)
        each, more = divmod(WIDTH, in_row)
        widths += [each + 1] * more + [each] * (in_row - more)
        count -= in_row
    return widths


def _query(expression: str, legend: str, number: int) -> prometheus.Dataquery:
    query = prometheus.Dataquery().expr(expression).ref_id(chr(ord("A") + number))
    return query.legend_format(legend or "__auto")


def _described(panel: _Any, about: About) -> _Any:
    panel.title(about.title).description(about.text).datasource(SOURCE).unit(about.unit)
    panel.thresholds(thresholds(about.steps)).no_value(about.no_value)
    if not isinstance(panel, timeseries.Panel):
        mode = model.FieldColorModeId.THRESHOLDS
        panel.color_scheme(build.FieldColor().mode(mode))
    if about.decimals is not None:
        panel.decimals(about.decimals)
    if about.greatest is not None:
        panel.max(about.greatest)
    if about.links:
        panel.links(list(about.links))
    if about.data_links:
        panel.data_links(list(about.data_links))
    return panel
