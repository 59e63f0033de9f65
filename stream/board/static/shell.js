// What every page has: connection state, banners, messages, times that grow older.

import { askTokenWith, get, serverNow } from "./api.js";
import { askForToken } from "./dialogs.js";
import { byId, el } from "./dom.js";
import { clock, moment, relative, span } from "./format.js";
import { Live } from "./live.js";

const OLD_MS = 120_000;
const TICK_MS = 15_000;
const TOAST_MS = 8000;

const CHIPS = {
  connecting: "Connecting",
  live: "Live",
  stale: "Silent",
  old: "Old data",
  offline: "Offline",
  locked: "Locked",
};

const reload = () => location.reload();

const shown = { state: "connecting", retryAt: null, asOf: null, eventClock: false, live: null };

/** Connects the page: *listeners* are those of Live, without `state`; resolves to the session. */
export async function start(listeners, options) {
  askTokenWith(askForToken);
  shown.live = new Live({ ...listeners, state: connection }, options);
  shown.live.start();
  setInterval(tick, TICK_MS);
  setInterval(countDown, 1000);
  try {
    const session = await get("/session");
    shown.eventClock = session.clock === "event";
    tick();
    return session;
  } catch {
    return { role: "reader", clock: "wall" };
  }
}

/** Notes as of when the page's data is, for the banner and for relative times. */
export function dataAsOf(time) {
  shown.asOf = Date.parse(time);
  tick();
}

/** Now, as the data means it: a replay by event time lives in its own present. */
export const dataNow = () => (shown.eventClock && shown.asOf ? shown.asOf : serverNow());

function connection(state, { retryAt = null }) {
  if (state === "connecting" && ["offline", "stale"].includes(shown.state)) return;
  if (state === shown.state && retryAt === null) return;
  const before = shown.state;
  Object.assign(shown, { state, retryAt });
  showState();
  if (state !== before && before !== "connecting") announce(`Connection: ${CHIPS[state]}.`);
}

function effective() {
  const old = shown.asOf !== null && !shown.eventClock && serverNow() - shown.asOf > OLD_MS;
  return shown.state === "live" && old ? "old" : shown.state;
}

function showState() {
  const state = effective();
  const chip = byId("connection");
  if (chip.dataset.state !== state) {
    chip.dataset.state = state;
    chip.firstElementChild.textContent = CHIPS[state];
  }
  showBanner(state);
}

const BANNERS = {
  offline: ["Not connected.", () => `${seenAt()} Trying again${inSeconds()}.`, "Try now"],
  stale: ["The board is silent.", () => `Nothing heard for 25 seconds. ${seenAt()}`, "Reload"],
  old: [
    "These numbers are old.",
    () => `They are as of ${moment(shown.asOf)}. Is the worker running?`,
    "Reload",
  ],
  locked: ["A token is needed.", () => "This board is for people with an access token.", "Enter token"],
};

const seenAt = () => (shown.asOf ? `You see the accounts as of ${clock(shown.asOf)}.` : "");

function inSeconds() {
  const left = Math.ceil((shown.retryAt - Date.now()) / 1000);
  return left > 0 ? ` in ${span(left)}` : " now";
}

function showBanner(state) {
  const banner = byId("banner");
  const found = BANNERS[state];
  banner.hidden = !found;
  if (!found || banner.dataset.state === state) {
    if (!found) delete banner.dataset.state;
    return;
  }
  banner.dataset.state = state;
  const [title, text, button] = found;
  const act = () => (state === "offline" ? shown.live.tryNow() : reload());
  banner.replaceChildren(
    el("strong", {}, title),
    el("span", { class: "text" }, text()),
    el("button", { type: "button", on: { click: act } }, button),
  );
}

function countDown() {
  const banner = byId("banner");
  if (banner.dataset.state !== "offline") return;
  const text = BANNERS.offline[1]();
  const node = banner.querySelector(".text");
  if (node.textContent !== text) node.textContent = text;
}

function tick() {
  showState();
  const now = dataNow();
  for (const node of document.querySelectorAll("time[data-relative]")) {
    const text = relative(Date.parse(node.dateTime), now);
    if (node.textContent !== text) node.textContent = text;
  }
}

/** A <time> in words ("4 min ago") that grows older with the page. */
export function ago(time) {
  const at = Date.parse(time);
  if (!Number.isFinite(at)) return el("span", {}, "never");
  return el("time", { datetime: time, title: moment(at), "data-relative": true }, relative(at, dataNow()));
}

/** Says *text* to screen readers, politely. */
export function announce(text) {
  byId("announcer").textContent = text;
}

/** Shows *text* for some seconds; *undo* adds a button that takes back what was done. */
export function toast(text, undo = null) {
  const node = el("div", { class: "toast" }, el("span", {}, text));
  const gone = () => node.remove();
  if (undo) {
    const click = () => (gone(), undo());
    node.append(el("button", { type: "button", class: "plain", on: { click } }, "Undo"));
  }
  byId("toasts").replaceChildren(node);
  announce(text);
  setTimeout(gone, TOAST_MS);
}

/** What stands in place of data that did not come, with a button to try again. */
export function failure(problem, retry) {
  const title = problem.status === 401 ? "A token is needed." : "This could not be loaded.";
  const [label, click] = problem.status === 401 ? ["Enter token", reload] : ["Try again", retry];
  return notice(title, problem.message, el("button", { type: "button", on: { click } }, label));
}

/** A box that says why there is nothing to see, and what to do. */
export function notice(title, ...content) {
  const parts = content.map((part) => (typeof part === "string" ? el("p", {}, part) : part));
  return el("div", { class: "notice panel", "data-testid": "notice" }, el("h2", {}, title), ...parts);
}

/** A function that runs *work* soon, at most once every *pause* ms, and once more if asked meanwhile. */
export function throttled(work, pause) {
  let last = -Infinity;
  let timer = null;
  const run = () => {
    timer = null;
    last = Date.now();
    work();
  };
  return () => {
    timer ??= setTimeout(run, Math.max(0, last + pause - Date.now()));
  };
}
