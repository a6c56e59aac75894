/** One payment from the choice of a price to its fulfilment, across reloads and tabs. */

import { fetchFirstState, waitForFulfilment } from "./fulfilment.js";
import { PaymentForm, intentState, loadStripe } from "./payment-form.js";
import { PaymentView } from "./payment-view.js";
import { clearPending, savePending } from "./pending.js";
import * as texts from "./texts.js";
import { ignoreAbort } from "./timing.js";

const isPaid = (state) => ["paid", "processing", "rejected", "done"].includes(state);

export class Payment {
  #account;
  #onDone;
  #onBack;
  #view;
  #purchase = null;
  #form = null;
  #work = new AbortController();
  #notifyChange = () => {};

  /** `onDone(purchase, receipt, hadFocus)` is called at the end, `onBack(purchase)` on "Back". */
  constructor(account, { onDone, onBack }) {
    this.#account = account;
    this.#onDone = onDone;
    this.#onBack = onBack;
    this.#view = new PaymentView({
      onSubmit: () => this.#confirm(),
      onBack: () => this.#leave(),
    });
    account.signal.addEventListener("abort", () => this.#dropForm());
  }

  /** Start the payment of a purchase. */
  open(purchase) {
    return this.#run(purchase, (signal) => this.#prepare(signal, { isResumed: false }));
  }

  /** Continue a payment that was started before the page was loaded. */
  resume(purchase) {
    return this.#run(purchase, async (signal) => {
      const { state } = await fetchFirstState(purchase, this.#waiting(signal, "asking"));
      if (isPaid(state)) return this.#wait(signal, state);
      if (state !== "over" && purchase.price) return this.#prepare(signal, { isResumed: true });
      clearPending();
      return this.#close();
    });
  }

  /**
   * Check the open payment after a change of the account: it may have been paid in another tab, or
   * replaced by a newer one.
   */
  async checkState() {
    this.#notifyChange();
    if (!this.#view.isIdle) return;
    const purchase = this.#purchase;
    const { state } = await this.#fetchStateOrUnknown();
    if (purchase !== this.#purchase || !this.#view.isIdle) return;
    if (isPaid(state)) await this.#run(purchase, (signal) => this.#wait(signal, state));
    if (state === "over") await this.#run(purchase, (signal) => this.#endIfReplaced(signal));
  }

  /** Close the form if Stripe itself, and not a proxy, says that it cannot be paid any more. */
  async #endIfReplaced(signal) {
    const { state } = await this.#form.state();
    signal.throwIfAborted();
    if (state === "over") this.#end(texts.paymentReplaced);
  }

  async #prepare(signal, { isResumed }) {
    const purchase = this.#purchase;
    this.#dropForm();
    this.#view.loading(purchase, isResumed ? texts.checkingPayment : "");
    let state;
    try {
      state = await this.#mountForm(signal);
    } catch (error) {
      signal.throwIfAborted();
      return this.#fail(error, texts.formFailed, () => this.open(purchase));
    }
    signal.throwIfAborted();
    if (isPaid(state)) return this.#wait(signal, state);
    if (state === "over") return this.#end(texts.paymentReplaced);
    return this.#view.form(purchase, this.#payLabel, isResumed ? texts.notFinished : "");
  }

  /**
   * Create the payment, and mount the form if it can be paid. Resolves to the payment's state,
   * "open" once the form accepts input. The state is fetched first, because Stripe's form cannot be
   * mounted for a payment that is already made.
   */
  async #mountForm(signal) {
    const [clientSecret, stripe] = await Promise.all([
      this.#purchase.start(this.#account),
      loadStripe(this.#account.config),
    ]);
    signal.throwIfAborted();
    const accountUid = this.#account.subscription.account_uid;
    savePending({ accountUid, ...this.#purchase.pending });
    if (clientSecret === null) return "paid"; // there is nothing to pay
    const { state } = await intentState(stripe, clientSecret);
    signal.throwIfAborted();
    if (state === "unclear") throw new Error("Stripe did not return the state of the payment");
    if (state !== "open") return state;
    this.#form = new PaymentForm(stripe, clientSecret, this.#view.fields);
    await this.#form.ready;
    return state;
  }

  #confirm() {
    if (!this.#view.isIdle) return;
    this.#run(this.#purchase, async (signal) => {
      this.#view.authenticating();
      let { state, message } = await this.#confirmForm();
      // Stripe's answer was lost, or is not a known one: ask the service.
      if (state === "unclear") {
        const fetched = (await this.#fetchStateOrUnknown()).state;
        if (isPaid(fetched)) state = fetched;
      }
      signal.throwIfAborted();
      if (isPaid(state)) return this.#wait(signal, state);
      if (state === "over") return this.#end(texts.paymentReplaced);
      return this.#view.formAgain(
        state === "declined" ? "declined" : "form",
        this.#payLabel,
        message ?? texts.paymentFailed,
      );
    });
  }

  async #confirmForm() {
    try {
      return await this.#form.confirm();
    } catch (error) {
      // Stripe.js throws if it is misused. Show an error, so that the button works again.
      console.error(error);
      return { state: "unclear" };
    }
  }

  async #wait(signal, state) {
    this.#dropForm();
    const answer = await waitForFulfilment(this.#purchase, this.#waiting(signal, state));
    if (answer.state === "done") return this.#finish(answer.receipt);
    return this.#end(texts.paymentCanceled);
  }

  #waiting(signal, state) {
    return {
      state,
      signal,
      account: this.#account,
      changed: () => new Promise((resolve) => (this.#notifyChange = resolve)),
      onProgress: (now, isLate) => this.#view.waiting(this.#purchase, now, isLate),
    };
  }

  #finish(receipt) {
    const purchase = this.#purchase;
    const { hasFocus } = this.#view;
    clearPending();
    this.#close();
    this.#view.done();
    this.#onDone(purchase, receipt, hasFocus);
  }

  /** Show that this payment cannot be made any more, and offer a new one. */
  #end(text) {
    const purchase = this.#purchase;
    clearPending();
    const retry = purchase.price ? () => this.open(purchase) : () => this.#leave();
    this.#fail({}, text, retry);
  }

  #fail(error, otherwise, retry) {
    this.#dropForm();
    this.#view.error(error, otherwise, retry);
  }

  #leave() {
    const purchase = this.#purchase;
    clearPending();
    this.#close();
    this.#onBack(purchase);
  }

  get #payLabel() {
    return this.#form.isSetup ? texts.saveCard : this.#purchase.payLabel;
  }

  async #fetchStateOrUnknown() {
    try {
      // A trial starts before its card is saved: the subscription does not show that.
      if (this.#form?.isSetup) return await this.#form.state();
      return await this.#purchase.fetchState(this.#account);
    } catch {
      return { state: "unknown" };
    }
  }

  #close() {
    this.#work.abort();
    this.#dropForm();
    this.#purchase = null;
    this.#view.close();
  }

  #dropForm() {
    this.#form?.destroy();
    this.#form = null;
  }

  /** Abort the previous task and run this one. */
  #run(purchase, task) {
    this.#work.abort();
    this.#work = new AbortController();
    this.#purchase = purchase;
    const signal = AbortSignal.any([this.#account.signal, this.#work.signal]);
    return ignoreAbort(signal, () => task(signal));
  }
}
