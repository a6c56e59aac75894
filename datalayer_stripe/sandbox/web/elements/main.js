/** The inside of an Element's iframe. The page that embeds it is named in the address's hash. */

import { apiOf } from "../stripe/api.js";
import { applyAppearance } from "./appearance.js";
import * as fields from "./fields.js";

const page = decodeURIComponent(location.hash.slice(1));
const tell = (message) => parent.postMessage(message, page);
const emit = (event, data) => tell({ event, data });

let api;

const CALLS = {
  start({ key, appearance, options }) {
    api = apiOf(location.origin, key);
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
    changed();
  },
  validate() {
    const error = fields.validate();
    changed();
    return error ? { error } : {};
  },
  async createPaymentMethod(details) {
    const { error } = CALLS.validate();
    if (error) return { error };
    const params = { ...details, type: "card", card: fields.cardParams() };
    return api("POST", "/v1/payment_methods", params);
  },
};

let told;

function changed() {
  const state = fields.state();
  const now = JSON.stringify(state);
  if (now === told) return;
  told = now;
  emit("change", { ...state, value: { type: "card" } });
}

window.addEventListener("message", async ({ source, origin, data }) => {
  if (source !== parent || origin !== page || !Object.hasOwn(CALLS, data.call)) return;
  tell({ id: data.id, answer: await CALLS[data.call](data.argument) });
});

fields.watch(changed);
document.querySelector("form").addEventListener("submit", (event) => event.preventDefault());
document.addEventListener("focusin", ({ relatedTarget }) => relatedTarget ?? emit("focus"));
document.addEventListener("focusout", ({ relatedTarget }) => relatedTarget ?? emit("blur"));
for (const button of document.querySelectorAll("[data-card]")) {
  button.addEventListener("click", () => {
    fields.fill({ number: button.dataset.card, expiry: "1234", cvc: "123" });
    changed();
  });
}

new ResizeObserver(() => {
  emit("resize", { height: Math.ceil(document.body.getBoundingClientRect().height) });
}).observe(document.body);
emit("open");
