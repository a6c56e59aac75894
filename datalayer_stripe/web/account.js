/** What a signed-in account has and what is for sale to it, kept up to date. */

import { ApiError } from "./api.js";
import { Stream } from "./stream.js";

export class Account {
  balance = null;
  subscription = null;
  plans = null;
  plansError = null;
  packages = null;
  packagesError = null;
  #onChange;
  #stream;
  #changes = 0;

  /** `onChange({ balance, subscription })` gets what these were before. */
  constructor({ config, api, signal, onChange }) {
    this.config = config;
    this.api = api;
    this.signal = signal;
    this.#onChange = onChange;
    this.#stream = new Stream({
      api,
      signal,
      onEvent: (type, data) => this.#hear(type, data),
      poll: () => this.refresh(),
    });
  }

  get isConnected() {
    return this.#stream.isConnected;
  }

  /** Keep listening until the signal is aborted. */
  listen() {
    return this.#stream.run();
  }

  /** Ask for the balance and the subscription; resolves to the subscription. */
  async refresh() {
    const { subscription } = await this.#newest(() => this.api.subscription());
    this.#update({ subscription, balance: subscription.wallet_balance });
    return subscription;
  }

  /** How a top-up stands, and with it the balance; null where it is none of this account's. */
  async askForTopUp(id) {
    try {
      const answer = await this.#newest(() => this.api.paymentIntent(id));
      this.#update({ balance: answer.balance });
      return answer;
    } catch (error) {
      // By the service's own words: a proxy's 404 says nothing of the payment.
      if (error.code === "forbidden" || error.code === "not_found") return null;
      throw error;
    }
  }

  loadPlans() {
    return this.#load("plans", async () => (await this.api.plans()).plans);
  }

  loadPackages() {
    return this.#load("packages", async () => (await this.api.prices()).prices);
  }

  async #load(name, ask) {
    try {
      this[name] = await ask();
      this[`${name}Error`] = null;
    } catch (error) {
      if (!(error instanceof ApiError)) throw error;
      this[`${name}Error`] = error;
    }
    // Until the account itself is known there is nothing to show.
    if (this.subscription) this.#onChange(this.#known);
  }

  get #known() {
    return { balance: this.balance, subscription: this.subscription };
  }

  #hear(type, data) {
    if (type === "balance") this.#update({ balance: data.credits });
    if (type === "plan") this.#update({ subscription: data });
  }

  /** An answer that was on its way while something changed may be older than that: ask again. */
  async #newest(ask) {
    for (;;) {
      const changes = this.#changes;
      const answer = await ask();
      if (changes === this.#changes) return answer;
    }
  }

  #update(news) {
    const before = this.#known;
    if (JSON.stringify({ ...before, ...news }) === JSON.stringify(before)) return;
    this.#changes += 1;
    Object.assign(this, news);
    this.#onChange(before);
  }
}
