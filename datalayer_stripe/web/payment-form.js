/** Stripe.js and its Payment Element, where the card is typed: docs.stripe.com/js */

const READY_TIMEOUT_MS = 30_000;

let loaded = null;

/** Load Stripe.js, once. It must come from Stripe, and is no part of this page's files. */
export async function loadStripe({ stripeJs, publishableKey }) {
  loaded ??= loadScript(stripeJs).then(() => window.Stripe(publishableKey, { locale: "en" }));
  try {
    return await loaded;
  } catch (error) {
    loaded = null;
    throw error;
  }
}

/**
 * Load Stripe.js before it is needed: the form opens sooner, and Stripe, which looks for fraud, sees
 * more than the payment. Where it cannot be had now, whoever pays tries again and is told.
 */
export function preloadStripe(config) {
  loadStripe(config).catch(() => {});
}

function loadScript(src) {
  return new Promise((resolve, reject) => {
    const script = document.createElement("script");
    script.src = src;
    script.onload = resolve;
    script.onerror = () => {
      script.remove();
      reject(new Error(`${src} could not be loaded`));
    };
    document.head.append(script);
  });
}

const isSetup = (clientSecret) => clientSecret.startsWith("seti_");

/** How the intent of a client secret stands: `outcome` has the states. */
export function intentState(stripe, clientSecret) {
  return outcome(
    isSetup(clientSecret)
      ? stripe.retrieveSetupIntent(clientSecret)
      : stripe.retrievePaymentIntent(clientSecret),
  );
}

/** A mounted Payment Element, for the intent of one client secret. */
export class PaymentForm {
  #stripe;
  #clientSecret;
  #elements;
  #element;
  #listening = new AbortController();

  /** `ready` resolves when the fields can be typed in. */
  constructor(stripe, clientSecret, node) {
    this.#stripe = stripe;
    this.#clientSecret = clientSecret;
    this.#elements = stripe.elements({ clientSecret, appearance: appearance() });
    this.#element = this.#elements.create("payment", { layout: { type: "tabs" } });
    this.ready = new Promise((resolve, reject) => {
      this.#element.on("ready", resolve);
      this.#element.on("loaderror", ({ error }) => reject(new Error(error.message)));
      setTimeout(reject, READY_TIMEOUT_MS, new Error("The Payment Element did not load"));
    });
    this.#element.mount(node);
    darkScheme().addEventListener(
      "change",
      () => this.#elements.update({ appearance: appearance() }),
      { signal: this.#listening.signal },
    );
  }

  /** A trial has nothing to pay yet: its card is only saved. */
  get isSetup() {
    return isSetup(this.#clientSecret);
  }

  /** How it stands at Stripe: `outcome` has the states. */
  state() {
    return intentState(this.#stripe, this.#clientSecret);
  }

  /** Confirm with what has been typed, 3-D Secure included. */
  confirm() {
    const options = {
      elements: this.#elements,
      redirect: "if_required",
      confirmParams: { return_url: location.origin + location.pathname },
    };
    return outcome(
      this.isSetup ? this.#stripe.confirmSetup(options) : this.#stripe.confirmPayment(options),
    );
  }

  destroy() {
    this.#listening.abort();
    this.#element.destroy();
  }
}

const AUTHENTICATION_FAILURES = new Set([
  "payment_intent_authentication_failure",
  "setup_intent_authentication_failure",
]);

/**
 * What Stripe's answer means: { state, message }. A `message` is Stripe's, for the card's owner.
 * The state is "paid" also where the error is that it has been paid already, in another tab.
 */
async function outcome(answer) {
  const { paymentIntent, setupIntent, error } = await answer;
  const intent = paymentIntent ??
    setupIntent ??
    error?.payment_intent ??
    error?.setup_intent ?? { status: "" };
  if (intent.status === "succeeded") return { state: "paid" };
  if (intent.status === "processing") return { state: "processing" };
  if (intent.status === "canceled") return { state: "over" };
  if (error?.type === "validation_error") return { state: "invalid", message: error.message };
  if (error?.type === "card_error" || AUTHENTICATION_FAILURES.has(error?.code)) {
    return { state: "declined", message: error.message };
  }
  return { state: !error && intent.status.startsWith("requires_") ? "open" : "unclear" };
}

const darkScheme = () => matchMedia("(prefers-color-scheme: dark)");

/** The page's own colours, in Stripe's frames: docs.stripe.com/elements/appearance-api */
function appearance() {
  const style = getComputedStyle(document.documentElement);
  const token = (name) => style.getPropertyValue(name).trim();
  return {
    theme: darkScheme().matches ? "night" : "stripe",
    variables: {
      colorPrimary: token("--accent"),
      colorBackground: token("--surface"),
      colorText: token("--text"),
      colorTextSecondary: token("--muted"),
      colorDanger: token("--danger"),
      fontFamily: token("--font"),
      borderRadius: token("--radius-small"),
    },
  };
}
