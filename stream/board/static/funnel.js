// The funnel: where the target accounts are, by tier, and how they moved.

import { get, withQuery } from "./api.js";
import { joint, stageBar } from "./charts.js";
import { byId, el, icon, keepingFocus } from "./dom.js";
import { STAGES, clock, count, counted, moment, percent, stageName, tierName } from "./format.js";
import { dataAsOf, failure, notice, start, throttled } from "./shell.js";

const TIERS = ["1", "2", "3", "none"];
const PERIODS = { 7: ["last_7_days", "last 7 days"], 30: ["last_30_days", "last 30 days"] };

const page = { funnel: null };

const period = () => (new URLSearchParams(location.search).get("days") === "30" ? 30 : 7);
const sumOf = (values) => values.reduce((sum, value) => sum + value, 0);

async function load() {
  try {
    page.funnel = await get("/funnel");
    dataAsOf(page.funnel.as_of);
    render();
  } catch (problem) {
    if (!page.funnel) put([failure(problem, load)]);
  }
}

function put(nodes) {
  byId("funnel").replaceChildren(...nodes);
  byId("funnel").setAttribute("aria-busy", "false");
}

function render() {
  const { funnel } = page;
  const total = sumOf(STAGES.map((stage) => funnel.stages[stage] ?? 0));
  byId("summary").textContent =
    `${counted(total, "target account")}, ${funnel.surging} surging, as of ${clock(Date.parse(funnel.as_of))}`;
  if (!total) return put([emptiness()]);
  keepingFocus(() =>
    put([picture(funnel, total), el("div", { class: "halves" }, tierTable(funnel), moveTable(funnel))]),
  );
}

function emptiness() {
  return notice(
    "No target account yet.",
    "Accounts enter the funnel when the CRM says that they are a target.",
    el(
      "p",
      {},
      "Send such events to the topic ",
      el("code", {}, "accounts"),
      ", or see a simulated market with ",
      el("code", {}, "surgeline demo"),
      ".",
    ),
  );
}

function picture(funnel, total) {
  const most = Math.max(...STAGES.map((stage) => funnel.stages[stage] ?? 0));
  const [key, words] = PERIODS[period()];
  const rows = STAGES.flatMap((stage, index) => [
    stageRow(stage, index, { funnel, total, most }),
    index < STAGES.length - 1 && jointRow(index, { funnel, most, moves: funnel.moves[key], words }),
  ]);
  return el(
    "section",
    { class: "panel", "aria-labelledby": "picture-title", "data-testid": "picture" },
    el(
      "div",
      { class: "panelhead" },
      el("h2", { id: "picture-title" }, "The six stages"),
      periods(),
      legend(funnel),
    ),
    el("ol", { class: "picture" }, rows),
    since(funnel),
  );
}

/** From when on moves are known, where that is not the whole period. */
function since({ moves_since: known }) {
  if (!known) return null;
  return el(
    "p",
    { class: "note since" },
    `Moves before ${moment(Date.parse(known))} are not in these periods.`,
  );
}

const tiersOf = (funnel, stage) => TIERS.map((tier) => ({ tier, n: funnel.tiers[tier]?.[stage] ?? 0 }));

function stageRow(stage, index, { funnel, total, most }) {
  const n = funnel.stages[stage] ?? 0;
  const beyond = sumOf(STAGES.slice(index).map((each) => funnel.stages[each] ?? 0));
  return el(
    "li",
    { class: "stage", "data-stage": stage },
    el(
      "a",
      { class: "stagename", href: withQuery("/", { stage }), "data-key": `stage-${stage}` },
      stageName(stage),
    ),
    el("span", { class: "number stagecount" }, count(n)),
    stageBar(tiersOf(funnel, stage), most),
    el("span", { class: "note reach" }, `${percent(beyond / total)} here or further`),
  );
}

/** Moves over the border below stage *index*, in both directions, skipped stages included. */
export function crossings(moves, index) {
  const sums = { up: 0, back: 0 };
  for (const [move, n] of Object.entries(moves)) {
    const [from, to] = move.split(">").map((stage) => STAGES.indexOf(stage));
    if (from < 0 || to < 0) continue;
    if (from <= index && to > index) sums.up += n;
    if (from > index && to <= index) sums.back += n;
  }
  return sums;
}

function jointRow(index, { funnel, most, moves, words }) {
  const { up, back } = crossings(moves, index);
  const [upper, lower] = [STAGES[index], STAGES[index + 1]];
  const said = `${stageName(upper)} to ${lower}, ${words}: ${up} moved on, ${back} fell back`;
  return el(
    "li",
    { class: "jointrow" },
    joint(funnel.stages[upper] ?? 0, funnel.stages[lower] ?? 0, most),
    el("span", { class: "unseen" }, said),
    el(
      "span",
      { class: "moves", "aria-hidden": "true" },
      el("span", { class: up ? "on" : "zero" }, `↓ ${up}`),
      el("span", { class: back ? "back" : "zero" }, `↑ ${back}`),
    ),
  );
}

function periods() {
  const options = Object.keys(PERIODS).map((days) => {
    const change = () => {
      history.replaceState(null, "", withQuery("/funnel", { days: days === "7" ? "" : days }));
      render();
    };
    const input = el("input", {
      type: "radio",
      name: "days",
      value: days,
      checked: Number(days) === period(),
      "data-key": `days-${days}`,
      on: { change },
    });
    return el("label", {}, input, el("span", {}, `${days} days`));
  });
  return el("fieldset", { class: "switch" }, el("legend", {}, "Moves of the last"), options);
}

function legend(funnel) {
  const used = TIERS.filter((tier) => sumOf(Object.values(funnel.tiers[tier] ?? {})) > 0);
  const arrows = el("li", {}, el("span", { "aria-hidden": "true" }, "↓ moved on  ↑ fell back"));
  return el(
    "ul",
    { class: "legend" },
    used.map((tier) => el("li", {}, el("span", { class: `swatch tier-${tier}` }), tierName(tier))),
    arrows,
  );
}

function tierTable(funnel) {
  const used = TIERS.filter((tier) => sumOf(Object.values(funnel.tiers[tier] ?? {})) > 0);
  const cell = (stage, tier, n) =>
    el(
      "td",
      { class: "number" },
      n
        ? el(
            "a",
            {
              href: withQuery("/", { stage, tier: tier === "none" ? "" : tier }),
              "aria-label": `${stageName(stage)}, ${tierName(tier)}: ${n}`,
            },
            count(n),
          )
        : "0",
    );
  const rows = STAGES.map((stage) =>
    el(
      "tr",
      {},
      el("th", { scope: "row" }, stageName(stage)),
      used.map((tier) => cell(stage, tier, funnel.tiers[tier]?.[stage] ?? 0)),
      el("td", { class: "number strong" }, count(funnel.stages[stage] ?? 0)),
    ),
  );
  const totals = used.map((tier) =>
    el("td", { class: "number" }, count(sumOf(STAGES.map((stage) => funnel.tiers[tier]?.[stage] ?? 0)))),
  );
  const all = el(
    "td",
    { class: "number strong" },
    count(sumOf(STAGES.map((stage) => funnel.stages[stage] ?? 0))),
  );
  return section(
    "tiers",
    "By tier",
    ["Stage", ...used.map(tierName), "All"],
    rows,
    el("tfoot", {}, el("tr", {}, el("th", { scope: "row" }, "All"), totals, all)),
  );
}

function moveTable({ moves }) {
  const depth = (stage) => STAGES.indexOf(stage);
  const names = Object.keys({ ...moves.total, ...moves.last_30_days, ...moves.last_7_days }).map((move) =>
    move.split(">"),
  );
  names.sort((a, b) => depth(a[0]) - depth(b[0]) || depth(a[1]) - depth(b[1]));
  const rows = names.map(([from, to]) => {
    const number = (where) => el("td", { class: "number" }, count(where[`${from}>${to}`] ?? 0));
    const back = depth(to) < depth(from);
    const name = [
      from === "none" ? "New" : stageName(from),
      el("span", { class: "unseen" }, " to "),
      icon("arrow"),
      to === "none" ? "No target any more" : stageName(to),
    ];
    return el(
      "tr",
      { class: back ? "backward" : null },
      el("th", { scope: "row" }, name, back && el("span", { class: "note" }, " back")),
      number(moves.last_7_days),
      number(moves.last_30_days),
      number(moves.total),
    );
  });
  if (!rows.length)
    rows.push(el("tr", {}, el("td", { colspan: 4, class: "none" }, "No account has moved yet.")));
  return section("moves", "Moves between stages", ["From, to", "7 days", "30 days", "All time"], rows);
}

function section(id, title, heads, rows, foot = null) {
  const head = el(
    "thead",
    {},
    el(
      "tr",
      {},
      heads.map((name) => el("th", { scope: "col" }, name)),
    ),
  );
  const table = el("table", { class: "plaintable numbers" }, head, el("tbody", {}, rows), foot);
  return el(
    "section",
    { class: "panel", "aria-labelledby": `${id}-title`, "data-testid": id },
    el("h2", { id: `${id}-title` }, title),
    table,
  );
}

const reloadSoon = throttled(load, 3000);

function open() {
  load();
  setInterval(() => document.hidden || load(), 60_000);
  const moved = ({ transitions }) =>
    transitions?.some(({ rule }) => rule === "stage_changed") && reloadSoon();
  start({ scores: moved, resumed: load }, { rests: true });
}

open();
