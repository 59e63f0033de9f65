// The two questions that the page asks: for the token, and what to mute for how long.

import { el } from "./dom.js";
import { ruleName } from "./format.js";

const DURATIONS = [
  [60, "1 hour"],
  [480, "8 hours"],
  [1440, "1 day"],
  [10_080, "7 days"],
  [43_200, "30 days"],
];

function opened(title, fields, action) {
  return new Promise((resolve) => {
    const cancel = el(
      "button",
      { type: "button", class: "plain", on: { click: () => dialog.close() } },
      "Cancel",
    );
    const submit = (event) => {
      event.preventDefault();
      result = Object.fromEntries(new FormData(form));
      dialog.close();
    };
    let result = null;
    const buttons = el(
      "p",
      { class: "buttons" },
      el("button", { type: "submit", class: "primary" }, action),
      cancel,
    );
    const form = el("form", { on: { submit } }, el("h2", { id: "dialog-title" }, title), ...fields, buttons);
    const dialog = el("dialog", { "aria-labelledby": "dialog-title" }, form);
    dialog.addEventListener("close", () => {
      dialog.remove();
      resolve(result);
    });
    document.body.append(dialog);
    dialog.showModal();
  });
}

/** Asks for the access token; *refused* says that the last one was not accepted. Null if cancelled. */
export async function askForToken(refused) {
  const attributes = {
    name: "token",
    type: "password",
    required: true,
    autocomplete: "off",
    spellcheck: "false",
  };
  const answer = await opened(
    "Access token",
    [
      el("p", {}, "This board shows accounts to people with a token only. Your administrator has it."),
      refused && el("p", { class: "wrong", role: "alert" }, "The board did not accept that token."),
      el("label", { class: "field" }, "Token", el("input", attributes)),
      el("p", { class: "hint" }, "It is kept until you close this tab."),
    ],
    "Open the board",
  );
  return answer?.token.trim() || null;
}

function choice(name, value, text, checked) {
  return el(
    "label",
    { class: "choice" },
    el("input", { type: "radio", name, value, checked }),
    el("span", {}, text),
  );
}

/** Asks what of *alert* to mute: resolves to {what, name, minutes}, or null if cancelled. */
export async function askForMute(alert) {
  const whats = el(
    "fieldset",
    {},
    el("legend", {}, "What"),
    choice("what", "account", `All alerts of ${alert.account_name}`, true),
    choice("what", "rule", `“${ruleName(alert.rule)}” alerts of every account`, false),
  );
  const times = DURATIONS.map(([minutes, text]) => choice("minutes", minutes, text, minutes === 1440));
  const whens = el("fieldset", {}, el("legend", {}, "For how long"), el("div", { class: "choices" }, times));
  const hint = el(
    "p",
    { class: "hint" },
    "Muting holds for everybody. Scores go on, and you can lift it at any time.",
  );
  const answer = await opened("Mute alerts", [whats, whens, hint], "Mute");
  if (!answer) return null;
  const name = answer.what === "account" ? alert.account_id : alert.rule;
  return { what: answer.what, name, minutes: Number(answer.minutes) };
}
