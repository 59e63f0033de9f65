// The buying committee: who knows us how well, and who of us two does the talking.

import { exchange, meter } from "./charts.js";
import { el } from "./dom.js";
import { counted, percent, seniorityName, tenth } from "./format.js";

const DIRECTIONS = {
  mutual: ["⇄", "Both ways"],
  theirs: ["→", "Only they write"],
  ours: ["←", "Only we write"],
  none: ["–", "No exchange"],
};
const HEADS = ["Person", "Strength", "Direction", "From them", "Exchange", "From us", "Minutes"];

/** The table of contacts, strongest first. */
export function committee({ contacts, contacts_total: total }) {
  const most = Math.max(0.01, ...contacts.flatMap(({ inbound, outbound }) => [inbound, outbound]));
  const body = contacts.length
    ? el(
        "table",
        { class: "committee stacks", role: "table" },
        el("caption", { class: "unseen" }, "Contacts by the strength of their relationship with us"),
        el(
          "thead",
          { role: "rowgroup" },
          el(
            "tr",
            { role: "row" },
            HEADS.map((name) => el("th", { scope: "col", role: "columnheader" }, name)),
          ),
        ),
        el(
          "tbody",
          { role: "rowgroup" },
          contacts.map((contact) => row(contact, most)),
        ),
      )
    : el("p", { class: "none" }, "Nobody of this account has exchanged anything with us yet.");
  const more =
    total > contacts.length &&
    el("p", { class: "note" }, `${counted(total - contacts.length, "weaker contact")} not shown.`);
  return el(
    "section",
    { class: "panel", "aria-labelledby": "committee-title", "data-testid": "committee" },
    el("h2", { id: "committee-title" }, "Buying committee"),
    contacts.length > 0 && el("p", { class: "said" }, threads(contacts)),
    body,
    more,
  );
}

/** Whether the relationship hangs on one person. */
function threads(contacts) {
  const strong = contacts.filter(({ strength }) => strength >= 0.25).length;
  const silent = contacts.filter(({ direction }) => direction === "ours").length;
  const first =
    strong === 1
      ? "One person carries this relationship."
      : `${counted(strong, "person", "people")} know us well.`;
  return silent ? `${first} ${counted(silent, "person has", "people have")} not answered.` : first;
}

function row({ contact_id, seniority, strength, inbound, outbound, direction, minutes }, most) {
  const [sign, text] = DIRECTIONS[direction] ?? DIRECTIONS.none;
  const cell = (name, attributes, ...children) =>
    el("td", { role: "cell", "data-name": name, ...attributes }, ...children);
  return el(
    "tr",
    { role: "row" },
    el(
      "th",
      { scope: "row", role: "rowheader" },
      el("span", { class: "partname" }, contact_id),
      el("span", { class: "note" }, seniorityName(seniority)),
    ),
    cell(
      "Strength",
      { class: "strength" },
      el("span", { class: "number" }, percent(strength)),
      meter(100 * strength),
    ),
    cell(
      "Direction",
      {},
      el(
        "span",
        { class: `direction ${direction}` },
        el("span", { class: "sign", "aria-hidden": "true" }, sign),
        text,
      ),
    ),
    cell("From them", { class: "number" }, tenth(inbound)),
    cell("Exchange", { class: "bar" }, exchange(inbound, outbound, most)),
    cell("From us", { class: "number" }, tenth(outbound)),
    cell("Minutes", { class: "number" }, tenth(minutes)),
  );
}
