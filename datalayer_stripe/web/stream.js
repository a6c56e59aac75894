/**
 * Receive changes of the account from the event stream, and poll while the stream is not connected.
 *
 * The stream is only open while the page is visible: with HTTP/1.1 a browser opens at most six
 * connections to a host, and a stream uses one. When the page becomes visible again, the stream
 * first sends what has changed.
 */

import { EventParser } from "./events.js";
import { jitter, pause, waitUntilVisible } from "./timing.js";

const HEARTBEAT_TIMEOUT_MS = 40_000;
const MIN_BACKOFF_MS = 1_000;
const MAX_BACKOFF_MS = 30_000;
const POLL_MS = 5_000;

export class Stream {
  isConnected = false;
  #api;
  #signal;
  #onEvent;
  #poll;
  #lastEventId = "";
  #failures = 0;

  /** `onEvent(type, data)` is called for each event; `poll` fetches the same data. */
  constructor({ api, signal, onEvent, poll }) {
    this.#api = api;
    this.#signal = signal;
    this.#onEvent = onEvent;
    this.#poll = poll;
  }

  /** Run until the signal is aborted. Rejects then. */
  run() {
    return Promise.all([this.#keepConnected(), this.#keepPolling()]);
  }

  async #keepConnected() {
    for (;;) {
      let retryAfter = 0;
      await waitUntilVisible(this.#signal);
      try {
        await this.#read();
      } catch (error) {
        this.#signal.throwIfAborted();
        retryAfter = error.retryAfter ?? 0;
      }
      this.isConnected = false;
      if (document.hidden) continue;
      const backoff = Math.min(MIN_BACKOFF_MS * 2 ** this.#failures, MAX_BACKOFF_MS);
      this.#failures += 1;
      await pause(retryAfter * 1000 + jitter(backoff), this.#signal);
    }
  }

  async #read() {
    const connection = new AbortController();
    const abortIfHidden = () => document.hidden && connection.abort();
    document.addEventListener("visibilitychange", abortIfHidden);
    // The service sends a heartbeat every 15 s. Without one, the connection is dead: reconnect.
    let watchdog = setTimeout(() => connection.abort(), HEARTBEAT_TIMEOUT_MS);
    try {
      const response = await this.#api.stream(this.#lastEventId, connection.signal);
      const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
      const parser = new EventParser();
      for (;;) {
        const { value, done } = await reader.read();
        if (done) return;
        clearTimeout(watchdog);
        watchdog = setTimeout(() => connection.abort(), HEARTBEAT_TIMEOUT_MS);
        this.isConnected = true;
        this.#failures = 0;
        for (const event of parser.feed(value)) {
          this.#lastEventId = parser.lastEventId;
          this.#onEvent(event.type, JSON.parse(event.data));
        }
      }
    } finally {
      clearTimeout(watchdog);
      document.removeEventListener("visibilitychange", abortIfHidden);
    }
  }

  async #keepPolling() {
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
