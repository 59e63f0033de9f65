// Alerts: how one looks, and what an operator can do about it.

import { accountPath, get, request } from "./api.js";
import { askForMute } from "./dialogs.js";
import { el, icon } from "./dom.js";
import { moment, ruleName, words } from "./format.js";
import { ago, toast } from "./shell.js";

/** How urgent, as a shape and a word. */
export function severity(alert) {
  return el("span", { class: `severity ${alert.severity}` }, icon(alert.severity), words(alert.severity));
}

/**
 * One alert as a list item.
 *
 * `act` (null for readers) has `acknowledge(alert)`, `withdraw(alert)`, `mute(alert)`; `place` tells this list's
 * buttons from those of another; `named` says whose it is, and leaves the next step to its card.
 */
export function alertItem(alert, { act = null, place = "", named = false, isNew = false } = {}) {
  const taken = Boolean(alert.acknowledged);
  const name = named && el("a", { class: "name", href: accountPath(alert.account_id) }, alert.account_name);
  const about = el(
    "p",
    { class: "about" },
    severity(alert),
    el("span", {}, ruleName(alert.rule)),
    ago(alert.at),
    taken && el("span", { title: when(alert.acknowledged.at) }, acknowledgedBy(alert.acknowledged)),
  );
  const next =
    alert.next_step && !taken && !named && el("p", { class: "next" }, icon("arrow"), alert.next_step);
  return el(
    "li",
    {
      class: `alert${isNew && !taken ? " new" : ""}${taken ? " taken" : ""}`,
      "data-alert": alert.id,
      "data-rule": alert.rule,
    },
    about,
    name && el("p", {}, name),
    el("p", { class: "sentence" }, alert.sentence),
    next,
    act && el("p", { class: "buttons" }, buttons(alert, act, place)),
  );
}

const when = (time) => (time ? moment(Date.parse(time)) : null);
const acknowledgedBy = ({ by }) => (by ? `Acknowledged by ${by}` : "Acknowledged");

function buttons(alert, act, place) {
  const what = `: ${alert.sentence}`;
  const button = (key, text, more, click) =>
    el(
      "button",
      { type: "button", class: "small", "data-key": `${place}${key}-${alert.id}`, on: { click } },
      text,
      el("span", { class: "unseen" }, more),
    );
  if (alert.acknowledged) return [button("ack", "Withdraw acknowledgement", what, () => act.withdraw(alert))];
  return [
    button("ack", "Acknowledge", what, () => act.acknowledge(alert)),
    button("mute", "Mute…", ` alerts of ${alert.account_name}`, () => act.mute(alert)),
  ];
}

async function tried(work) {
  try {
    await work();
    return true;
  } catch (problem) {
    toast(problem.status === 403 ? "You may look, but not change anything." : `Not done: ${problem.message}`);
    return false;
  }
}

/** What operators can do; *changed* (with the alert's id, or null) runs after each. */
export function actions(changed) {
  const path = ({ id }) => `/alerts/${encodeURIComponent(id)}/acknowledge`;
  const mutePath = ({ what, name }) => `/mutes/${what}/${encodeURIComponent(name)}`;
  const act = {
    async acknowledge(alert) {
      if (!(await tried(() => request("POST", path(alert), {})))) return;
      toast(`Acknowledged: ${alert.sentence}`, () => act.withdraw(alert));
      changed(alert.id, true);
    },
    async withdraw(alert) {
      if (await tried(() => request("DELETE", path(alert)))) changed(alert.id, false);
    },
    async mute(alert) {
      const mute = await askForMute(alert);
      if (!mute || !(await tried(() => request("PUT", mutePath(mute), { minutes: mute.minutes })))) return;
      const name = mute.what === "rule" ? `${ruleName(mute.name)} alerts` : alert.account_name;
      toast(`Muted: ${name}`, () => act.lift(mute));
      changed(null, true);
    },
    async lift(mute) {
      if (await tried(() => request("DELETE", mutePath(mute)))) changed(null, false);
    },
  };
  return act;
}

/** The mutes in force, or none where they cannot be read. */
export async function readMutes() {
  try {
    return (await get("/mutes")).mutes;
  } catch {
    return [];
  }
}

/** The mutes in force as a box that opens, null without any; *names* maps account ids. */
export function mutesBox(mutes, act, names = new Map()) {
  if (!mutes.length) return null;
  const items = mutes.map((mute) => {
    const name = mute.what === "rule" ? `${ruleName(mute.name)} alerts` : (names.get(mute.name) ?? mute.name);
    const lift = el(
      "button",
      { type: "button", class: "small", on: { click: () => act.lift(mute) } },
      "Lift",
      el("span", { class: "unseen" }, ` the mute of ${name}`),
    );
    const text = el(
      "span",
      {},
      el("strong", {}, name),
      ` until ${moment(Date.parse(mute.until))}${mute.by ? `, by ${mute.by}` : ""}`,
    );
    return el("li", {}, text, act && lift);
  });
  return el(
    "details",
    { class: "mutes panel" },
    el("summary", {}, `Muted: ${mutes.length}`),
    el("ul", {}, items),
  );
}
