/**
 * The two kinds of purchases. Each has its texts, starts its payment, and fetches its state.
 *
 * `fetchState` resolves to { state, receipt }. The states:
 * - "open": not paid.
 * - "processing", "paid": the payment is in progress or made; not fulfilled yet.
 * - "rejected": paid, but an operator has to act before it is fulfilled.
 * - "done": fulfilled.
 * - "over": it cannot be paid any more.
 * - "unknown": only Stripe knows the state.
 */

import { money, moneyPerCredit, number } from "./money.js";
import { planSummary } from "./plan-view.js";
import * as texts from "./texts.js";

const STATES = { succeeded: "paid", processing: "processing", canceled: "over" };

/** Purchase of a package. `price` is null if only the payment's id is known. */
export class TopUp {
  lateText = texts.creditsLate;
  waitingText = texts.addingCredits;
  #balanceBefore = null;

  constructor({ price, id = null }) {
    this.price = price;
    this.id = id;
  }

  get rejectedText() {
    return texts.paymentRejected(this.id);
  }

  get pending() {
    return { kind: "top-up", id: this.id, priceId: this.price?.id ?? null };
  }

  get openerId() {
    return `buy-${this.price?.id}`;
  }

  get heading() {
    if (this.price === null) return texts.yourPayment;
    const { amount, currency, credits } = this.price;
    return texts.payHeading(money(amount, currency), number(credits), texts.creditsUnit(credits));
  }

  get payLabel() {
    return texts.pay(money(this.price.amount, this.price.currency));
  }

  get facts() {
    if (this.price === null) return [];
    const { amount, currency, credits } = this.price;
    return [
      [texts.facts.credits, number(credits)],
      [texts.facts.perCredit, moneyPerCredit(amount, currency, credits)],
      [texts.facts.total, money(amount, currency)],
    ];
  }

  /** Return the value that the receipt shows. When it changes, the receipt is outdated. */
  receiptSubject({ balance }) {
    return balance;
  }

  /** Start the payment, and take the price from Stripe's answer. Resolves to the client secret. */
  async start(account) {
    const intent = await account.api.startTopUp(this.price.id);
    const { amount, currency, credits } = intent;
    this.id = intent.payment_intent_id;
    this.price = { ...this.price, amount, currency, credits };
    this.#balanceBefore = account.balance;
    return intent.client_secret;
  }

  async fetchState(account) {
    const answer = await account.fetchTopUp(this.id);
    if (answer === null) return { state: "over" };
    const { status, credited, rejected, credits, balance } = answer;
    if (!credited) {
      this.#balanceBefore = balance;
      return { state: rejected ? "rejected" : (STATES[status] ?? "open") };
    }
    const before = this.#balanceBefore ?? Math.max(balance - credits, 0);
    return {
      state: "done",
      receipt: texts.creditsAdded(
        number(credits),
        texts.creditsUnit(credits),
        number(before),
        number(balance),
      ),
    };
  }
}

/** Subscription to a plan. `price` is null if the plan is no longer for sale. */
export class Subscription {
  lateText = texts.planLate;
  waitingText = texts.startingPlan;

  constructor({ price, id = null }) {
    this.price = price;
    this.id = id;
  }

  get pending() {
    return { kind: "subscription", id: this.id, priceId: this.price?.id ?? null };
  }

  get openerId() {
    return `subscribe-${this.price?.id}`;
  }

  get heading() {
    if (this.price === null) return texts.planHeading;
    const { amount, currency, interval } = this.price;
    return texts.subscribeFor(money(amount, currency), interval);
  }

  get payLabel() {
    return texts.pay(money(this.price.amount, this.price.currency));
  }

  get facts() {
    if (this.price === null) return [];
    const { name, amount, currency, interval } = this.price;
    return [
      [texts.facts.plan, name],
      [texts.facts.billed, texts.every(interval)],
      [texts.facts.total, money(amount, currency)],
    ];
  }

  /** Return the value that the receipt shows. When it changes, the receipt is outdated. */
  receiptSubject({ subscription }) {
    return planSummary(subscription);
  }

  /** Start the subscription. Resolves to the client secret, or null if nothing is to be paid. */
  async start(account) {
    const started = await account.api.subscribe(this.price.id);
    this.id = started.subscription_id;
    return started.client_secret;
  }

  async fetchState(account) {
    const { status } = await account.refresh();
    if (status === "active" || status === "trialing") {
      return { state: "done", receipt: texts.planStarted };
    }
    return { state: status === "incomplete_expired" ? "over" : "unknown" };
  }
}
