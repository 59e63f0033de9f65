// Words and numbers as salespeople read them.

export const STAGES = ["target", "engaged", "opportunity", "customer", "retained", "expanded"];

const RULES = {
  high_value_page: "High-value page",
  surge_started: "Surge started",
  stage_changed: "Stage changed",
  relationship_cooling: "Relationship cooling",
  competitor_research: "Competitor research",
};
const CHANNELS = {
  ad: "Ads",
  page_visit: "Page visits",
  chat: "Chats",
  email: "Emails",
  meeting: "Meetings",
  intent: "Intent signals",
};
const SENIORITIES = {
  c_level: "C-level",
  vp: "VP",
  director: "Director",
  manager: "Manager",
  other: "Other",
};
const TOUCHES = {
  "ad click": "Clicked an ad",
  "ad impression": "Saw an ad",
  "chat started": "Chat started",
  "chat message": "Chat message",
  "chat ended": "Chat",
  "email sent": "Email",
  "email replied": "Email reply",
  "email opened": "Opened an email",
  "email clicked": "Clicked in an email",
  "email bounced": "Email bounced",
  "email unsubscribed": "Unsubscribed",
  "meeting booked": "Booked a meeting",
  "meeting held": "Meeting",
  "meeting cancelled": "Cancelled a meeting",
  "meeting no_show": "Missed a meeting",
};

/** `some_name` as "Some name": what is not in a table is still readable. */
export function words(name) {
  const text = String(name).replaceAll("_", " ");
  return text.charAt(0).toUpperCase() + text.slice(1);
}

export const ruleName = (rule) => RULES[rule] ?? words(rule);
export const channelName = (channel) => CHANNELS[channel] ?? words(channel);
export const seniorityName = (seniority) =>
  seniority ? (SENIORITIES[seniority] ?? words(seniority)) : "Unknown";
export const stageName = (stage) => (stage && stage !== "none" ? words(stage) : "No stage");
export const tierName = (tier) =>
  tier === null || tier === undefined || tier === "none" ? "No tier" : `Tier ${tier}`;
export const topicName = (topic) => (topic === "*" ? "All topics" : topic);

/** The named topics among *topics*, the first three of them in full. */
export function topicList(topics) {
  const named = topics.filter((topic) => topic !== "*");
  const shown = (named.length ? named : topics).slice(0, 3).map(topicName).join(", ");
  return named.length > 3 ? `${shown} and ${named.length - 3} more` : shown;
}

/** What happened in a touch, in words. */
export function touchText({ channel, label }) {
  if (channel === "page_visit") return `Read ${path(label)}`;
  if (channel === "intent") return label === "*" ? "Read elsewhere" : `Read about ${label} elsewhere`;
  const [, direction, action] = /^(inbound |outbound )?(.*)$/s.exec(label);
  const text = TOUCHES[`${channel} ${action}`] ?? [channelName(channel), action].filter(Boolean).join(": ");
  if (!direction || action === "ended") return text;
  return `${text} from ${direction === "inbound " ? "them" : "us"}`;
}

function path(url) {
  try {
    return new URL(url).pathname;
  } catch {
    return url || "a page";
  }
}

export const score = (value) => (value === null || value === undefined ? "–" : String(Math.round(value)));
export const tenth = (value) => (value ?? 0).toFixed(1);
export const percent = (share) => `${Math.round(100 * share)} %`;
const grouped = new Intl.NumberFormat("en-GB");
export const count = (value) => grouped.format(value);
export const counted = (n, one, many = `${one}s`) => `${count(n)} ${n === 1 ? one : many}`;

/** A change with its sign, as text: "+4", "−12", "±0". */
export function signed(value) {
  const whole = Math.round(value);
  if (whole === 0) return "±0";
  return whole > 0 ? `+${whole}` : `−${-whole}`;
}

const SPANS = [
  [86_400, "day", "days"],
  [3600, "h", "h"],
  [60, "min", "min"],
];

/** How long *seconds* are, in one unit. */
export function span(seconds) {
  for (const [size, one, many] of SPANS) {
    const whole = Math.floor(seconds / size);
    if (whole >= 1) return `${whole} ${whole === 1 ? one : many}`;
  }
  return `${Math.max(0, Math.floor(seconds))} s`;
}

/** "4 min ago", "in 3 h"; the date itself from a month on. */
export function relative(time, now) {
  const seconds = (now - time) / 1000;
  if (Math.abs(seconds) < 60) return "just now";
  if (Math.abs(seconds) > 31 * 86_400) return date(time);
  return seconds > 0 ? `${span(seconds)} ago` : `in ${span(-seconds)}`;
}

const dates = new Intl.DateTimeFormat("en-GB", { day: "numeric", month: "short", year: "numeric" });
const days = new Intl.DateTimeFormat("en-GB", { day: "numeric", month: "short", timeZone: "UTC" });
const weekdays = new Intl.DateTimeFormat("en-GB", { weekday: "long", day: "numeric", month: "long" });
const clocks = new Intl.DateTimeFormat("en-GB", { hour: "2-digit", minute: "2-digit" });
const moments = new Intl.DateTimeFormat("en-GB", { dateStyle: "medium", timeStyle: "short" });
export const date = (time) => dates.format(time);
export const day = (iso) => days.format(Date.parse(`${iso}T00:00:00Z`));
export const weekday = (time) => weekdays.format(time);
export const clock = (time) => clocks.format(time);
export const moment = (time) => moments.format(time);
