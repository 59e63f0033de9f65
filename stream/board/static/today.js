// Today: the accounts to act on now, and alerts as they come.

import { get, withQuery } from "./api.js";
import { actions, alertItem, mutesBox, readMutes } from "./alerts.js";
import { card } from "./card.js";
import { arrange, byId, el, keepingFocus } from "./dom.js";
import { filtersOf, wireFilters } from "./filters.js";
import { clock, counted } from "./format.js";
import { asRow, matches, openAlerts, placed, withAlert, withoutAlert, withScores } from "./order.js";
import { announce, dataAsOf, dataNow, failure, notice, start, throttled } from "./shell.js";

const PAGE = matchMedia("(max-width: 40rem)").matches ? 20 : 50;
const MOST = 200;
const FEED = 30;
const FRESH_MS = 60_000;
const KEEP_MS = 15_000;

const today = {
  rows: null,
  feed: null,
  mutes: [],
  limit: PAGE,
  total: null,
  act: null,
  fresh: new Set(),
  pending: new Map(),
  taken: new Map(),
  cards: new Map(),
  unseen: 0,
  abort: null,
};

async function load() {
  today.abort?.abort();
  const { signal } = (today.abort = new AbortController());
  const { q, ...filters } = filtersOf();
  const list = q
    ? get(withQuery("/accounts", { q, ...filters, limit: today.limit }), signal)
    : get(withQuery("/today", { ...filters, limit: today.limit }), signal);
  const feed = get(withQuery("/alerts", { owner: filters.owner, limit: FEED }), signal).catch(() => null);
  const mutes = readMutes();
  try {
    const found = await list;
    dataAsOf(found.as_of);
    take(found, q);
    const alerts = (await feed)?.alerts;
    if (signal.aborted) return;
    today.feed = alerts ? merged(alerts) : (today.feed ?? []);
    today.mutes = await mutes;
    render();
  } catch (problem) {
    if (problem.name !== "AbortError") failed(problem);
  }
}

function take(found, searching) {
  today.rows = found.accounts.map(asRow);
  for (const [id, until] of today.taken) {
    if (until < Date.now()) today.taken.delete(id);
    else today.rows = withoutAlert(today.rows, id);
  }
  today.total = found.total ?? null;
  today.asOf = found.as_of;
  if (!searching)
    for (const { alert } of pendingAlerts())
      if (wanted(alert)) today.rows = withAlert(today.rows, alert, dataNow());
  render();
}

/** Alerts that came by the stream and that the API may not know yet. */
function pendingAlerts() {
  for (const [id, { until }] of today.pending) if (until < Date.now()) today.pending.delete(id);
  return [...today.pending.values()];
}

function merged(alerts) {
  const ids = new Set(alerts.map(({ id }) => id));
  const extra = pendingAlerts()
    .filter(({ alert }) => !ids.has(alert.id))
    .map(({ alert }) => alert);
  return [...extra, ...alerts].sort((a, b) => Date.parse(b.at) - Date.parse(a.at));
}

const wanted = (alert) => matches(alert, filtersOf());

function failed(problem) {
  if (today.rows) return;
  byId("message").replaceChildren(failure(problem, load));
  for (const id of ["accounts", "alerts"]) {
    byId(id).replaceChildren();
    byId(id).setAttribute("aria-busy", "false");
  }
}

function render() {
  if (!today.rows) return;
  keepingFocus(() => {
    renderAccounts();
    renderFeed();
  });
}

function renderAccounts() {
  const list = byId("accounts");
  const muteOf = new Map(
    today.mutes.filter(({ what }) => what === "account").map((mute) => [mute.name, mute]),
  );
  const nodes = today.rows.map((row) => cardOf(row, muteOf.get(row.account_id)));
  arrange(list, nodes);
  const shown = new Set(today.rows.map(({ account_id }) => account_id));
  for (const id of today.cards.keys()) if (!shown.has(id)) today.cards.delete(id);
  list.setAttribute("aria-busy", "false");
  byId("message").replaceChildren(...(nodes.length ? [] : [emptiness()]));
  byId("more").hidden = nodes.length < today.limit || today.limit >= MOST;
  byId("summary").textContent = summary();
}

/** The card of *row*: the one that stands already unless something in it changed. */
function cardOf(row, mute) {
  const options = { act: today.act, fresh: today.fresh, mute };
  const isNew = row.alerts.map(({ id }) => today.fresh.has(id));
  const signature = JSON.stringify([row, mute, isNew, Boolean(today.act)]);
  const known = today.cards.get(row.account_id);
  if (known?.signature === signature) return known.node;
  const node = card(row, options);
  today.cards.set(row.account_id, { signature, node });
  return node;
}

function summary() {
  const { q } = filtersOf();
  const at = `as of ${clock(Date.parse(today.asOf))}`;
  if (q) return `${counted(today.total ?? today.rows.length, "account")} found for “${q}”, ${at}`;
  const alerted = today.rows.filter((row) => openAlerts(row).length).length;
  const surging = today.rows.filter((row) => row.surging?.length).length;
  return `${counted(alerted, "account")} with open alerts, ${surging} surging, ${at}`;
}

function emptiness() {
  const { q, ...filters } = filtersOf();
  if (q) return notice("No account found.", `Neither a name nor an id of an account holds “${q}”.`);
  const clear = el(
    "button",
    { type: "button", on: { click: () => byId("filters").reset() } },
    "Clear filters",
  );
  if (Object.values(filters).some(Boolean))
    return notice("No account matches these filters.", "Others may need you.", clear);
  return notice(
    "No account needs you now.",
    "Accounts come here as soon as events of them are scored. To get some in:",
    el(
      "ul",
      {},
      el("li", {}, "see it with a simulated market: ", el("code", {}, "surgeline demo")),
      el("li", {}, "send recorded events: ", el("code", {}, "surgeline replay FILES --wait")),
      el("li", {}, "look whether all is well: ", el("code", {}, "surgeline doctor")),
    ),
  );
}

function renderFeed() {
  if (!today.feed) return;
  const feed = byId("alerts");
  const alerts = today.feed.filter(wanted).slice(0, FEED);
  const items = alerts.map((alert) =>
    alertItem(alert, { named: true, place: "feed-", isNew: today.fresh.has(alert.id) }),
  );
  feed.replaceChildren(
    ...(items.length
      ? items
      : [el("li", { class: "alert none" }, "No alerts yet. New ones appear here by themselves.")]),
  );
  feed.setAttribute("aria-busy", "false");
  const names = new Map(today.feed.map((alert) => [alert.account_id, alert.account_name]));
  for (const row of today.rows) names.set(row.account_id, row.name);
  const wasOpen = byId("mutes").firstElementChild?.open;
  byId("mutes").replaceChildren(...[mutesBox(today.mutes, today.act, names)].filter(Boolean));
  if (wasOpen && byId("mutes").firstElementChild) byId("mutes").firstElementChild.open = true;
}

function hearAlert(alert) {
  if (today.fresh.has(alert.id) || today.feed?.some(({ id }) => id === alert.id)) return;
  today.pending.set(alert.id, { alert, until: Date.now() + KEEP_MS });
  today.fresh.add(alert.id);
  setTimeout(() => (today.fresh.delete(alert.id), render()), FRESH_MS);
  if (!today.rows || !wanted(alert)) return;
  if (!filtersOf().q) today.rows = withAlert(today.rows, alert, dataNow());
  today.feed = merged(today.feed ?? []);
  render();
  announce(`New ${alert.severity} alert: ${alert.sentence}`);
  countUnseen();
  reloadSoon();
}

function hearScores(message) {
  if (!today.rows) return;
  const known = today.rows.some((row) => row.account_id === message.account_id);
  if (known) {
    today.rows = withScores(today.rows, { ...message, last_event_at: message.last_event_at ?? null });
    renderSoon();
  }
  reloadLater();
}

function countUnseen() {
  if (document.hidden) today.unseen += 1;
  document.title = `${today.unseen ? `(${today.unseen}) ` : ""}Today · Surgeline`;
}

function changed(alertId, done) {
  if (alertId && done) {
    today.pending.delete(alertId);
    today.taken.set(alertId, Date.now() + KEEP_MS);
    const row = today.rows.find(({ alerts }) => alerts.some(({ id }) => id === alertId));
    today.rows = withoutAlert(today.rows, alertId);
    if (row && !filtersOf().q)
      today.rows = placed(
        today.rows,
        today.rows.find(({ account_id }) => account_id === row.account_id),
        dataNow(),
      );
    render();
  }
  if (alertId && !done) today.taken.delete(alertId);
  load();
}

const reloadSoon = throttled(load, 2000);
const reloadLater = throttled(load, 15_000);
const renderSoon = throttled(render, 500);

function refilter() {
  today.limit = PAGE;
  today.rows = null;
  byId("accounts").setAttribute("aria-busy", "true");
  load();
}

async function open() {
  wireFilters(refilter);
  byId("more").addEventListener("click", () => {
    today.limit = Math.min(MOST, today.limit + PAGE);
    load();
  });
  document.addEventListener("visibilitychange", () => {
    if (!document.hidden) today.unseen = 0;
    countUnseen();
  });
  setInterval(() => document.hidden || load(), 60_000);
  const session = start({ alert: hearAlert, scores: hearScores, resumed: load });
  await load();
  if ((await session).role === "operator") today.act = actions(changed);
  render();
}

open();
