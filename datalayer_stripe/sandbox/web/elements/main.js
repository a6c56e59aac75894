/** The script in an Element's iframe. The hash of its URL is the origin of the embedding page. */

import { createApi } from "../stripe/api.js";
import { applyAppearance } from "./appearance.js";
import * as fields from "./fields.js";

const pageOrigin = decodeURIComponent(location.hash.slice(1));
const send = (message) => parent.postMessage(message, pageOrigin);
const emit = (event, data) => send({ event, data });

let api;

const CALLS = {
  start({ key, appearance, options }) {
    api = createApi(location.origin, key);
    CALLS.update({ appearance: appearance ?? {}, options });
  },
  update({ appearance, options }) {
    if (appearance) applyAppearance(appearance);
    for (const input of document.querySelectorAll("input")) {
      input.disabled = Boolean(options?.disabled ?? input.disabled);
      input.readOnly = Boolean(options?.readOnly ?? input.readOnly);
    }
  },
  focus: fields.focus,
  blur: () => document.activeElement.blur(),
  clear() {
    fields.fill({ number: "", expiry: "", cvc: "" });
    reportChange();
  },
  validate() {
    const error = fields.validate();
    reportChange();
    return error ? { error } : {};
  },
  async createPaymentMethod(details) {
    const { error } = CALLS.validate();
    if (error) return { error };
    const params = { ...details, type: "card", card: fields.cardParams() };
    return api("POST", "/v1/payment_methods", params);
  },
};

let lastState;

function reportChange() {
  const state = fields.state();
  const now = JSON.stringify(state);
  if (now === lastState) return;
  lastState = now;
  emit("change", { ...state, value: { type: "card" } });
}

window.addEventListener("message", async ({ source, origin, data }) => {
  if (source !== parent || origin !== pageOrigin || !Object.hasOwn(CALLS, data.call)) return;
  send({ id: data.id, answer: await CALLS[data.call](data.argument) });
});

fields.watch(reportChange);
document.querySelector("form").addEventListener("submit", (event) => event.preventDefault());
document.addEventListener("focusin", ({ relatedTarget }) => relatedTarget ?? emit("focus"));
document.addEventListener("focusout", ({ relatedTarget }) => relatedTarget ?? emit("blur"));
for (const button of document.querySelectorAll("[data-card]")) {
  button.addEventListener("click", () => {
    fields.fill({ number: button.dataset.card, expiry: "1234", cvc: "123" });
    reportChange();
  });
}

new ResizeObserver(() => {
  emit("resize", { height: Math.ceil(document.body.getBoundingClientRect().height) });
}).observe(document.body);
emit("open");
