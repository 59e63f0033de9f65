// What happened at an account: touches by day, alerts, opportunities.

import { alertItem } from "./alerts.js";
import { el, icon } from "./dom.js";
import { channelName, clock, date, moment, tenth, touchText, weekday, words } from "./format.js";
import { ago } from "./shell.js";

function section(id, title, ...content) {
  return el(
    "section",
    { class: "panel", "aria-labelledby": `${id}-title`, "data-testid": id },
    el("h2", { id: `${id}-title` }, title),
    ...content,
  );
}

/** The newest touches, grouped by day. */
export function timeline({ touches }) {
  if (!touches.length)
    return section(
      "timeline",
      "Timeline of touches",
      el("p", { class: "none" }, "No touch that counts is known."),
    );
  const groups = Map.groupBy(touches, ({ time }) => new Date(time).toDateString());
  const days = [...groups.values()].map((group) =>
    el("li", {}, el("h3", {}, weekday(Date.parse(group[0].time))), el("ol", {}, group.map(touch))),
  );
  return section("timeline", "Timeline of touches", el("ol", { class: "timeline" }, days));
}

function touch(each) {
  const at = Date.parse(each.time);
  return el(
    "li",
    { class: "touch" },
    el("time", { datetime: each.time, title: moment(at) }, clock(at)),
    icon(each.channel),
    el(
      "span",
      { class: "what" },
      el("span", { class: "unseen" }, `${channelName(each.channel)}: `),
      touchText(each),
    ),
    el("span", { class: "whom" }, each.contact_id ?? "Somebody"),
    el("span", { class: "number" }, `${tenth(each.minutes)} min`),
  );
}

/** The newest alerts that wait for somebody, null without any. */
export function openAlerts(alerts, act) {
  return alerts.length ? section("open-alerts", "Open alerts", feed(alerts, act)) : null;
}

/** The account's other alerts, newest first. */
export function earlierAlerts(alerts, act) {
  const none = el("p", { class: "none" }, "No earlier alert is known.");
  return section("alerts", "Earlier alerts", alerts.length ? feed(alerts, act) : none);
}

const feed = (alerts, act) =>
  el(
    "ol",
    { class: "feed" },
    alerts.map((alert) => alertItem(alert, { act, place: "account-" })),
  );

/** Opportunities, null without any. */
export function opportunities({ opportunities: found }) {
  if (!found.length) return null;
  const rows = found.map(({ opportunity_id, kind, state, since }) =>
    el(
      "tr",
      {},
      el("th", { scope: "row" }, opportunity_id),
      el("td", {}, words(kind)),
      el("td", {}, el("span", { class: "badge" }, words(state))),
      el("td", {}, since ? date(Date.parse(since)) : "–"),
    ),
  );
  const heads = ["Opportunity", "Kind", "State", "Since"].map((name) => el("th", { scope: "col" }, name));
  return section(
    "opportunities",
    "Opportunities",
    el("table", { class: "plaintable" }, el("thead", {}, el("tr", {}, heads)), el("tbody", {}, rows)),
  );
}

/** What the CRM says of the account. */
export function facts(account) {
  const {
    industry,
    employees,
    domains,
    icp_fit: fit,
    parent_account_id: parent,
    first_event_at: first,
    events,
  } = account;
  const pairs = [
    ["Owner", owner(account)],
    ["Industry", industry],
    ["Employees", employees === null || employees === undefined ? null : employees.toLocaleString("en-GB")],
    ["Domains", domains?.join(", ")],
    ["Fit", fit === null || fit === undefined ? null : `${Math.round(100 * fit)} of 100`],
    ["Parent", parent && el("a", { href: `/accounts/${encodeURIComponent(parent)}` }, parent)],
    ["First touch", first && date(Date.parse(first))],
    ["Last touch", ago(account.last_event_at)],
    ["Events", events?.toLocaleString("en-GB")],
  ];
  const known = pairs.filter(([, value]) => value);
  return el(
    "dl",
    { class: "facts" },
    known.map(([name, value]) => el("div", {}, el("dt", {}, name), el("dd", {}, value))),
  );
}

function owner({ owner_id: id, owner_email: email }) {
  if (!id && !email) return null;
  return email
    ? el("a", { href: `mailto:${encodeURIComponent(email).replace("%40", "@")}` }, id ?? email)
    : id;
}
