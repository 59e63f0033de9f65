// The HTTP API: one request function, the access token, and what the server's clock says.

const TOKEN = "surgeline-token";

/** What the API answered instead of data: status 0 when there was no answer at all. */
export class Problem extends Error {
  constructor(status, title, detail) {
    super(detail || title);
    this.status = status;
    this.title = title;
  }
}

let tokenPrompt = () => Promise.resolve(null);
let asking = null;
let offset = 0;

/** Milliseconds since 1970 by the server's clock, as last heard. */
export const serverNow = () => Date.now() + offset;

/** Notes the server's clock: *at* is an RFC 3339 or HTTP date. */
export function heardClock(at) {
  const time = Date.parse(at);
  if (Number.isFinite(time)) offset = time - Date.now();
}

/** Sets who asks for the token: a function of (was one refused) that resolves to it or null. */
export function askTokenWith(prompt) {
  tokenPrompt = prompt;
}

export function authorization() {
  const token = sessionStorage.getItem(TOKEN);
  return token ? { Authorization: `Bearer ${token}` } : {};
}

/** Asks for a token, once however many requests were refused; false when none was given. */
export function renewToken() {
  asking ??= tokenPrompt(sessionStorage.getItem(TOKEN) !== null)
    .then((token) => {
      if (token) sessionStorage.setItem(TOKEN, token);
      return Boolean(token);
    })
    .finally(() => {
      asking = null;
    });
  return asking;
}

/** The answer of *method* *path* (below /api/v1) as JSON; raises Problem. */
export async function request(method, path, body, signal) {
  const sent = authorization();
  const response = await answer(method, path, { body, signal, sent });
  if (response.status === 401) {
    const renewed = authorization().Authorization !== sent.Authorization;
    if (renewed || (await renewToken())) return request(method, path, body, signal);
  }
  if (!response.ok) throw await problemOf(response);
  return response.status === 204 ? null : response.json();
}

async function answer(method, path, { body, signal, sent }) {
  const headers = { Accept: "application/json", ...sent };
  if (body !== undefined) headers["Content-Type"] = "application/json";
  const options = { method, headers, signal, cache: "no-store" };
  if (body !== undefined) options.body = JSON.stringify(body);
  try {
    const response = await fetch(`/api/v1${path}`, options);
    heardClock(response.headers.get("Date"));
    return response;
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Problem(0, "No answer", "The board does not answer.");
  }
}

async function problemOf(response) {
  try {
    const { title, detail } = await response.json();
    return new Problem(response.status, title, detail);
  } catch {
    return new Problem(response.status, "Error", `The board answered ${response.status}.`);
  }
}

export const get = (path, signal) => request("GET", path, undefined, signal);

/** A path with *query*, without what is empty. */
export function withQuery(path, query) {
  const kept = Object.entries(query).filter(
    ([, value]) => value !== "" && value !== null && value !== undefined,
  );
  return kept.length ? `${path}?${new URLSearchParams(kept)}` : path;
}

export const accountPath = (id) => `/accounts/${encodeURIComponent(id)}`;
