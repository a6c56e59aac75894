/** A list of events with the state of each plugin, what to do, and replay. */

import { openConfirmDialog } from "../confirm-dialog.js";
import { announce, button, element } from "../dom.js";
import { adviceFor } from "./advice.js";
import { timeElement } from "./format.js";
import { accountLink } from "./routes.js";
import { stripeLink } from "./stripe-link.js";
import * as texts from "./texts.js";

const isLive = document.documentElement.dataset.mode === "live";
const UNSUCCESSFUL = new Set(["rejected", "failed", "overloaded"]);

/** Create the list. `showAccount` says whether each event names its account. */
export function eventList(events, { api, showAccount = true }) {
  const item = (event) => element("li", { id: event.id, className: "event" }, ...parts(event));
  // A replay changes one event: the others keep their place.
  const parts = (event, outcome = null) => [
    head(event, showAccount),
    plugins(event),
    advice(event),
    outcome && resultOf(outcome),
    actions(event, () => confirmReplay(event)),
  ];
  const confirmReplay = (event) =>
    openConfirmDialog("replay", texts.replayText(event.type, event.id, isLive), {
      busy: texts.replaying,
      action: () => api.replay(event.id),
      onDone: ({ outcome, handlers }) => {
        Object.assign(event, { handlers, ...openPlugins(handlers) });
        const node = document.getElementById(event.id);
        if (node === null) return; // another view is shown
        node.replaceChildren(...parts(event, outcome).filter((part) => part !== null));
        const result = node.querySelector(".result");
        result.focus();
        announce(result.textContent);
      },
    });
  return element("ul", { className: "events" }, ...events.map(item));
}

function resultOf(outcome) {
  const className = UNSUCCESSFUL.has(outcome) ? "result unsuccessful" : "result";
  return element("p", { className, tabIndex: -1 }, texts.replayOutcomes[outcome] ?? outcome);
}

/** Return the plugins that have failed or rejected an event. */
function openPlugins(handlers) {
  const named = (status) =>
    Object.entries(handlers)
      .filter(([, run]) => run.status === status)
      .map(([name]) => name);
  return { failed: named("failed"), rejected: named("rejected") };
}

function stateOf({ handlers, failed, rejected }) {
  if (rejected.length > 0) return "rejected";
  if (failed.length > 0) return "failed";
  const statuses = Object.values(handlers).map(({ status }) => status);
  if (statuses.length === 0) return "none";
  return statuses.includes("deferred") ? "deferred" : "done";
}

function head(event, showAccount) {
  const state = stateOf(event);
  const about = [event.object_id && element("code", {}, event.object_id)];
  if (state === "done") about.push(...Object.entries(event.handlers).map(doneBy));
  if (showAccount && event.account_uid) {
    about.push(element("a", { href: accountLink(event.account_uid) }, event.account_uid));
  }
  return element(
    "div",
    { className: "event-head" },
    element("h3", {}, ...breakable(event.type)),
    element("span", { className: `badge ${state}` }, texts.eventStates[state]),
    element(
      "p",
      { className: "muted" },
      timeElement(event.received_at),
      ...[element("code", {}, event.id), ...about].filter(Boolean).flatMap((part) => [" · ", part]),
    ),
  );
}

/** Return the parts of an event type, so that narrow screens break it before a dot. */
const breakable = (type) =>
  type.split(/(?=\.)/).flatMap((part) => [document.createElement("wbr"), part]);

const doneBy = ([name, { writes }]) =>
  writes === 0 ? `${name}: ${texts.nothingToWrite}` : `${name}: ${texts.eventStates.done}`;

/** Create the state of each plugin, unless all have finished and the head names them. */
function plugins(event) {
  if (stateOf(event) === "done") return null;
  const rows = Object.entries(event.handlers).map(([name, run]) =>
    element(
      "div",
      {},
      element("dt", {}, name),
      element(
        "dd",
        {},
        pluginState(run),
        run.error && run.status !== "done"
          ? element("span", { className: "reason" }, run.error)
          : null,
      ),
    ),
  );
  return rows.length > 0 ? element("dl", { className: "plugins" }, ...rows) : null;
}

function pluginState({ status, attempts, writes }) {
  if (status === "done") return writes === 0 ? texts.nothingToWrite : texts.eventStates.done;
  const text = texts.eventStates[status] ?? status;
  return attempts > 1 ? `${text}, ${texts.attempts(attempts)}` : text;
}

function advice(event) {
  const found = adviceFor(event);
  if (found === null) return null;
  return element(
    "p",
    { className: "advice" },
    element("strong", {}, `${texts.whatToDo}: `),
    found.text,
    found.command && element("code", { className: "command" }, found.command),
  );
}

function actions(event, onReplay) {
  const link = stripeLink(event.dashboard_url, event.id);
  const replay = stateOf(event) === "done" ? null : replayOf(event, onReplay);
  return replay || link ? element("p", { className: "actions" }, replay, link) : null;
}

function replayOf({ id }, onReplay) {
  return button(texts.replay, onReplay, { "aria-label": texts.replayOf(id) });
}
