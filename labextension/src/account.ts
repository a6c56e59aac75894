/** The balance of the signed-in user, or why it is not known. */

import { URLExt } from "@jupyterlab/coreutils";
import { ServerConnection } from "@jupyterlab/services";
import { Poll } from "@lumino/polling";

const ROUTE = "api/iam/v1/usage/credits";
const TIMEOUT_MS = 30_000;
const INTERVAL_MS = 10_000;
const MAX_BACKOFF_MS = 5 * 60_000;

export interface Problem {
  problem: "not-configured" | "starting" | "refused" | "unavailable";
  message: string;
}

/** What is known about the account. Signed out, the checkout page leads to the login. */
export type State = { is: "loading" } | { is: "signed-out" } | { credits: number } | Problem;

/**
 * Poll the balance while the page is visible, with growing pauses after errors.
 *
 * Polling instead of the service's stream: with HTTP/1.1 a browser opens at most six connections to
 * a host, which JupyterLab needs, and a stream uses one in each tab.
 */
export class Account {
  state: State = { is: "loading" };
  #settings: ServerConnection.ISettings;
  #listeners: (() => void)[] = [];

  constructor(settings: ServerConnection.ISettings) {
    this.#settings = settings;
    const poll = new Poll({
      name: "datalayer-stripe:credits",
      factory: () => this.#refresh(),
      frequency: { interval: INTERVAL_MS, backoff: true, max: MAX_BACKOFF_MS },
      standby: "when-hidden",
      linger: 0,
    });
    // A person who has paid in another tab or window comes back to this one.
    document.addEventListener("visibilitychange", () => {
      if (!document.hidden) void poll.refresh();
    });
    window.addEventListener("focus", () => void poll.refresh());
  }

  /** Call `listener` after each change of `state`. */
  onChange(listener: () => void): void {
    this.#listeners.push(listener);
  }

  /** Rejects if the balance is not known and the next poll should wait longer. */
  async #refresh(): Promise<void> {
    this.state = await this.#fetch();
    for (const listener of this.#listeners) listener();
    if ("problem" in this.state && this.state.problem !== "starting") {
      throw new Error(this.state.message);
    }
  }

  async #fetch(): Promise<State> {
    const url = URLExt.join(this.#settings.baseUrl, ROUTE);
    const init = { cache: "no-store", signal: AbortSignal.timeout(TIMEOUT_MS) } as const;
    try {
      const response = await ServerConnection.makeRequest(url, init, this.#settings);
      // A proxy in front of the server may respond without JSON.
      const body: unknown = await response.json().catch(() => null);
      return readState(response.status, body);
    } catch {
      return { problem: "unavailable", message: "The server cannot be reached." };
    }
  }
}

function readState(status: number, body: unknown): State {
  const { credits, code, message } = (body ?? {}) as {
    credits?: { credits?: unknown };
    code?: unknown;
    message?: unknown;
  };
  if (status === 200 && typeof credits?.credits === "number") return { credits: credits.credits };
  if (status === 401) return { is: "signed-out" };
  return {
    problem: problemOf(status, code),
    message:
      typeof message === "string" ? message : `The server has answered with status ${status}.`,
  };
}

function problemOf(status: number, code: unknown): Problem["problem"] {
  if (code === "not_configured") return "not-configured";
  if (code === "starting") return "starting";
  return status === 403 ? "refused" : "unavailable";
}
