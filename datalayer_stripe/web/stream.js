/**
 * What changes on the account, as it changes: by the stream, and while there is none by asking.
 *
 * Only while the page is looked at: by HTTP/1.1 a browser has six connections to a host, and a
 * stream takes one of them. Whoever comes back is told at once what has changed meanwhile.
 */

import { EventParser } from "./events.js";
import { jitter, pause, untilVisible } from "./timing.js";

const SILENCE_MS = 40_000;
const FIRST_PAUSE_MS = 1_000;
const LONGEST_PAUSE_MS = 30_000;
const POLL_MS = 5_000;

export class Stream {
  isConnected = false;
  #api;
  #signal;
  #onEvent;
  #poll;
  #lastEventId = "";
  #failures = 0;

  /** `onEvent(type, data)` gets each event with its data parsed; `poll` asks for the same. */
  constructor({ api, signal, onEvent, poll }) {
    this.#api = api;
    this.#signal = signal;
    this.#onEvent = onEvent;
    this.#poll = poll;
  }

  /** Goes on until the signal is aborted, and then rejects. */
  run() {
    return Promise.all([this.#keepConnected(), this.#keepAsking()]);
  }

  async #keepConnected() {
    for (;;) {
      let retryAfter = 0;
      await untilVisible(this.#signal);
      try {
        await this.#read();
      } catch (error) {
        this.#signal.throwIfAborted();
        retryAfter = error.retryAfter ?? 0;
      }
      this.isConnected = false;
      if (document.hidden) continue;
      const growing = Math.min(FIRST_PAUSE_MS * 2 ** this.#failures, LONGEST_PAUSE_MS);
      this.#failures += 1;
      await pause(retryAfter * 1000 + jitter(growing), this.#signal);
    }
  }

  async #read() {
    const connection = new AbortController();
    const left = () => document.hidden && connection.abort();
    document.addEventListener("visibilitychange", left);
    // Heartbeats come every 15 s: a connection without any is dead, though nobody has said so.
    let watchdog = setTimeout(() => connection.abort(), SILENCE_MS);
    try {
      const response = await this.#api.stream(this.#lastEventId, connection.signal);
      const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
      const parser = new EventParser();
      for (;;) {
        const { value, done } = await reader.read();
        if (done) return;
        clearTimeout(watchdog);
        watchdog = setTimeout(() => connection.abort(), SILENCE_MS);
        this.isConnected = true;
        this.#failures = 0;
        for (const event of parser.feed(value)) {
          this.#lastEventId = parser.lastEventId;
          this.#onEvent(event.type, JSON.parse(event.data));
        }
      }
    } finally {
      clearTimeout(watchdog);
      document.removeEventListener("visibilitychange", left);
    }
  }

  async #keepAsking() {
    let retryAfter = 0;
    for (;;) {
      await pause(retryAfter * 1000 + jitter(POLL_MS), this.#signal);
      retryAfter = 0;
      if (this.isConnected || document.hidden) continue;
      try {
        await this.#poll();
      } catch (error) {
        this.#signal.throwIfAborted();
        retryAfter = error.retryAfter ?? 0;
      }
    }
  }
}
