// One account: its scores, what makes them up, its people, and what happened.

import { get } from "./api.js";
import { actions, readMutes } from "./alerts.js";
import { badges } from "./card.js";
import { committee } from "./committee.js";
import { byId, el, icon, keepingFocus } from "./dom.js";
import { moment } from "./format.js";
import { scorePanels } from "./scores.js";
import { announce, dataAsOf, failure, notice, start, throttled } from "./shell.js";
import { earlierAlerts, facts, openAlerts, opportunities, timeline } from "./timeline.js";

const MOST_OPEN = 3;

const page = { id: idOf(location.pathname), account: null, explanation: null, mute: null, act: null };

/** The account's id: all of the path behind /accounts/, whatever it holds. */
function idOf(path) {
  const text = path.slice("/accounts/".length);
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}

async function load() {
  const path = `/accounts/${encodeURIComponent(page.id)}`;
  try {
    const [account, explanation, mutes] = await Promise.all([get(path), get(`${path}/explain`), readMutes()]);
    page.mute = mutes.find(({ what, name }) => what === "account" && name === page.id) ?? null;
    Object.assign(page, { account, explanation });
    dataAsOf(account.as_of);
    render();
  } catch (problem) {
    failed(problem);
  }
}

function failed(problem) {
  if (page.account) return;
  const retry = el("a", { class: "button", href: "/" }, "To Today");
  const box =
    problem.status === 404
      ? notice(
          "This account is not known.",
          `No event of “${page.id}” was scored. It may be spelled otherwise, or be new.`,
          retry,
        )
      : failure(problem, load);
  put([el("div", { class: "title" }, el("h1", {}, page.id)), box]);
}

function put(nodes) {
  byId("account").replaceChildren(...nodes.filter(Boolean));
  byId("account").setAttribute("aria-busy", "false");
}

function render() {
  if (!page.account) return;
  const { account, explanation, act } = page;
  const open = account.alerts.filter((alert) => !alert.acknowledged).slice(0, MOST_OPEN);
  const others = account.alerts.filter((alert) => !open.includes(alert));
  document.title = `${account.name} · Surgeline`;
  keepingFocus(() =>
    put([
      head(account),
      el(
        "div",
        { class: open.length ? "halves" : "stack lead" },
        why(account, explanation),
        openAlerts(open, act),
      ),
      el("div", { class: "thirds" }, scorePanels(account, explanation)),
      committee(account),
      el(
        "div",
        { class: "halves" },
        timeline(account),
        el("div", { class: "stack" }, earlierAlerts(others, act), opportunities(account)),
      ),
    ]),
  );
}

function head(account) {
  return el(
    "div",
    { class: "accounthead" },
    el("p", { class: "crumb" }, el("a", { href: "/" }, "Today")),
    el(
      "div",
      { class: "title" },
      el("h1", {}, account.name),
      badges(account),
      page.mute && mutedNote(page.mute),
    ),
    facts(account),
  );
}

function mutedNote(mute) {
  const lift =
    page.act &&
    el(
      "button",
      { type: "button", class: "small", "data-key": "lift", on: { click: () => page.act.lift(mute) } },
      "Lift the mute",
    );
  return el("span", { class: "muted" }, `Muted until ${moment(Date.parse(mute.until))} `, lift);
}

function why(account, explanation) {
  const next = account.alerts.find((alert) => alert.next_step && !alert.acknowledged)?.next_step;
  return el(
    "section",
    { class: "panel why", "aria-labelledby": "why-title", "data-testid": "why" },
    el("h2", { id: "why-title" }, "Why it is where it is"),
    el(
      "ul",
      {},
      explanation.because.map((sentence) => el("li", {}, sentence)),
    ),
    next && el("p", { class: "next" }, icon("arrow"), next),
  );
}

function hearAlert(alert) {
  if (!page.account || alert.account_id !== page.id) return;
  if (!page.account.alerts.some(({ id }) => id === alert.id)) {
    page.account.alerts = [alert, ...page.account.alerts];
    render();
    announce(`New ${alert.severity} alert: ${alert.sentence}`);
  }
  reloadSoon();
}

function hearScores(message) {
  if (message.account_id === page.id) reloadSoon();
}

const reloadSoon = throttled(load, 3000);

async function open() {
  load();
  setInterval(() => document.hidden || load(), 60_000);
  const listeners = { alert: hearAlert, scores: hearScores, resumed: load };
  const session = await start(listeners, { query: { account: page.id }, rests: true });
  if (session.role === "operator") page.act = actions(load);
  render();
}

open();
