// The filters of Today: they live in the address, so that a view can be kept and sent.

import { get } from "./api.js";
import { byId, el } from "./dom.js";

const NAMES = ["owner", "tier", "stage"];

/** What the address asks for: owner, tier, stage and q, each a text, empty for all. */
export function filtersOf(search = location.search) {
  const asked = new URLSearchParams(search);
  return Object.fromEntries([...NAMES, "q"].map((name) => [name, asked.get(name) ?? ""]));
}

/** Shows the filters of the address in the form, and calls *changed* when people change them. */
export function wireFilters(changed) {
  const form = byId("filters");
  const find = byId("find");
  const go = (filters) => {
    const kept = Object.entries(filters).filter(([, value]) => value);
    history.pushState(null, "", kept.length ? `/?${new URLSearchParams(kept)}` : "/");
    show(form, find);
    changed();
  };
  const asked = () => ({
    ...Object.fromEntries(NAMES.map((name) => [name, form.elements[name].value])),
    q: find.value.trim(),
  });
  form.addEventListener("change", () => go(asked()));
  form.addEventListener("submit", (event) => event.preventDefault());
  form.addEventListener("reset", (event) => (event.preventDefault(), go({})));
  find.form.addEventListener("submit", (event) => (event.preventDefault(), go({ q: find.value.trim() })));
  find.addEventListener("search", () => find.value === "" && filtersOf().q && go(asked()));
  window.addEventListener("popstate", () => (show(form, find), changed()));
  show(form, find);
  fillOwners(form, find);
}

function show(form, find) {
  const filters = filtersOf();
  for (const name of NAMES) {
    const select = form.elements[name];
    const value = filters[name];
    if (![...select.options].some((option) => option.value === value))
      select.append(el("option", { value }, value));
    select.value = value;
  }
  find.value = filters.q;
  form.querySelector("button[type=reset]").hidden = !Object.values(filters).some(Boolean);
}

async function fillOwners(form, find) {
  try {
    const { owners } = await get("/owners");
    const everyone = form.elements.owner.options[0];
    form.elements.owner.replaceChildren(
      everyone,
      ...owners.map((owner) => el("option", { value: owner }, owner)),
    );
    show(form, find);
  } catch {
    // The page says already that the board does not answer.
  }
}
