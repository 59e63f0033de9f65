"""The KPI report: one HTML page with its charts inside, which asks no other address for anything."""

from collections.abc import Iterable, Iterator, Sequence
from html import escape
from itertools import groupby
from typing import Final

from scoring.kpis.definitions import GENERAL, KPIS, STAGES, Kpi, Measure
from scoring.kpis.engine import Figure
from scoring.kpis.period import ALL, Period
from scoring.report import rfc3339
from stream.kpi_table import UNKNOWN, behind, lines, shown

Line = tuple[Measure, str, dict[str, Figure]]

MOST_BARS: Final = 12
_DRAWN: Final = frozenset({"score_distribution", "sdr_activity"})
"""KPIs shown in a way of their own."""

_STYLE: Final = """
:root { --ink:#1c2733; --dim:#64748b; --line:#e2e8f0; --bar:#2563a8; --page:#f6f8fa; --card:#fff }
* { box-sizing:border-box } body { margin:0; background:var(--page); color:var(--ink);
  font:15px/1.45 system-ui,-apple-system,"Segoe UI",Roboto,"Helvetica Neue",Arial,sans-serif }
main { max-width:1120px; margin:0 auto; padding:28px 20px 60px }
h1 { font-size:26px; margin:0 } h2 { font-size:19px; margin:36px 0 12px }
h3 { font-size:15px; margin:0 0 8px } h3 a { color:inherit; text-decoration:none }
h3 a:hover { text-decoration:underline } h3 a::after { content:" ?"; color:var(--dim) }
.sub { color:var(--dim); margin:4px 0 0 } .head { display:grid; gap:12px; margin:22px 0 8px;
  grid-template-columns:repeat(auto-fill,minmax(170px,1fr)) }
.fact, .card { background:var(--card); border:1px solid var(--line); border-radius:8px }
.fact { padding:12px 14px } .fact b { display:block; font-size:24px; font-weight:650 }
.fact span { color:var(--dim); font-size:13px }
.cards { columns:2 460px; column-gap:14px }
.card { padding:14px 16px; break-inside:avoid; margin-bottom:14px }
.wide { column-span:all; margin-top:14px }
table { border-collapse:collapse; width:100%; font-variant-numeric:tabular-nums }
td, th { padding:3px 6px; text-align:right; border-top:1px solid var(--line); font-size:13.5px }
th { color:var(--dim); font-weight:500; border-top:0 } td:first-child, th:first-child {
  text-align:left; padding-left:0; overflow-wrap:anywhere; white-space:normal }
td { white-space:nowrap } .heat td { text-align:center } td.all { font-weight:650 }
.none { color:var(--dim) } svg { display:block; width:100%; height:auto; margin-top:8px }
svg text { font:12px system-ui,sans-serif; fill:var(--ink) } svg .dim { fill:var(--dim) }
dl { background:var(--card); border:1px solid var(--line); border-radius:8px; padding:6px 18px }
dt { font-weight:650; margin-top:12px } dd { margin:2px 0 12px } dt:target, dt:target+dd {
  background:#fff7d6 } code { font-size:13px; color:var(--dim) }
@media print { body { background:#fff } .card, .fact { break-inside:avoid } }
"""

_HEADLINES: Final = (
    ("target_accounts", ""), ("engaged_rate", ""), ("awareness", ""), ("pipeline", ""),
    ("win_rate", "of_decided"), ("revenue_won", ""),
)  # fmt: skip


def report(period: Period, figures: Sequence[Figure]) -> str:
    """Return the page that shows *figures* of *period*."""
    tiers = list(dict.fromkeys(figure.tier for figure in figures))
    own: dict[str, list[Line]] = {}
    for kpi, measure, labels, by_tier in lines(figures):
        own.setdefault(kpi.id, []).append((measure, labels, by_tier))
    begin, end = rfc3339(period.start)[:16], rfc3339(period.end)[:16]
    span = f"{begin.replace('T', ' ')} to {end.replace('T', ' ')} UTC"
    whole = f"{span}, {len(period.facts.accounts):,} accounts"
    parts = [
        '<!doctype html><html lang="en"><head><meta charset="utf-8">',
        '<meta name="viewport" content="width=device-width,initial-scale=1">',
        f"<title>KPIs {escape(span)}</title><style>{_STYLE}</style></head><body><main>",
        f'<h1>Account-based KPIs</h1><p class="sub">{escape(whole)}</p>',
        _headlines(own, tiers[0] if tiers else ALL),
    ]
    for stage in STAGES:
        cards = [_card(kpi, own[kpi.id], tiers) for kpi in KPIS if kpi.id in own
                 if kpi.stage == stage]  # fmt: skip
        if cards:
            parts += [f'<h2>{escape(stage)}</h2><div class="cards">', *cards, "</div>"]
    parts += [*_definitions(), "</main></body></html>"]
    return "\n".join(parts)


def _headlines(own: dict[str, list[Line]], tier: str) -> str:
    facts = []
    for kpi_id, name in _HEADLINES:
        title = next(kpi.title for kpi in KPIS if kpi.id == kpi_id)
        for measure, labels, tiers in own.get(kpi_id, []):
            figure = tiers.get(tier)
            if measure.name == name and figure is not None:
                value = shown(figure, measure.unit)
                unit = f" {labels}" if measure.unit == "money" else ""
                facts.append(
                    f'<div class="fact"><span>{escape(title)}</span>'
                    f"<b>{escape(value + unit)}</b></div>"
                )
    return f'<div class="head">{"".join(facts)}</div>'


def _card(kpi: Kpi, own: list[Line], tiers: list[str]) -> str:
    head = f'<h3><a href="#{kpi.id}">{escape(kpi.title)}</a></h3>'
    if kpi.id == "score_distribution":
        return f'<div class="card wide">{head}{_histograms(own, tiers[0])}</div>'
    if kpi.id == "sdr_activity":
        return f'<div class="card wide">{head}{_reps(own, tiers[0])}</div>'
    matrix = [line for line in own if line[0].name == "matrix"]
    body, first = _table([line for line in own if line not in matrix], tiers), own[0][0]
    charted = [line for line in own if line[0].name == first.name and line[1]]
    if len(charted) > 1:
        body += _bars(charted, tiers[0])
    if matrix:
        body += _heat(matrix, tiers[0])
    missing = {
        f.missing for _, _, t in own for f in t.values() if f.missing and "since" in f.missing
    }
    notes = "".join(f'<p class="sub">Not enough data: {escape(each)}.</p>' for each in missing)
    return f'<div class="card">{head}{body}{notes}</div>'


def _table(own: list[Line], tiers: list[str]) -> str:
    names = "".join(f"<th>{'all' if t == ALL else 'tier ' + escape(t)}</th>" for t in tiers)
    rows = [f"<tr><th></th>{names}<th>accounts</th></tr>"]
    for _, group in groupby(own, key=lambda line: line[0].name):
        rows += [_row(line, tiers) for line in [*group][:MOST_BARS]]
    return f"<table>{''.join(rows)}</table>"


def _row(line: Line, tiers: list[str]) -> str:
    measure, labels, by_tier = line
    name = " · ".join(part for part in (measure.name.replace("_", " "), labels) if part)
    cells = []
    for tier in tiers:
        value = shown(by_tier.get(tier), measure.unit)
        kind = "none" if value == UNKNOWN else "all" if tier == tiers[0] else ""
        cells.append(f'<td class="{kind}">{escape(value)}</td>')
    return f"<tr><td>{escape(name or measure.unit)}</td>{''.join(cells)}<td>{behind(by_tier)}</td></tr>"


def _bars(own: list[Line], tier: str) -> str:
    """Return a bar a line, drawn to the largest."""
    pairs = [
        (labels, figure.value or 0.0, shown(figure, measure.unit))
        for measure, labels, by_tier in own
        if (figure := by_tier.get(tier)) is not None
    ]
    pairs = [pair for pair in pairs if pair[0] != ALL][:MOST_BARS]
    largest = max((value for _, value, _ in pairs), default=0.0)
    if largest <= 0.0:
        return ""
    rows = []
    for number, (name, value, told) in enumerate(pairs):
        y, width = 24 * number, 250 * value / largest
        rows.append(
            f'<text x="0" y="{y + 15}">{escape(_short(name, 26))}</text>'
            f'<rect x="180" y="{y + 4}" width="{max(width, 0.5):.1f}" height="14" rx="2" '
            f'fill="#2563a8"/><text class="dim" x="{186 + width:.1f}" y="{y + 15}">'
            f"{escape(told)}</text>"
        )
    return _svg(500, 24 * len(pairs) + 2, rows)


def _heat(own: list[Line], tier: str) -> str:
    """Return a matrix of counts, darker where there are more."""
    cells = {tuple(labels.split(", ")): t[tier].value or 0.0 for _, labels, t in own if tier in t}
    rows = list(dict.fromkeys(row for row, _ in cells))
    columns = list(dict.fromkeys(column for _, column in cells))
    largest = max(1.0, *cells.values())
    found = [f"<tr><th>fit, by engagement</th>{''.join(f'<th>{c}</th>' for c in columns)}</tr>"]
    for name in rows:
        shaded = (
            f'<td style="background:rgba(37,99,168,{0.75 * cells[name, c] / largest:.2f})">'
            f"{cells[name, c]:,.0f}</td>"
            for c in columns
        )
        found.append(f"<tr><td>{escape(name)}</td>{''.join(shaded)}</tr>")
    return f'<table class="heat">{"".join(found)}</table>'


def _histograms(own: list[Line], tier: str) -> str:
    """Return three histograms side by side, one a score."""
    found: dict[str, list[float]] = {}
    for _, labels, by_tier in own:
        score, _, _ = labels.partition(", ")
        figure = by_tier.get(tier)
        if score and figure is not None:
            found.setdefault(score, []).append(figure.value or 0.0)
    rows = []
    for number, (score, counts) in enumerate(found.items()):
        left, largest = 20 + 350 * number, max([*counts, 1.0])
        name = score.replace("_", " ")
        rows.append(f'<text x="{left}" y="14" font-weight="600">{escape(name)}</text>')
        for band, count in enumerate(counts):
            height, x = 110 * count / largest, left + 31 * band
            rows.append(
                f'<rect x="{x}" y="{150 - height:.1f}" width="27" height="{height:.1f}" '
                f'fill="#2563a8"/><text class="dim" x="{x + 13}" y="{145 - height:.1f}" '
                f'text-anchor="middle">{count:,.0f}</text>'
                f'<text class="dim" x="{x}" y="166">{10 * band}</text>'
            )
    return _svg(1080, 172, rows)


def _reps(own: list[Line], tier: str) -> str:
    """Return what each rep did in the whole period, most emails first."""
    sums: dict[str, dict[str, float]] = {}
    for measure, labels, by_tier in own:
        rep = labels.rpartition(", ")[0]
        figure = by_tier.get(tier)
        if figure is not None and rep:
            own_sums = sums.setdefault(rep, {})
            own_sums[measure.name] = own_sums.get(measure.name, 0.0) + (figure.value or 0.0)
    if not sums:
        return '<p class="sub">Nobody did anything in this period.</p>'
    shown_ones = ("emails", "meetings_booked", "meetings_held")
    head = "".join(f"<th>{name.replace('_', ' ')}</th>" for name in ("rep", *shown_ones))
    rows = [f"<tr>{head}</tr>"]
    for rep, counts in sorted(sums.items(), key=lambda each: (-each[1].get("emails", 0), each[0])):
        cells = "".join(f"<td>{counts.get(name, 0.0):,.0f}</td>" for name in shown_ones)
        rows.append(f"<tr><td>{escape(rep)}</td>{cells}</tr>")
    return f"<table>{''.join(rows)}</table>"


def _definitions() -> Iterator[str]:
    yield "<h2>What the figures mean</h2>"
    yield from (f"<p>{escape(paragraph)}</p>" for paragraph in GENERAL)
    yield "<dl>"
    for kpi in KPIS:
        yield f'<dt id="{kpi.id}">{escape(kpi.title)} <code>{kpi.id}</code></dt>'
        yield f"<dd>{escape(kpi.text)}</dd>"
    yield "</dl>"


def _svg(width: int, height: int, parts: Iterable[str]) -> str:
    return f'<svg viewBox="0 0 {width} {height}" role="img">{"".join(parts)}</svg>'


def _short(name: str, most: int) -> str:
    return name if len(name) <= most else f"{name[: most - 1]}…"
