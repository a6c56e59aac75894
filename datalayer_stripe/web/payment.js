/** A payment from the choice to its fulfilment, across reloads and other tabs. */

import { firstAnswer, fulfilment } from "./fulfilment.js";
import { PaymentForm, intentState, loadStripe } from "./payment-form.js";
import { PaymentView } from "./payment-view.js";
import { forget, remember } from "./pending.js";
import * as texts from "./texts.js";
import { unlessAborted } from "./timing.js";

const isPaid = (state) => ["paid", "processing", "rejected", "done"].includes(state);

export class Payment {
  #account;
  #onDone;
  #onBack;
  #view;
  #purchase = null;
  #form = null;
  #work = new AbortController();
  #nudge = () => {};

  /** `onDone(purchase, receipt, hadFocus)` is called at the end, `onBack(purchase)` when left. */
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

  /** Begin to pay for it. */
  open(purchase) {
    return this.#run(purchase, (signal) => this.#prepare(signal, { isResumed: false }));
  }

  /** Go on with a payment that was begun before the page was loaded. */
  resume(purchase) {
    return this.#run(purchase, async (signal) => {
      const { state } = await firstAnswer(purchase, this.#waiting(signal, "asking"));
      if (isPaid(state)) return this.#wait(signal, state);
      if (state !== "over" && purchase.price) return this.#prepare(signal, { isResumed: true });
      forget();
      return this.#close();
    });
  }

  /**
   * Something has changed on the account: perhaps this has been paid, here or in another tab, or can
   * be paid no more.
   */
  async look() {
    this.#nudge();
    if (!this.#view.isIdle) return;
    const purchase = this.#purchase;
    const { state } = await this.#askQuietly();
    if (purchase !== this.#purchase || !this.#view.isIdle) return;
    if (isPaid(state)) await this.#run(purchase, (signal) => this.#wait(signal, state));
    if (state === "over") await this.#run(purchase, (signal) => this.#endIfReplaced(signal));
  }

  /** Nobody is to fill in a form in vain. That it is over Stripe has to say, and not a proxy. */
  async #endIfReplaced(signal) {
    const { state } = await this.#form.state();
    signal.throwIfAborted();
    if (state === "over") this.#end(texts.paymentReplaced);
  }

  async #prepare(signal, { isResumed }) {
    const purchase = this.#purchase;
    this.#dropForm();
    this.#view.loading(purchase, isResumed ? texts.askingForPayment : "");
    let state;
    try {
      state = await this.#begin(signal);
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
   * Resolves to the payment's state: "open" when the form is mounted and the card can be typed in.
   * Stripe's form opens for no payment that is made already, so that is asked first.
   */
  async #begin(signal) {
    const [clientSecret, stripe] = await Promise.all([
      this.#purchase.start(this.#account),
      loadStripe(this.#account.config),
    ]);
    signal.throwIfAborted();
    const accountUid = this.#account.subscription.account_uid;
    remember({ accountUid, ...this.#purchase.pending });
    if (clientSecret === null) return "paid"; // there is nothing to pay
    const { state } = await intentState(stripe, clientSecret);
    signal.throwIfAborted();
    if (state === "unclear") throw new Error("Stripe does not say how the payment stands");
    if (state !== "open") return state;
    this.#form = new PaymentForm(stripe, clientSecret, this.#view.fields);
    await this.#form.ready;
    return state;
  }

  #confirm() {
    if (!this.#view.isIdle) return;
    this.#run(this.#purchase, async (signal) => {
      this.#view.authenticating();
      let { state, message } = await this.#confirmed();
      // Stripe's answer got lost, or was none of the known ones.
      if (state === "unclear") {
        const asked = (await this.#askQuietly()).state;
        if (isPaid(asked)) state = asked;
      }
      signal.throwIfAborted();
      if (isPaid(state)) return this.#wait(signal, state);
      if (state === "over") return this.#end(texts.paymentReplaced);
      return this.#view.refused(
        state === "declined" ? "declined" : "form",
        this.#payLabel,
        message ?? texts.paymentFailed,
      );
    });
  }

  async #confirmed() {
    try {
      return await this.#form.confirm();
    } catch (error) {
      // Stripe.js throws where it is misused. Nobody is to be left at a button that does nothing.
      console.error(error);
      return { state: "unclear" };
    }
  }

  async #wait(signal, state) {
    this.#dropForm();
    const answer = await fulfilment(this.#purchase, this.#waiting(signal, state));
    if (answer.state === "done") return this.#finish(answer.receipt);
    return this.#end(texts.paymentOver);
  }

  #waiting(signal, state) {
    return {
      state,
      signal,
      account: this.#account,
      nudged: () => new Promise((nudge) => (this.#nudge = nudge)),
      onProgress: (now, isLate) => this.#view.waiting(this.#purchase, now, isLate),
    };
  }

  #finish(receipt) {
    const purchase = this.#purchase;
    const { hasFocus } = this.#view;
    forget();
    this.#close();
    this.#view.done();
    this.#onDone(purchase, receipt, hasFocus);
  }

  /** This payment can never be made any more; another one can. */
  #end(text) {
    const purchase = this.#purchase;
    forget();
    const retry = purchase.price ? () => this.open(purchase) : () => this.#leave();
    this.#fail({}, text, retry);
  }

  #fail(error, otherwise, retry) {
    this.#dropForm();
    this.#view.error(error, otherwise, retry);
  }

  #leave() {
    const purchase = this.#purchase;
    forget();
    this.#close();
    this.#onBack(purchase);
  }

  get #payLabel() {
    return this.#form.isSetup ? texts.saveCard : this.#purchase.payLabel;
  }

  async #askQuietly() {
    try {
      // A trial runs before its card is saved, so that the plan does not say whether that is done.
      if (this.#form?.isSetup) return await this.#form.state();
      return await this.#purchase.ask(this.#account);
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

  /** Run `task` in place of what ran before. */
  #run(purchase, task) {
    this.#work.abort();
    this.#work = new AbortController();
    this.#purchase = purchase;
    const signal = AbortSignal.any([this.#account.signal, this.#work.signal]);
    return unlessAborted(signal, () => task(signal));
  }
}
