/** State of the signed-in account: balance, subscription and prices, kept up to date. */

import { ApiError } from "./http.js";
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
  #version = 0;

  /** `onChange({ balance, subscription })` is called after a change, with the previous values. */
  constructor({ config, api, signal, onChange }) {
    this.config = config;
    this.api = api;
    this.signal = signal;
    this.#onChange = onChange;
    this.#stream = new Stream({
      api,
      signal,
      onEvent: (type, data) => this.#handleEvent(type, data),
      poll: () => this.refresh(),
    });
  }

  get isConnected() {
    return this.#stream.isConnected;
  }

  /** Read the event stream until the signal is aborted. */
  listen() {
    return this.#stream.run();
  }

  /** Fetch the balance and the subscription. Resolves to the subscription. */
  async refresh() {
    const { subscription } = await this.#fetchCurrent(() => this.api.subscription());
    this.#update({ subscription, balance: subscription.wallet_balance });
    return subscription;
  }

  /** Fetch the state of a top-up and the balance. Resolves to null if it is of another account. */
  async fetchTopUp(id) {
    try {
      const answer = await this.#fetchCurrent(() => this.api.paymentIntent(id));
      this.#update({ balance: answer.balance });
      return answer;
    } catch (error) {
      // Check the service's error code, not the status: a 404 may come from a proxy.
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

  async #load(name, fetchAll) {
    try {
      this[name] = await fetchAll();
      this[`${name}Error`] = null;
    } catch (error) {
      if (!(error instanceof ApiError)) throw error;
      this[`${name}Error`] = error;
    }
    // Nothing can be shown before the account is loaded.
    if (this.subscription) this.#onChange(this.#current);
  }

  get #current() {
    return { balance: this.balance, subscription: this.subscription };
  }

  #handleEvent(type, data) {
    if (type === "balance") this.#update({ balance: data.credits });
    if (type === "plan") this.#update({ subscription: data });
  }

  /** Repeat a request if the account changed meanwhile, because its answer may be outdated. */
  async #fetchCurrent(fetchOnce) {
    for (;;) {
      const version = this.#version;
      const answer = await fetchOnce();
      if (version === this.#version) return answer;
    }
  }

  #update(changes) {
    const previous = this.#current;
    if (JSON.stringify({ ...previous, ...changes }) === JSON.stringify(previous)) return;
    this.#version += 1;
    Object.assign(this, changes);
    this.#onChange(previous);
  }
}
