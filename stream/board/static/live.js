// The event stream, read with fetch: an EventSource cannot send the token.

import { authorization, heardClock, renewToken, withQuery } from "./api.js";

const SILENCE_MS = 25_000;
const PATIENCE_MS = 15_000;
const HIDDEN_MS = 60_000;
const FIRST_WAIT_MS = 1000;
const LONGEST_WAIT_MS = 30_000;
const AT_ONCE = -1;
const NEVER = -2;

/** Splits a text stream into events: feed it pieces, it calls *emit* with {id, event, data}. */
export function eventParser(emit) {
  let rest = "";
  let event = { id: null, event: "message", data: [] };
  const line = (text) => {
    if (text === "") {
      if (event.data.length) emit({ ...event, data: event.data.join("\n") });
      event = { id: event.id, event: "message", data: [] };
      return;
    }
    const [, field, value] = /^([^:]*):? ?(.*)$/s.exec(text);
    if (field === "data") event.data.push(value);
    else if (field === "event" || field === "id") event[field] = value;
  };
  return (piece) => {
    const lines = (rest + piece).split(/\r\n|\n|\r(?=.)/s);
    rest = lines.pop();
    lines.forEach(line);
  };
}

/** How long to wait before the n-th retry in a row, with jitter so that pages spread. */
export function waitBefore(retry, random = Math.random()) {
  return Math.min(LONGEST_WAIT_MS, FIRST_WAIT_MS * 2 ** retry) * (0.75 + 0.5 * random);
}

/**
 * Keeps a stream open for as long as the page lives.
 *
 * `on.state(state, {retryAt})` hears `connecting`, `live`, `stale` (open, but silent), `offline`
 * and `locked` (no token); `on.alert`, `on.scores` hear data; `on.resumed` that events may have
 * been missed. A page that `rests` drops the stream while it is hidden: browsers allow six.
 */
export class Live {
  #on;
  #query;
  #rests;
  #retry = 0;
  #opened = 0;
  #lastId = null;
  #abort = null;
  #timers = {};

  constructor(on, { query = {}, rests = false } = {}) {
    this.#on = on;
    this.#query = query;
    this.#rests = rests;
  }

  start() {
    document.addEventListener("visibilitychange", () => this.#visibility());
    window.addEventListener("online", () => this.tryNow());
    window.addEventListener("pagehide", () => this.#close());
    window.addEventListener("pageshow", (event) => event.persisted && this.tryNow());
    if (!document.hidden || !this.#rests) this.#connect();
  }

  /** Connects at once unless the stream is open. */
  tryNow() {
    if (this.#abort) return;
    this.#retry = 0;
    this.#connect();
  }

  #visibility() {
    clearTimeout(this.#timers.hidden);
    if (!document.hidden) this.tryNow();
    else if (this.#rests) this.#timers.hidden = setTimeout(() => this.#close(), HIDDEN_MS);
  }

  #close() {
    clearTimeout(this.#timers.retry);
    clearTimeout(this.#timers.silence);
    this.#abort?.abort();
    this.#abort = null;
  }

  async #connect() {
    this.#close();
    const abort = (this.#abort = new AbortController());
    this.#on.state("connecting", {});
    try {
      await this.#read(abort.signal);
    } catch (error) {
      if (error.name !== "AbortError") console.info("event stream:", error.message);
    }
    if (this.#abort === abort) this.#lost();
  }

  async #read(signal) {
    const headers = { Accept: "text/event-stream", ...authorization() };
    if (this.#lastId) headers["Last-Event-ID"] = this.#lastId;
    const response = await fetch(withQuery("/api/v1/stream", this.#query), {
      headers,
      signal,
      cache: "no-store",
    });
    if (response.status === 401) return this.#locked(headers.Authorization);
    if (!response.ok) throw new Error(`status ${response.status}`);
    this.#open();
    const parse = eventParser((event) => this.#hear(event));
    const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return;
      this.#alive();
      parse(value);
    }
  }

  async #locked(sent) {
    this.#on.state("locked", {});
    const renewed = authorization().Authorization !== sent || (await renewToken());
    this.#retry = renewed ? AT_ONCE : NEVER;
  }

  #open() {
    this.#opened += 1;
    this.#alive();
    if (this.#opened > 1) this.#on.resumed?.();
  }

  #alive() {
    this.#retry = 0;
    this.#on.state("live", {});
    clearTimeout(this.#timers.silence);
    this.#timers.silence = setTimeout(() => this.#silent(), SILENCE_MS);
  }

  /** A connection may be dead without a word: try another one. */
  #silent() {
    this.#on.state("stale", {});
    this.#timers.silence = setTimeout(() => this.#connect(), PATIENCE_MS);
  }

  #hear({ id, event, data }) {
    if (id) this.#lastId = id;
    let value;
    try {
      value = JSON.parse(data);
    } catch {
      return;
    }
    if (event === "beat") heardClock(value.at);
    else this.#on[event]?.(value);
  }

  #lost() {
    this.#abort = null;
    clearTimeout(this.#timers.silence);
    if (this.#retry === NEVER) return;
    const wait = this.#retry === AT_ONCE ? 0 : waitBefore(this.#retry);
    this.#retry += 1;
    if (wait > 0) this.#on.state("offline", { retryAt: Date.now() + wait });
    this.#timers.retry = setTimeout(() => this.#connect(), wait);
  }
}
