/** The views of the operator's page, and the way from one to another. */

import { announce, byId, element, fill } from "../dom.js";
import { failure } from "../failure.js";
import { ApiError } from "../http.js";
import { accountView } from "./account-view.js";
import { accountsView } from "./accounts-view.js";
import { checksView } from "./checks-view.js";
import { eventsView } from "./events-view.js";
import { overviewView } from "./overview-view.js";
import { parseRoute } from "./routes.js";
import * as texts from "./texts.js";

// A Map has no entry for a name that all objects have, such as `constructor`.
const VIEWS = new Map([
  ["overview", { heading: () => texts.overview, render: overviewView }],
  ["events", { heading: () => texts.events, render: eventsView }],
  ["accounts", { heading: (id) => id ?? texts.accounts, render: accountOrSearch }],
  ["checks", { heading: () => texts.checks, render: checksView }],
]);
const UNKNOWN = { heading: () => texts.unknownView, render: unknownView };

// Errors that concern the whole page: the caller is no operator, or the page is off.
const FATAL_STATUSES = new Set([403, 404]);

export class Admin {
  #api;
  #signal;
  #onFatal;
  #leave = new AbortController();

  /** `onFatal(error)` shows an error in place of the whole page. */
  constructor({ api, signal, onFatal }) {
    this.#api = api;
    this.#signal = signal;
    this.#onFatal = onFatal;
  }

  /** Show the view that the address names, now and whenever the address changes. */
  async open() {
    window.addEventListener("hashchange", () => this.#show({ isMove: true }), {
      signal: this.#signal,
    });
    this.#signal.addEventListener("abort", () => this.#leave.abort());
    await this.#show({ isMove: false });
  }

  async #show({ isMove }) {
    this.#leave.abort();
    this.#leave = new AbortController();
    const { signal } = this.#leave;
    byId("replay-dialog").close();
    const route = parseRoute(location.hash);
    const view = VIEWS.get(route.section) ?? UNKNOWN;
    const heading = view.heading(route.id);
    const body = element("div", { className: "view-body", "aria-busy": "true" }, skeleton());
    fill(
      byId("view"),
      element("h2", { id: "view-heading", tabIndex: -1 }, heading),
      body,
    );
    document.title = texts.pageTitle(heading);
    markSection(route.section);
    if (isMove) {
      byId("view-heading").focus();
      scrollTo(0, 0);
    }
    await this.#load(view, body, { route, signal });
  }

  async #load(view, body, { route, signal }) {
    const reload = () => this.#load(view, body, { route, signal });
    // A view that is left is rendered into elements that are no longer shown.
    const content = element("div", {});
    try {
      const { id, parameters } = route;
      const options = { body: content, api: this.#api, id, parameters, signal, reload };
      const onShown = await view.render(options);
      fill(body, content);
      onShown?.();
      announce(texts.loaded(view.heading(id)));
    } catch (error) {
      if (signal.aborted) return;
      if (!(error instanceof ApiError)) throw error;
      if (FATAL_STATUSES.has(error.status)) return this.#onFatal(error);
      fill(body, failure(error, texts.loadFailed, reload));
    } finally {
      body.removeAttribute("aria-busy");
    }
  }
}

function accountOrSearch(options) {
  return options.id === null ? accountsView(options) : accountView(options);
}

function unknownView({ body }) {
  body.append(element("p", { className: "empty" }, texts.unknownViewAdvice));
}

const skeleton = () => element("div", { className: "panel skeleton" });

function markSection(section) {
  for (const link of document.querySelectorAll("#sections a")) {
    if (link.dataset.section === section) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
}
