/** View of the payment section. The attribute `data-state` holds its state. */

import { announce, byId, element, fill, show } from "./dom.js";
import { failure } from "./failure.js";
import * as texts from "./texts.js";

// States in which a bank or support has to act, so that the person can leave the page.
const HANDLED_ELSEWHERE = new Set(["processing", "rejected"]);
const WITH_FORM = new Set(["loading", "form", "declined", "authenticating"]);

export class PaymentView {
  #section = byId("payment");
  #heading = byId("payment-heading");
  #submit = byId("payment-submit");
  #back = byId("payment-back");
  fields = byId("payment-element");

  constructor({ onSubmit, onBack }) {
    this.#back.onclick = onBack;
    byId("payment-form").onsubmit = (event) => {
      event.preventDefault();
      onSubmit();
    };
  }

  /** Whether the form waits for input. */
  get isIdle() {
    return ["form", "declined"].includes(this.#section.dataset.state);
  }

  /** Whether the focus is in this section or in one of Stripe's dialogs. */
  get hasFocus() {
    const focused = document.activeElement;
    return this.#section.contains(focused) || !focused?.closest("main");
  }

  loading(purchase, notice) {
    this.#enter("loading", purchase);
    show(byId("payment-notice"), notice);
    this.#heading.focus();
  }

  form(purchase, label, notice) {
    this.#enter("form", purchase);
    show(byId("payment-notice"), notice);
    this.#submit.textContent = label;
  }

  authenticating() {
    this.#enter("authenticating");
    this.#submit.textContent = texts.paying;
  }

  /** Show the form again with a message. The entered data is still in it. */
  formAgain(state, label, message) {
    this.#enter(state);
    this.#submit.textContent = label;
    byId("payment-alert").textContent = message;
  }

  /** Show the progress of a payment. The person can leave it if it ends without further input. */
  waiting(purchase, state, isLate) {
    const text = waitingText(purchase, state, isLate);
    const takesFocus = WITH_FORM.has(this.#section.dataset.state) && this.hasFocus;
    const canBeLeft = HANDLED_ELSEWHERE.has(state);
    this.#enter(canBeLeft ? state : "waiting", purchase);
    this.#back.hidden = !canBeLeft && !isLate;
    if (byId("payment-status").textContent !== text) {
      byId("payment-status").textContent = text;
      announce(text);
    }
    if (takesFocus) this.#heading.focus();
  }

  error(error, otherwise, retry) {
    this.#enter("error");
    fill(byId("payment-error"), failure(error, otherwise, retry));
  }

  close() {
    this.#section.hidden = true;
    byId("account").classList.remove("paying");
    delete this.#section.dataset.state;
    byId("payment-status").textContent = "";
  }

  done() {
    this.close();
    this.#section.dataset.state = "done";
  }

  #describe({ heading, facts }) {
    this.#heading.textContent = heading;
    const rows = facts.map(([term, detail]) =>
      element("div", {}, element("dt", {}, term), element("dd", {}, detail)),
    );
    fill(byId("payment-facts"), ...rows);
  }

  #enter(state, purchase) {
    this.#section.hidden = false;
    byId("account").classList.add("paying");
    this.#section.dataset.state = state;
    if (purchase) this.#describe(purchase);
    const hasForm = WITH_FORM.has(state);
    const isBusy = state === "loading" || state === "authenticating";
    byId("payment-form").hidden = !hasForm;
    byId("payment-form").setAttribute("aria-busy", isBusy);
    byId("payment-progress").hidden = hasForm;
    byId("payment-columns").hidden = state === "error";
    byId("payment-error").hidden = state !== "error";
    byId("payment-alert").textContent = "";
    this.#submit.hidden = state === "loading";
    // Use aria-disabled: with `disabled`, the button that was just pressed would lose the focus.
    this.#submit.setAttribute("aria-disabled", isBusy);
    this.#back.hidden = false;
    this.#back.disabled = state === "authenticating";
    if (state !== "loading" && state !== "form") show(byId("payment-notice"), "");
  }
}

function waitingText(purchase, state, isLate) {
  if (state === "asking") return texts.checkingPayment;
  if (state === "processing") return texts.processing;
  if (state === "rejected") return purchase.rejectedText;
  return isLate ? purchase.lateText : purchase.waitingText;
}
