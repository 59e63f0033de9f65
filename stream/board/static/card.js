// One account of Today.

import { accountPath } from "./api.js";
import { alertItem } from "./alerts.js";
import { scoreBox, sparkline } from "./charts.js";
import { el, icon } from "./dom.js";
import { moment, signed, stageName, tierName, topicList } from "./format.js";
import { openAlerts } from "./order.js";
import { ago } from "./shell.js";

const MOST_SHOWN = 2;

/** What the badges of an account say: its stage, its tier, what it surges on. */
export function badges({ stage, tier, target, surging }) {
  return el(
    "span",
    { class: "badges" },
    el("span", { class: "badge" }, target === false && !stage ? "No target" : stageName(stage)),
    el("span", { class: "badge" }, tierName(tier)),
    surging?.length > 0 && el("span", { class: "badge surging" }, `Surging: ${topicList(surging)}`),
  );
}

/** The account's list item; `fresh` holds ids of alerts that came while the page was open. */
export function card(row, { act, fresh, mute }) {
  const alerts = openAlerts(row);
  const url = accountPath(row.account_id);
  return el(
    "li",
    { class: "card", "data-account": row.account_id, "data-testid": "account-card" },
    el(
      "article",
      { "aria-label": row.name },
      el(
        "div",
        { class: "who" },
        el(
          "div",
          { class: "names" },
          el("h3", {}, el("a", { href: url, "data-key": `account-${row.account_id}` }, row.name)),
          badges(row),
        ),
        el("p", { class: "reason" }, row.reason),
        el(
          "p",
          { class: "meta" },
          owner(row),
          el("span", {}, "Last touch ", ago(row.last_event_at)),
          mute && muted(mute),
        ),
        !alerts.length && row.next_step && el("p", { class: "next" }, icon("arrow"), row.next_step),
      ),
      trend(row),
      scores(row),
      alerts.length > 0 && alertList(alerts, { act, fresh, url }),
    ),
  );
}

const owner = ({ owner_id }) => el("span", {}, owner_id ? `Owner ${owner_id}` : "No owner");
const muted = ({ until }) => el("span", { class: "muted" }, `Muted until ${moment(Date.parse(until))}`);

function scores({ engagement, intent_surge, relationship }) {
  return el(
    "dl",
    { class: "scores" },
    scoreBox("Engagement", engagement),
    scoreBox("Surge", intent_surge),
    scoreBox("Relationship", relationship),
  );
}

function trend({ sparkline: values }) {
  const [last, weekAgo] = [values.at(-1), values.at(-8)];
  const both = Number.isFinite(last) && Number.isFinite(weekAgo);
  return el(
    "div",
    { class: "trend" },
    sparkline(values),
    el(
      "span",
      { class: "note" },
      both ? `${signed(Math.round(last) - Math.round(weekAgo))} in 7 days` : "new",
    ),
  );
}

function alertList(alerts, { act, fresh, url }) {
  const shown = alerts
    .slice(0, MOST_SHOWN)
    .map((alert) => alertItem(alert, { act, place: "card-", isNew: fresh.has(alert.id) }));
  const more = alerts.length - shown.length;
  if (more > 0)
    shown.push(
      el(
        "li",
        { class: "alert rest" },
        el("a", { href: url }, `${more} more`, el("span", { class: "unseen" }, " alerts of this account")),
      ),
    );
  return el("ul", { class: "alerts", "aria-label": "Alerts" }, shown);
}
