// The order of Today, and what an alert or new scores do to it. Nothing here touches the page.

const DAY_MS = 86_400_000;
const RANKS = { high: 0, medium: 1, low: 2 };
const SCORES = [
  "engagement",
  "engagement_minutes",
  "intent_surge",
  "relationship",
  "surging",
  "stage",
  "target",
  "tier",
  "owner_id",
];
const MOST_ALERTS = 5;

export const openAlerts = (row) => row.alerts.filter((alert) => !alert.acknowledged);

/** A row of the API with `alerts` always a list, whichever call it came from. */
export function asRow(row) {
  return { next_step: null, ...row, alerts: row.alerts ?? (row.alert ? [row.alert] : []) };
}

/** Lower is more urgent: alerts of the last day by severity, then newest; surging; engagement. */
export function urgency(row, now) {
  const recent = openAlerts(row).filter((alert) => now - Date.parse(alert.at) < DAY_MS);
  const rank = (alert) => RANKS[alert.severity] ?? 3;
  const worst = Math.min(4, ...recent.map(rank));
  const newest = Math.max(
    0,
    ...recent.filter((alert) => rank(alert) === worst).map((alert) => Date.parse(alert.at)),
  );
  return [worst, -newest, row.surging?.length ? 0 : 1, -(row.engagement ?? 0)];
}

function before(a, b) {
  const at = a.findIndex((value, index) => value !== b[index]);
  return at >= 0 && a[at] < b[at];
}

/** *rows* with *row* at its place; the others keep theirs. */
export function placed(rows, row, now) {
  const others = rows.filter((each) => each.account_id !== row.account_id);
  const own = urgency(row, now);
  const at = others.findIndex((each) => before(own, urgency(each, now)));
  return at < 0 ? [...others, row] : others.toSpliced(at, 0, row);
}

/** *rows* after *alert*, whose account need not be among them. */
export function withAlert(rows, alert, now) {
  const row = rows.find((each) => each.account_id === alert.account_id) ?? newRow(alert);
  if (row.alerts.some((each) => each.id === alert.id)) return rows;
  const alerts = [alert, ...row.alerts].slice(0, MOST_ALERTS);
  return placed(rows, { ...row, ...alert.after, alerts, next_step: alert.next_step ?? row.next_step }, now);
}

function newRow(alert) {
  const { account_id, account_name, sentence, stage, target, tier, owner_id, event_time } = alert;
  const scores = { engagement: null, intent_surge: null, relationship: null, surging: [] };
  const facts = { account_id, name: account_name, stage, target, tier, owner_id, last_event_at: event_time };
  return { ...scores, ...facts, reason: sentence, sparkline: [], alerts: [], next_step: null };
}

/** *rows* with the scores of *message*, in the order they had. */
export function withScores(rows, message) {
  const fields = Object.fromEntries(
    SCORES.filter((name) => name in message).map((name) => [name, message[name]]),
  );
  const changed = (row) => ({
    ...row,
    ...fields,
    last_event_at: message.last_event_at ?? row.last_event_at,
    sparkline:
      row.sparkline.length && "engagement" in fields
        ? [...row.sparkline.slice(0, -1), fields.engagement]
        : row.sparkline,
  });
  return rows.map((row) => (row.account_id === message.account_id ? changed(row) : row));
}

/** *rows* without the alert *id*. */
export function withoutAlert(rows, id) {
  return rows.map((row) => ({ ...row, alerts: row.alerts.filter((alert) => alert.id !== id) }));
}

/** Whether an account, or an alert of it, is among what *filters* ask for. */
export function matches({ owner_id, tier, stage }, filters) {
  const same = (value, wanted) => !wanted || String(value ?? "none") === wanted;
  return same(owner_id, filters.owner) && same(tier, filters.tier) && same(stage, filters.stage);
}
