/** The page of one signed-in account: its views, and what their buttons do. */

import { Account } from "./account.js";
import { ApiError } from "./api.js";
import { askToCancel } from "./cancel-dialog.js";
import { announce, byId } from "./dom.js";
import { errorText } from "./failure.js";
import { History, receiptLink } from "./history.js";
import { longDate } from "./money.js";
import { renderPackages } from "./packages-view.js";
import { preloadStripe } from "./payment-form.js";
import { Payment } from "./payment.js";
import { forget, recall } from "./pending.js";
import { renderPlan } from "./plan-view.js";
import { Subscription, TopUp } from "./purchases.js";
import { renderSummary } from "./summary-view.js";
import * as texts from "./texts.js";
import { unlessAborted } from "./timing.js";

export class Checkout {
  #account;
  #history;
  #payment;
  #isReceiptTrue = () => true;

  constructor({ config, api, signal }) {
    this.#account = new Account({ config, api, signal, onChange: (before) => this.#show(before) });
    this.#history = new History(byId("history-body"), api);
    this.#payment = new Payment(this.#account, {
      onDone: (...done) => this.#run(() => this.#done(...done)),
      onBack: (purchase) => byId(purchase.openerId)?.focus(),
    });
  }

  /** Resolves when the account can be seen. Raises ApiError where it cannot. */
  async open() {
    const account = this.#account;
    const forSale = this.#run(() => Promise.all([account.loadPlans(), account.loadPackages()]));
    this.#run(() => this.#history.reload());
    await account.refresh();
    preloadStripe(account.config);
    this.#run(() => account.listen());
    this.#run(async () => {
      await forSale;
      await this.#resume();
    });
  }

  // What is shown

  #show(before) {
    const account = this.#account;
    renderSummary(account, before);
    renderPlan(byId("plan-body"), account, this.#planActions);
    renderPackages(byId("packages-body"), account, {
      buy: (price) => this.#pay(new TopUp({ price })),
      retry: () => this.#run(() => account.loadPackages()),
    });
    if (before.subscription === null) return;
    if (!this.#isReceiptTrue()) byId("receipt").hidden = true;
    if (account.balance !== before.balance) this.#run(() => this.#history.reload());
    this.#run(() => this.#payment.look());
  }

  async #done(purchase, receipt, hadFocus) {
    const line = byId("receipt");
    line.textContent = receipt;
    line.hidden = false;
    const subject = purchase.receiptSubject(this.#account);
    this.#isReceiptTrue = () => purchase.receiptSubject(this.#account) === subject;
    if (hadFocus) line.focus();
    announce(receipt);
    await this.#history.reload();
    const entry = this.#history.entries.find(({ id }) => id === purchase.id);
    if (entry?.receipt_url) line.append(" ", receiptLink(entry));
  }

  // What the buttons do

  #planActions = {
    subscribe: (price) => this.#pay(new Subscription({ price })),
    finish: () => this.#pay(new Subscription({ price: this.#planPrice() })),
    cancel: () => this.#cancel(),
    resume: () => this.#change(() => this.#resumeSubscription()),
    portal: () => this.#change(() => this.#openPortal()),
    retry: () => this.#run(() => this.#account.loadPlans()),
  };

  #pay(purchase) {
    byId("receipt").hidden = true;
    byId("plan-alert").textContent = "";
    return this.#payment.open(purchase);
  }

  #cancel() {
    const { api, subscription } = this.#account;
    const end = longDate(subscription.current_period_end);
    const text = subscription.is_eligible ? texts.cancelText(end) : texts.cancelUnpaidText(end);
    askToCancel(text, {
      cancel: async () => {
        await api.cancel();
        await this.#account.refresh();
      },
      onCancelled: () => {
        announce(texts.cancelled(end));
        byId("resume-subscription")?.focus();
      },
    });
  }

  async #resumeSubscription() {
    await this.#account.api.resume();
    await this.#account.refresh();
    announce(texts.resumed);
    byId("cancel-subscription")?.focus();
  }

  async #openPortal() {
    const { portal } = await this.#account.api.portal(location.origin + location.pathname);
    location.assign(portal.url);
  }

  /** Do `task`; what goes wrong is said beside the plan. */
  #change(task) {
    const alert = byId("plan-alert");
    alert.textContent = "";
    return this.#run(async () => {
      try {
        await task();
      } catch (error) {
        if (!(error instanceof ApiError)) throw error;
        alert.textContent = errorText(error, texts.actionFailed);
      }
    });
  }

  /** The price of the plan that the account has. */
  #planPrice() {
    const { plan_id, plan_name, amount, currency, interval } = this.#account.subscription;
    return { id: plan_id, name: plan_name, amount, currency, interval };
  }

  /** Go on with the payment that a reload or a bank's redirect has cut. */
  #resume() {
    const pending = recall();
    if (pending === null) return undefined;
    const { plans, packages, subscription } = this.#account;
    if (pending.accountUid && pending.accountUid !== subscription.account_uid) return forget();
    const isIts = ({ id }) => id === pending.priceId;
    if (pending.kind === "top-up") {
      const price = packages?.find(isIts) ?? null;
      return this.#payment.resume(new TopUp({ price, id: pending.id }));
    }
    const price = subscription.plan_id === pending.priceId ? this.#planPrice() : plans?.find(isIts);
    return this.#payment.resume(new Subscription({ price: price ?? null, id: pending.id }));
  }

  #run(task) {
    return unlessAborted(this.#account.signal, task);
  }
}
