// Building nodes. Data reaches the page as text nodes and attributes only, never as markup.

const SVG = "http://www.w3.org/2000/svg";

/** An HTML element; `on` holds listeners, null and false attributes are left out. */
export function el(name, attributes = {}, ...children) {
  return filled(document.createElement(name), attributes, children);
}

/** An SVG element, as `el`. */
export function svg(name, attributes = {}, ...children) {
  return filled(document.createElementNS(SVG, name), attributes, children);
}

function filled(node, { on = {}, ...attributes }, children) {
  for (const [key, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    node.setAttribute(key, value === true ? "" : String(value));
  }
  for (const [event, listener] of Object.entries(on)) node.addEventListener(event, listener);
  node.append(
    ...children.flat(Infinity).filter((child) => child !== null && child !== undefined && child !== false),
  );
  return node;
}

export const byId = (id) => document.getElementById(id);

const PATHS = {
  high: "M8 1.5 15 14H1z",
  medium: "M8 1 15 8 8 15 1 8z",
  low: "M8 3a5 5 0 1 1 0 10A5 5 0 0 1 8 3z",
  page_visit:
    "M1 8s2.5-4.5 7-4.5S15 8 15 8s-2.5 4.5-7 4.5S1 8 1 8zM8 6.2a1.8 1.8 0 1 1 0 3.6 1.8 1.8 0 0 1 0-3.6z",
  email: "M1.5 3.5h13v9h-13zM1.5 4l6.5 5 6.5-5",
  chat: "M2 2.5h12v8H7l-3.5 3v-3H2z",
  meeting: "M2 3.5h12v10.5H2zM2 7h12M5 1.5v3.5M11 1.5v3.5",
  ad: "M2 6.5v3h2.5l6 3.5V3l-6 3.5zM13 6v4",
  intent: "M7 2.5a4.5 4.5 0 1 1 0 9 4.5 4.5 0 0 1 0-9zM10.3 10.3 14 14",
  other: "M8 6a2 2 0 1 1 0 4 2 2 0 0 1 0-4z",
  arrow: "M2 8h11M9 4l4 4-4 4",
};
const SOLID = new Set(["high", "medium", "low"]);

/** A small drawing without a name of its own: the text beside it says the same. */
export function icon(name) {
  const kind = PATHS[name] ? name : "other";
  const look = `icon icon-${kind}${SOLID.has(kind) ? " solid" : ""}`;
  const attributes = { class: look, viewBox: "0 0 16 16", "aria-hidden": "true", focusable: "false" };
  return svg("svg", attributes, svg("path", { d: PATHS[kind] }));
}

/** Runs *change*, and gives the focus back to the element with the same data-key. */
export function keepingFocus(change) {
  const key = document.activeElement?.dataset?.key;
  change();
  if (!key || document.activeElement?.dataset?.key === key) return;
  document.querySelector(`[data-key="${CSS.escape(key)}"]`)?.focus({ preventScroll: true });
}

/** Puts *nodes* into *parent* in their order, moving as few of them as it can. */
export function arrange(parent, nodes) {
  const wanted = new Set(nodes);
  for (const child of [...parent.children]) if (!wanted.has(child)) child.remove();
  nodes.forEach((node, index) => {
    if (parent.children[index] !== node) parent.insertBefore(node, parent.children[index] ?? null);
  });
}

/** Calls *draw* with the width of *box*, now and whenever it changes. */
export function drawnToWidth(box, draw) {
  let last = 0;
  new ResizeObserver(([entry]) => {
    const width = Math.round(entry.contentRect.width);
    if (width > 0 && width !== last) box.replaceChildren(draw((last = width)));
  }).observe(box);
  return box;
}
