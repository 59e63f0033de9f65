// Drawings, as SVG. Each is a pure function of its data (and width, where it has text).

import { el, svg } from "./dom.js";
import { day, score } from "./format.js";

const round = (value) => Math.round(value * 100) / 100;
const known = (values) => values.filter((value) => value !== null && value !== undefined);

/** A share of a hundred as a bar; the number stands beside it. */
export function meter(value) {
  const width = round(Math.max(0, Math.min(100, value ?? 0)));
  return svg(
    "svg",
    {
      class: "meter",
      viewBox: "0 0 100 4",
      preserveAspectRatio: "none",
      "aria-hidden": "true",
      focusable: "false",
    },
    svg("rect", { class: "track", width: 100, height: 4 }),
    svg("rect", { class: "fill", width, height: 4 }),
  );
}

/** Runs of neighbouring points as path data; unknown values leave gaps. */
function runs(values, x, y) {
  const paths = [];
  let current = [];
  values.forEach((value, index) => {
    if (value === null || value === undefined) {
      if (current.length) paths.push(current);
      current = [];
    } else current.push([round(x(index)), round(y(value))]);
  });
  if (current.length) paths.push(current);
  return paths;
}

const line = (points) =>
  `M${points.map((point) => point.join(" ")).join("L")}${points.length === 1 ? "h.01" : ""}`;
const area = (points, floor) => `${line(points)}L${points.at(-1)[0]} ${floor}L${points[0][0]} ${floor}z`;

/** The last days of a score, small; its title says them in words. */
export function sparkline(values) {
  const [width, height, pad] = [104, 32, 3];
  const x = (index) => pad + (index * (width - 2 * pad)) / Math.max(1, values.length - 1);
  const y = (value) => height - pad - (Math.max(0, Math.min(100, value)) * (height - 2 * pad)) / 100;
  const some = known(values);
  const words = some.length
    ? `Engagement, last ${values.length} days: from ${score(some[0])} to ${score(some.at(-1))}, highest ${score(Math.max(...some))}`
    : "Engagement of the last days is not known";
  const found = runs(values, x, y);
  const end = found.at(-1)?.at(-1);
  return svg(
    "svg",
    { class: "sparkline", viewBox: `0 0 ${width} ${height}`, role: "img" },
    svg("title", {}, words),
    svg("path", { class: "floor", d: `M${pad} ${height - pad + 0.5}H${width - pad}` }),
    found.map((points) => svg("path", { class: "area", d: area(points, height - pad) })),
    found.map((points) => svg("path", { class: "line", d: line(points) })),
    end && svg("circle", { class: "end", cx: end[0], cy: end[1], r: 2.5 }),
  );
}

const MARGIN = { left: 26, right: 8, top: 8, bottom: 20 };

/** A score from 0 to 100 over days, *width* pixels wide: `days` are dates, `values` may be null. */
export function history({ name, days, values, width, height = 132 }) {
  const inner = { width: width - MARGIN.left - MARGIN.right, height: height - MARGIN.top - MARGIN.bottom };
  const x = (index) => MARGIN.left + (index * inner.width) / Math.max(1, days.length - 1);
  const y = (value) => MARGIN.top + inner.height * (1 - value / 100);
  const found = runs(values, x, y);
  const end = found.at(-1)?.at(-1);
  const drawing = svg(
    "svg",
    {
      class: "history",
      viewBox: `0 0 ${width} ${height}`,
      width,
      height,
      role: "img",
      "aria-label": inWords(name, days, values),
    },
    [0, 50, 100].map((value) => grid(value, y(value), width)),
    monthTicks(days, x, height),
    found.map((points) => svg("path", { class: "area", d: area(points, y(0)) })),
    found.map((points) => svg("path", { class: "line", d: line(points) })),
    end && svg("circle", { class: "end", cx: end[0], cy: end[1], r: 3.5 }),
  );
  drawing.append(reading({ days, values, x, y, width, height }, drawing));
  return drawing;
}

function grid(value, y, width) {
  return [
    svg("path", { class: "grid", d: `M${MARGIN.left} ${round(y)}H${width - MARGIN.right}` }),
    svg("text", { class: "tick end", x: MARGIN.left - 5, y: round(y) + 4 }, String(value)),
  ];
}

function monthTicks(days, x, height) {
  const last = days.length - 1;
  const firsts = days
    .map((iso, index) => [iso, index])
    .filter(([iso, index]) => iso.endsWith("-01") && index < last - 8);
  const ticks = firsts.map(([iso, index]) => [
    svg("path", { class: "grid", d: `M${round(x(index))} ${MARGIN.top}V${height - MARGIN.bottom}` }),
    svg("text", { class: "tick middle", x: round(x(index)), y: height - 5 }, day(iso)),
  ]);
  return [ticks.flat(), svg("text", { class: "tick end", x: x(last), y: height - 5 }, "today")];
}

function inWords(name, days, values) {
  const some = values
    .map((value, index) => ({ value, day: days[index] }))
    .filter(({ value }) => value !== null && value !== undefined);
  if (!some.length) return `${name}: no history yet`;
  const top = some.reduce((best, each) => (each.value > best.value ? each : best));
  const [first, last] = [some[0], some.at(-1)];
  return `${name} from ${day(first.day)}, ${score(first.value)}, to today, ${score(last.value)}; highest on ${day(top.day)}, ${score(top.value)}`;
}

/** The value under the pointer, as a line and a text. */
function reading({ days, values, x, y, width, height }, drawing) {
  const mark = svg("g", { class: "reading", hidden: true });
  drawing.addEventListener("pointermove", (event) => {
    const at = event.clientX - drawing.getBoundingClientRect().left;
    const step = x(1) - x(0) || 1;
    const index = Math.max(0, Math.min(days.length - 1, Math.round((at - MARGIN.left) / step)));
    const value = values[index];
    const [px, anchor] = [round(x(index)), x(index) > width / 2 ? "end" : "start"];
    mark.replaceChildren(
      svg("path", { d: `M${px} ${MARGIN.top}V${height - MARGIN.bottom}` }),
      svg(
        "text",
        { class: `tick ${anchor}`, x: px + (anchor === "end" ? -6 : 6), y: MARGIN.top + 10 },
        `${day(days[index])}: ${score(value)}`,
      ),
    );
    if (value !== null && value !== undefined)
      mark.append(svg("circle", { cx: px, cy: round(y(value)), r: 3 }));
    mark.removeAttribute("hidden");
  });
  drawing.addEventListener("pointerleave", () => mark.setAttribute("hidden", ""));
  return mark;
}

/** One step of a sum: a bar from *start*, *length* long, of *whole*. */
export function step(start, length, whole, kind = "part") {
  const each = whole > 0 ? 100 / whole : 0;
  return svg(
    "svg",
    {
      class: `step ${kind}`,
      viewBox: "0 0 100 10",
      preserveAspectRatio: "none",
      "aria-hidden": "true",
      focusable: "false",
    },
    svg("rect", { class: "track", width: 100, height: 10 }),
    svg("rect", {
      class: "fill",
      x: round(start * each),
      width: round(Math.max(length * each, length > 0 ? 0.6 : 0)),
      height: 10,
    }),
  );
}

/** A count against the usual: a bar, and a line where the usual is. */
export function against(value, usual, most) {
  const each = most > 0 ? 96 / most : 0;
  return svg(
    "svg",
    {
      class: "against",
      viewBox: "0 0 100 14",
      preserveAspectRatio: "none",
      "aria-hidden": "true",
      focusable: "false",
    },
    svg("rect", { class: "track", width: 100, height: 14 }),
    svg("rect", { class: "fill", y: 3, width: round(value * each), height: 8 }),
    svg("path", { class: "usual", d: `M${round(usual * each)} 0V14`, "vector-effect": "non-scaling-stroke" }),
  );
}

/** What came from them (to the left) and from us (to the right). */
export function exchange(inbound, outbound, most) {
  const each = most > 0 ? 50 / most : 0;
  return svg(
    "svg",
    {
      class: "exchange",
      viewBox: "0 0 100 10",
      preserveAspectRatio: "none",
      "aria-hidden": "true",
      focusable: "false",
    },
    svg("rect", { class: "track", width: 100, height: 10 }),
    svg("rect", { class: "theirs", x: round(50 - inbound * each), width: round(inbound * each), height: 10 }),
    svg("rect", { class: "ours", x: 50, width: round(outbound * each), height: 10 }),
    svg("path", { class: "axis", d: "M50 0V10", "vector-effect": "non-scaling-stroke" }),
  );
}

/** A stage of the funnel: a centred bar of its *parts* (tier, n), as a share of *most*. */
export function stageBar(parts, most) {
  const total = parts.reduce((sum, part) => sum + part.n, 0);
  const each = most > 0 ? 100 / most : 0;
  let at = 50 - (total * each) / 2;
  const bars = parts
    .filter(({ n }) => n > 0)
    .map(({ tier, n }) => {
      const rect = svg("rect", {
        class: `tier tier-${tier}`,
        x: round(at),
        width: round(n * each),
        height: 10,
      });
      at += n * each;
      return rect;
    });
  return svg(
    "svg",
    {
      class: "stagebar",
      viewBox: "0 0 100 10",
      preserveAspectRatio: "none",
      "aria-hidden": "true",
      focusable: "false",
    },
    bars,
  );
}

/** What joins two stages of the picture. */
export function joint(upper, lower, most) {
  const each = most > 0 ? 50 / most : 0;
  const [a, b] = [round(upper * each), round(lower * each)];
  const d = `M${50 - a} 0H${50 + a}L${50 + b} 10H${50 - b}z`;
  return svg(
    "svg",
    {
      class: "joint",
      viewBox: "0 0 100 10",
      preserveAspectRatio: "none",
      "aria-hidden": "true",
      focusable: "false",
    },
    svg("path", { d }),
  );
}

/** A score in words, number and bar; `change` is a text such as "+4 in 7 days". */
export function scoreBox(name, value, note = null) {
  return el(
    "div",
    { class: "score" },
    el("dt", {}, name),
    el(
      "dd",
      {},
      el("span", { class: "number" }, score(value)),
      meter(value),
      note && el("span", { class: "note" }, note),
    ),
  );
}
