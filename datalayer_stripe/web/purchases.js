/**
 * The two things that can be bought. Each knows what it is called, how its payment begins, and how
 * to ask whether it has been fulfilled.
 *
 * `ask` answers { state, receipt }. The state is "done" once fulfilled; "paid" or "processing"
 * while that is still to come; "rejected" when it is paid and comes only after somebody has looked
 * into it; "open" when nothing has been paid; "over" when it never can be; "unknown" where only
 * Stripe could say.
 */

import { money, moneyPerCredit, number } from "./money.js";
import { planSummary } from "./plan-view.js";
import * as texts from "./texts.js";

const STATES = { succeeded: "paid", processing: "processing", canceled: "over" };

/** Buying a package. `price` is null where only the payment's id is known. */
export class TopUp {
  onItsWay = texts.onTheirWay;
  waiting = texts.addingCredits;
  #balanceBefore = null;

  constructor({ price, id = null }) {
    this.price = price;
    this.id = id;
  }

  get lookedInto() {
    return texts.lookedInto(this.id);
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

  /** What the receipt is about: once it has changed, the receipt is no longer true. */
  receiptSubject({ balance }) {
    return balance;
  }

  /** Resolves to the client secret. The amount is from now on what Stripe says it is. */
  async start(account) {
    const intent = await account.api.startTopUp(this.price.id);
    const { amount, currency, credits } = intent;
    this.id = intent.payment_intent_id;
    this.price = { ...this.price, amount, currency, credits };
    this.#balanceBefore = account.balance;
    return intent.client_secret;
  }

  async ask(account) {
    const answer = await account.askForTopUp(this.id);
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

/** Subscribing to a plan. `price` is null where it is no longer for sale. */
export class Subscription {
  onItsWay = texts.planOnItsWay;
  waiting = texts.startingPlan;

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

  /** What the receipt is about: once it has changed, the receipt is no longer true. */
  receiptSubject({ subscription }) {
    return planSummary(subscription);
  }

  /** Resolves to the client secret; to null where nothing is to be paid. */
  async start(account) {
    const started = await account.api.subscribe(this.price.id);
    this.id = started.subscription_id;
    return started.client_secret;
  }

  async ask(account) {
    const { status } = await account.refresh();
    if (status === "active" || status === "trialing") {
      return { state: "done", receipt: texts.planStarted };
    }
    return { state: status === "incomplete_expired" ? "over" : "unknown" };
  }
}
