/** Load Stripe.js and mount its Payment Element, the card form: https://docs.stripe.com/js */

const READY_TIMEOUT_MS = 30_000;

let loaded = null;

/** Load Stripe.js once. Stripe requires that it is loaded from Stripe's own server. */
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
 * Load Stripe.js before it is needed: the form opens sooner, and Stripe's fraud detection sees more
 * than the payment. Errors are ignored here; opening the form loads it again and shows them.
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
      reject(new Error(`${src} cannot be loaded`));
    };
    document.head.append(script);
  });
}

const isSetup = (clientSecret) => clientSecret.startsWith("seti_");

/** Fetch the state of a PaymentIntent or SetupIntent from Stripe. `outcome` lists the states. */
export function intentState(stripe, clientSecret) {
  return outcome(
    isSetup(clientSecret)
      ? stripe.retrieveSetupIntent(clientSecret)
      : stripe.retrievePaymentIntent(clientSecret),
  );
}

/** A mounted Payment Element for one client secret. */
export class PaymentForm {
  #stripe;
  #clientSecret;
  #elements;
  #element;
  #listening = new AbortController();

  /** Mount the element in `node`. `ready` resolves when its fields accept input. */
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

  /** Whether the form only saves a card, because a trial has nothing to pay yet. */
  get isSetup() {
    return isSetup(this.#clientSecret);
  }

  /** Fetch the state from Stripe. `outcome` lists the states. */
  state() {
    return intentState(this.#stripe, this.#clientSecret);
  }

  /** Confirm the payment with the entered card, with 3-D Secure if required. */
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
 * Convert the answer of Stripe.js to { state, message }. `message` is Stripe's text for the buyer.
 * The state is "paid", "processing", "over", "invalid", "declined", "open" or "unclear". It is also
 * "paid" if Stripe reports an error because the payment was already made in another tab.
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

/** Return the page's colours for Stripe: https://docs.stripe.com/elements/appearance-api */
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
