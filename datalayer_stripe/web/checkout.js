/** The page of one signed-in account: connects its state, its views and their buttons. */

import { Account } from "./account.js";
import { openConfirmDialog } from "./confirm-dialog.js";
import { announce, byId } from "./dom.js";
import { errorText } from "./failure.js";
import { History, receiptLink } from "./history.js";
import { ApiError } from "./http.js";
import { longDate } from "./money.js";
import { renderPackages } from "./packages-view.js";
import { preloadStripe } from "./payment-form.js";
import { Payment } from "./payment.js";
import { clearPending, loadPending } from "./pending.js";
import { renderPlan } from "./plan-view.js";
import { Subscription, TopUp } from "./purchases.js";
import { renderSummary } from "./summary-view.js";
import * as texts from "./texts.js";
import { ignoreAbort } from "./timing.js";

export class Checkout {
  #account;
  #history;
  #payment;
  #isReceiptCurrent = () => true;

  constructor({ config, api, signal }) {
    const onChange = (before) => this.#render(before);
    this.#account = new Account({ config, api, signal, onChange });
    this.#history = new History(byId("history-body"), api);
    this.#payment = new Payment(this.#account, {
      onDone: (...result) => this.#run(() => this.#showReceipt(...result)),
      onBack: (purchase) => byId(purchase.openerId)?.focus(),
    });
  }

  /** Load and show the account. Rejects with ApiError if it cannot be loaded. */
  async open() {
    const account = this.#account;
    const loadOffers = () => Promise.all([account.loadPlans(), account.loadPackages()]);
    const offersLoaded = this.#run(loadOffers);
    this.#run(() => this.#history.reload());
    await account.refresh();
    preloadStripe(account.config);
    this.#run(() => account.listen());
    this.#run(async () => {
      await offersLoaded;
      await this.#resume();
    });
  }

  // Rendering

  #render(before) {
    const account = this.#account;
    renderSummary(account, before);
    renderPlan(byId("plan-body"), account, this.#planActions);
    renderPackages(byId("packages-body"), account, {
      buy: (price) => this.#pay(new TopUp({ price })),
      retry: () => this.#run(() => account.loadPackages()),
    });
    if (before.subscription === null) return;
    if (!this.#isReceiptCurrent()) byId("receipt").hidden = true;
    if (account.balance !== before.balance) this.#run(() => this.#history.reload());
    this.#run(() => this.#payment.checkState());
  }

  async #showReceipt(purchase, receipt, hadFocus) {
    const line = byId("receipt");
    line.textContent = receipt;
    line.hidden = false;
    const subject = purchase.receiptSubject(this.#account);
    this.#isReceiptCurrent = () => purchase.receiptSubject(this.#account) === subject;
    if (hadFocus) line.focus();
    announce(receipt);
    await this.#history.reload();
    const entry = this.#history.entries.find(({ id }) => id === purchase.id);
    if (entry?.receipt_url) line.append(" ", receiptLink(entry));
  }

  // Actions of the buttons

  #planActions = {
    subscribe: (price) => this.#pay(new Subscription({ price })),
    finish: () => this.#pay(new Subscription({ price: this.#planPrice() })),
    cancel: () => this.#cancel(),
    resume: () => this.#runWithAlert(() => this.#resumeSubscription()),
    portal: () => this.#runWithAlert(() => this.#openPortal()),
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
    openConfirmDialog("cancel", text, {
      action: async () => {
        await api.cancel();
        await this.#account.refresh();
      },
      onDone: () => {
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

  /** Run `task`, and show its error beside the plan. */
  #runWithAlert(task) {
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

  /** Return the price of the account's current plan. */
  #planPrice() {
    const { plan_id, plan_name, amount, currency, interval } = this.#account.subscription;
    return { id: plan_id, name: plan_name, amount, currency, interval };
  }

  /** Continue the payment that a reload or a bank's redirect interrupted. */
  #resume() {
    const pending = loadPending();
    if (pending === null) return undefined;
    const { plans, packages, subscription } = this.#account;
    const { accountUid } = pending;
    if (accountUid && accountUid !== subscription.account_uid) return clearPending();
    const isItsPrice = ({ id }) => id === pending.priceId;
    if (pending.kind === "top-up") {
      const price = packages?.find(isItsPrice) ?? null;
      return this.#payment.resume(new TopUp({ price, id: pending.id }));
    }
    const isItsPlan = subscription.plan_id === pending.priceId;
    const price = isItsPlan ? this.#planPrice() : plans?.find(isItsPrice);
    return this.#payment.resume(new Subscription({ price: price ?? null, id: pending.id }));
  }

  #run(task) {
    return ignoreAbort(this.#account.signal, task);
  }
}
