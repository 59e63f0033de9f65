// The three scores of an account: where they were, and what makes them up.

import { drawnToWidth, el } from "./dom.js";
import { against, history, meter, step } from "./charts.js";
import {
  channelName,
  count,
  counted,
  percent,
  score,
  seniorityName,
  signed,
  tenth,
  topicName,
} from "./format.js";

const MOST_PARTS = 7;

/** The three panels, from the account and its explanation. */
export function scorePanels(account, explanation) {
  const { engagement, surge, relationship } = explanation;
  return [
    panel("Engagement", "engagement", account, [
      el("p", { class: "said" }, engagementText(engagement)),
      sum("By channel", engagement.channels.map(channelPart), engagement.score, "Minutes"),
      folding("By person", () => sum(null, engagement.contacts.map(personPart), engagement.score, "Minutes")),
    ]),
    panel("Intent surge", "intent_surge", account, [
      el(
        "p",
        { class: "said" },
        "How unusual this week is for this account, per topic. The score is that of the highest.",
      ),
      surgeChart(surge),
    ]),
    panel("Relationship", "relationship", account, [
      el(
        "p",
        { class: "said" },
        "How well their people know ours. Each person adds less than the one before.",
      ),
      sum("By person", relationship.contacts.map(tiePart), relationship.score, "Strength"),
    ]),
  ];
}

function engagementText({ minutes, half_life_days, saturation_minutes }) {
  const whole = counted(Math.round(minutes), "weighted minute");
  return `${whole} now, halving every ${half_life_days} days; ${saturation_minutes} minutes score 50.`;
}

function panel(name, field, account, parts) {
  const days = account.history.map((each) => each.day);
  const values = account.history.map((each) => each[field] ?? null);
  const chart = drawnToWidth(el("div", { class: "chart" }), (width) =>
    history({ name, days, values, width }),
  );
  const id = `score-${field}`;
  return el(
    "section",
    { class: "panel scorepanel", "aria-labelledby": id, "data-testid": id },
    el(
      "div",
      { class: "scorehead" },
      el("h2", { id }, name),
      el("p", { class: "big" }, score(account[field]), el("span", { class: "unseen" }, " of 100")),
      el("p", { class: "note" }, change(values)),
      meter(account[field]),
    ),
    values.some((value) => value !== null)
      ? chart
      : el("p", { class: "none" }, "No history yet. It grows day by day."),
    parts,
  );
}

function change(values) {
  const now = values.at(-1);
  const from = (days) => values.at(-1 - days);
  const texts = [7, 30]
    .filter((days) => Number.isFinite(from(days)) && Number.isFinite(now))
    .map((days) => `${signed(Math.round(now) - Math.round(from(days)))} in ${days} days`);
  return texts.join(", ") || "new";
}

const channelPart = ({ channel, minutes, points }) => ({
  name: channelName(channel),
  amount: tenth(minutes),
  points,
});

function personPart({ contact_id, label, seniority, weight, minutes, points }) {
  const name = contact_id ?? label ?? "unknown visitors";
  const times = weight === null || weight === 1 ? "" : ` × ${weight}`;
  return {
    name,
    note: seniority ? `${seniorityName(seniority)}${times}` : null,
    amount: tenth(minutes),
    points,
  };
}

const tiePart = ({ contact_id, seniority, strength, points }) => ({
  name: contact_id,
  note: seniorityName(seniority),
  amount: percent(strength),
  points,
});

const unfolded = new Set();

/** A part that opens, and stays open when the page is drawn anew. */
function folding(title, content) {
  const remember = (event) => unfolded[event.target.open ? "add" : "delete"](title);
  const attributes = { class: "folding", open: unfolded.has(title), on: { toggle: remember } };
  return el("details", attributes, el("summary", {}, title), content());
}

/** Parts as steps that start where the one before ended, down to their sum: the score. */
function sum(title, parts, total, unit) {
  if (!parts.length) return el("p", { class: "none" }, "Nothing that still counts.");
  const shown = folded(parts);
  let at = 0;
  const rows = shown.map((part) => {
    const bar = step(at, part.points, 100);
    at += part.points;
    return partRow(part, bar);
  });
  const foot = el(
    "tr",
    {},
    el("th", { scope: "row" }, "Score"),
    el("td", {}),
    el("td", { class: "bar" }, step(0, total, 100, "total")),
    el("td", { class: "number" }, tenth(total)),
  );
  return el(
    "table",
    { class: "sum" },
    title && el("caption", {}, title),
    el(
      "thead",
      {},
      el(
        "tr",
        {},
        ...["Part", unit, "Sum up to the score", "Points"].map((name, index) =>
          el(
            "th",
            { scope: "col", class: index === 2 ? "bar" : null },
            index === 2 ? el("span", { class: "unseen" }, name) : name,
          ),
        ),
      ),
    ),
    el("tbody", {}, rows),
    el("tfoot", {}, foot),
  );
}

function folded(parts) {
  if (parts.length <= MOST_PARTS) return parts;
  const rest = parts.slice(MOST_PARTS - 1);
  const points = rest.reduce((all, part) => all + part.points, 0);
  return [...parts.slice(0, MOST_PARTS - 1), { name: `${count(rest.length)} others`, amount: "", points }];
}

function partRow({ name, note, amount, points }, bar) {
  return el(
    "tr",
    {},
    el(
      "th",
      { scope: "row" },
      el("span", { class: "partname" }, name),
      note && el("span", { class: "note" }, note),
    ),
    el("td", { class: "number quiet" }, amount),
    el("td", { class: "bar" }, bar),
    el("td", { class: "number" }, tenth(points)),
  );
}

/** This week's visits and signals against the usual, per topic. */
function surgeChart({ topics }) {
  if (!topics.length) return el("p", { class: "none" }, "Nothing was read or searched within 13 weeks.");
  const most = Math.max(1, ...topics.map((topic) => Math.max(topic.count, topic.expected)));
  const heads = ["Topic", "This week", null, "Usual", "Score"];
  return el(
    "table",
    { class: "surge", "data-testid": "surge" },
    el(
      "caption",
      {},
      "This week against the usual ",
      el("span", { class: "note" }, "bar: this week, line: usual"),
    ),
    el(
      "thead",
      {},
      el(
        "tr",
        {},
        heads.map((name) => (name ? el("th", { scope: "col" }, name) : el("td", {}))),
      ),
    ),
    el(
      "tbody",
      {},
      topics.map((topic) => surgeRow(topic, most)),
    ),
  );
}

function surgeRow({ topic, count: now, expected, score: value, surging }, most) {
  const badge = surging && el("span", { class: "badge surging" }, "Surging");
  return el(
    "tr",
    { class: surging ? "surging" : null },
    el("th", { scope: "row" }, el("span", { class: "partname" }, topicName(topic)), badge),
    el("td", { class: "number" }, count(now)),
    el("td", { class: "bar" }, against(now, expected, most)),
    el("td", { class: "number quiet" }, tenth(expected)),
    el("td", { class: "number strong" }, score(value)),
  );
}
