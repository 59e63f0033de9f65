"""One account, its explanation and the funnel, as a person reads them."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from rich import box
from rich.console import Console, Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from scoring.account import AccountState
from scoring.explain import explain
from scoring.funnel import STAGES
from scoring.report import account_report, rfc3339
from scoring.rules import Rules
from stream.cli.output import ago, bar, draws_blocks, score_text, terminal, text
from stream.reader import Funnel

MOST_CONTACTS: Final = 10
"""Rows of contacts that are printed; the rest is one row more."""


def print_account(state: AccountState, now: float, rules: Rules) -> None:
    """Print one account as of *now*: who it is, the scores, and the reasons."""
    console = terminal()
    report, found = account_report(state, now, rules), explain(state, now, rules)
    details = {} if state.record is None else state.record.details
    console.print(_title(report["account_id"], details.get("name"), report["as_of"]))
    console.print(_scores(report, console))
    facts = _grid()
    for label, value in _facts(report, details):
        facts.add_row(Text(label, style="dim"), text(value))
    console.print(_indented(facts))
    _print_because(found, console)


def _facts(report: Mapping[str, Any], details: Mapping[str, Any]) -> Iterable[tuple[str, object]]:
    yield "stage", report["stage"] or "none (no target account)"
    yield "tier", report["tier"]
    yield "owner", " ".join(filter(None, (report["owner_id"], details.get("owner_email"))))
    yield "surging on", ", ".join(report["surging"]) or "nothing"
    yield "contacts", report["contacts"]
    yield "events", _span(report)
    if report["noise"]:
        yield "of these noise", noise_text(report["noise"])
    for name in ("domains", "industry", "employees", "parent_account_id", "icp_fit"):
        value = details.get(name)
        if value is not None:
            shown = ", ".join(value) if isinstance(value, list) else value
            yield name.replace("_", " "), shown


def _span(report: Mapping[str, Any]) -> str:
    if report["first_event_at"] is None:
        return str(report["events"])
    return f"{report['events']}, {report['first_event_at']} to {report['last_event_at']}"


def noise_text(noise: Mapping[str, int]) -> str:
    """Return how many events were labelled as noise, by reason.

    >>> noise_text({"crawler": 3, "health_check": 1})
    '3 crawler, 1 health check'
    """
    return ", ".join(f"{count} {reason.replace('_', ' ')}" for reason, count in noise.items())


def _scores(report: Mapping[str, Any], console: Console) -> RenderableType:
    table = _grid()
    minutes = f"{report['engagement_minutes']:.1f} engagement minutes"
    best = max(report["surge"], key=report["surge"].get, default=None)
    for name, title, note in (
        ("engagement", "engagement", minutes),
        ("intent_surge", "intent surge", "" if best is None else f"highest on {best}"),
        ("relationship", "relationship", ""),
    ):
        shown = score_text(report[name], console, bar_width=20)
        table.add_row(Text(title, style="bold"), shown, text(note, "dim"))
    return _indented(table)


def print_explanation(found: Mapping[str, Any], *, name: str | None) -> None:
    """Print what `scoring.explain.explain` found: sentences first, then the parts."""
    console = terminal()
    console.print(_title(found["account_id"], name, found["as_of"]))
    _print_because(found, console)
    for section in (_engagement, _surge, _relationship, _stage):
        console.print(section(found, console))
    if found["noise"]:
        console.print(
            text(
                f"\nLabelled as noise, and scored as nothing: {noise_text(found['noise'])}.", "dim"
            )
        )


def _print_because(found: Mapping[str, Any], console: Console) -> None:
    console.print(Text("\nBecause", style="bold"))
    mark = "•" if draws_blocks(console) else "-"
    for sentence in found["because"]:
        console.print(Padding(text(f"{mark} {sentence}"), (0, 0, 0, 2), expand=False))


def _engagement(found: Mapping[str, Any], console: Console) -> RenderableType:
    part = found["engagement"]
    total = (f"{part['minutes']:.2f}", f"{part['score']:.2f}")
    channels = _table("channel", "minutes", "points")
    for row in part["channels"]:
        channels.add_row(text(row["channel"]), *_minutes(row))
    _add_total(channels, total)
    people = _table("contact", "seniority", "weight", "minutes", "points")
    for row in _cut(part["contacts"], ("minutes", "points")):
        weight = "" if row.get("weight") is None else f"{row['weight']:g}"
        who = row.get("contact_id") or row.get("label")
        people.add_row(text(who), text(row.get("seniority")), weight, *_minutes(row))
    _add_total(people, total)
    touches = _table("touch", "by", "ago", "minutes", "points")
    for row in part["touches"]:
        what = f"{row['channel']} {row['label']}"
        touches.add_row(
            text(what), text(row["contact_id"]), ago(row["age_seconds"]), *_minutes(row)
        )
    half_life, saturation = part["half_life_days"], part["saturation_minutes"]
    rule = f"minutes halve in {half_life:g} days; {saturation:g} of them score 50"
    tables = [channels, people] + ([touches] if part["touches"] else [])
    return _section("Engagement", part["score"], rule, console, body=tables)


def _surge(found: Mapping[str, Any], console: Console) -> RenderableType:
    part = found["surge"]
    table = _table("topic", "score", "this week", "usual", "weeks known")
    for row in part["topics"]:
        table.add_row(
            text(row["topic"], "bold magenta" if row["surging"] else ""),
            f"{row['score']:.2f}",
            str(row["count"]),
            f"{row['expected']:.2f}",
            str(row["weeks"]),
        )
    rule = "the highest topic's score; surging topics stand out"
    return _section("Intent surge", part["score"], rule, console, body=[table])


def _relationship(found: Mapping[str, Any], console: Console) -> RenderableType:
    part = found["relationship"]
    table = _table("contact", "seniority", "they did", "we did", "reciprocity", "points")
    for row in _cut(part["contacts"], ("points",)):
        flows = ("inbound", "outbound", "reciprocity")
        numbers = [f"{row[name]:.2f}" if name in row else "" for name in flows]
        who = row.get("contact_id") or row.get("label")
        table.add_row(text(who), text(row.get("seniority")), *numbers, f"{row['points']:.2f}")
    _add_total(table, (f"{part['score']:.2f}",))
    rule = "each contact's points are what the score rises by with it"
    return _section("Relationship", part["score"], rule, console, body=[table])


def _stage(found: Mapping[str, Any], _console: Console) -> RenderableType:
    part = found["stage"]
    bounds = part["bounds"]
    minutes = f"{part['minutes']:.2f} (engaged from {bounds['enter_minutes']:g}, "
    minutes += f"until below {bounds['leave_below_minutes']:g})"
    facts = _grid()
    for label, value in (
        ("stage", part["stage"] or "none (no target account)"),
        ("engaged", "yes" if part["engaged"] else "no"),
        ("minutes", minutes),
        *((f"{each['opportunity_id']}", _deal(each)) for each in part["opportunities"]),
        *((("last churn", part["churned_at"]),) if part["churned_at"] else ()),
    ):
        facts.add_row(text(label, "dim"), text(value))
    return Group(Text("\nStage", style="bold"), _indented(facts))


def _deal(opportunity: Mapping[str, Any]) -> str:
    since = f" since {opportunity['since']}" if opportunity["since"] else ""
    return f"{opportunity['kind']} opportunity, {opportunity['state']}{since}"


def print_funnel(found: Funnel, console: Console | None = None) -> None:
    """Print the funnel with a bar per stage, then the moves."""
    console = terminal() if console is None else console
    tiers, stages = list(found.tiers), found.stages
    most = max(*stages.values(), 1)
    table = _table("stage", "accounts", "", *(_tier_title(tier) for tier in tiers))
    for column in table.columns[1:]:
        column.justify = "right"
    table.columns[2].justify = "left"
    for stage in STAGES:
        drawn = bar(100.0 * stages[stage] / most, width=24, ascii_only=not draws_blocks(console))
        each = (f"{found.tiers[tier][stage]:,}" for tier in tiers)
        table.add_row(stage, f"{stages[stage]:,}", Text(drawn, style="cyan"), *each)
    _add_total(
        table,
        (f"{sum(stages.values()):,}", "", *(f"{sum(found.tiers[t].values()):,}" for t in tiers)),
        label="all targets",
    )
    console.print(table)
    noun = "account" if found.surging == 1 else "accounts"
    console.print(f"{found.surging:,} {noun} surging", style="magenta")
    if found.moves:
        moves = _table("from", "to", "moves")
        for name, number in sorted(found.moves.items(), key=lambda item: (-item[1], item[0])):
            before, _, after = name.partition(">")
            moves.add_row(text(before), text(after), f"{number:,}")
        console.print(moves)
    console.print(f"as of {rfc3339(found.as_of)}", style="dim")


def funnel_json(found: Funnel) -> dict[str, Any]:
    """Return *found* as the object that `funnel --json` prints."""
    return {
        "as_of": rfc3339(found.as_of),
        "stages": found.stages,
        "tiers": found.tiers,
        "moves": found.moves,
        "surging": found.surging,
    }


def _tier_title(tier: str) -> str:
    return "no tier" if tier == "none" else f"tier {tier}"


def _title(account_id: str, name: str | None, as_of: str) -> Text:
    title = text(name or account_id, "bold")
    if name and name != account_id:
        title.append_text(text(f"  {account_id}"))
    return title.append_text(text(f"  as of {as_of}", "dim"))


def _section(
    title: str, score: float, rule: str, console: Console, *, body: Sequence[RenderableType]
) -> RenderableType:
    head = Text(f"\n{title} ", style="bold")
    head.append_text(score_text(score, console, bar_width=20))
    return Group(head, text(f"  {rule}", "dim"), *(_indented(each) for each in body))


def _cut(rows: Sequence[Mapping[str, Any]], summed: Sequence[str]) -> list[Mapping[str, Any]]:
    """Return the first rows, and one that sums the rest, so that they still add up."""
    if len(rows) <= MOST_CONTACTS + 1:
        return list(rows)
    rest = rows[MOST_CONTACTS:]
    sums = {name: sum(row[name] for row in rest) for name in summed}
    return [*rows[:MOST_CONTACTS], {"label": f"{len(rest)} more", **sums}]


def _minutes(row: Mapping[str, Any]) -> tuple[str, str]:
    return f"{row['minutes']:.2f}", f"{row['points']:.2f}"


def _table(first: str, *titles: str) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, header_style="dim")
    table.add_column(first, overflow="fold")
    for title in titles:
        words = title in ("seniority", "by", "to")
        table.add_column(title, justify="left" if words else "right", overflow="fold")
    return table


def _add_total(table: Table, cells: Sequence[str], *, label: str = "sum") -> None:
    table.add_section()
    missing = len(table.columns) - 1 - len(cells)
    table.add_row(label, *[""] * missing, *cells, style="bold")


def _grid() -> Table:
    table = Table.grid(padding=(0, 2))
    table.add_column(no_wrap=True)
    return table


def _indented(body: RenderableType) -> Padding:
    return Padding(body, (0, 0, 0, 2), expand=False)
