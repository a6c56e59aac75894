import { createApi } from "./api.js";
import { showBadge } from "./badge.js";
import { Element } from "./element.js";
import { Elements } from "./elements.js";
import { assertUsage } from "./errors.js";
import { confirm, handleAction, resultOf, retrieve, returnTo } from "./intents.js";
import { ORIGIN } from "./origin.js";

/** The Stripe object: https://docs.stripe.com/js */
class LocalStripe {
  #key;
  #api;

  constructor(key) {
    this.#key = key;
    this.#api = createApi(ORIGIN, key);
  }

  elements(options = {}) {
    return new Elements(this.#key, this.#api, options);
  }

  async confirmPayment(options) {
    return this.#confirm("confirmPayment", "payment_intent", options);
  }

  async confirmSetup(options) {
    return this.#confirm("confirmSetup", "setup_intent", options);
  }

  async confirmCardPayment(clientSecret, data, options) {
    return this.#confirmCard(clientSecret, "payment_intent", data, options);
  }

  async confirmCardSetup(clientSecret, data, options) {
    return this.#confirmCard(clientSecret, "setup_intent", data, options);
  }

  async handleNextAction({ clientSecret }) {
    const found = await retrieve(this.#api, clientSecret);
    return resultOf(await handleAction(this.#api, clientSecret, found));
  }

  async handleCardAction(clientSecret) {
    const found = await retrieve(this.#api, clientSecret, "payment_intent");
    return resultOf(await handleAction(this.#api, clientSecret, found));
  }

  async retrievePaymentIntent(clientSecret) {
    return resultOf(await retrieve(this.#api, clientSecret, "payment_intent"));
  }

  async retrieveSetupIntent(clientSecret) {
    return resultOf(await retrieve(this.#api, clientSecret, "setup_intent"));
  }

  async createPaymentMethod({ elements, params, type, card, billing_details, metadata }) {
    const element = elements ? elements.getElement("payment") : card;
    assertUsage(
      elements || type === "card",
      "createPaymentMethod() requires the type card, or elements.",
    );
    assertUsage(element?._mounted, "createPaymentMethod() needs a mounted Element.");
    const { object, error } = await element._createPaymentMethod(
      params ?? { billing_details, metadata },
    );
    return error ? { error } : { paymentMethod: object };
  }

  async createToken() {
    return {
      error: {
        type: "invalid_request_error",
        message: "The local Stripe does not support tokens. Use createPaymentMethod().",
      },
    };
  }

  registerAppInfo() {}

  _registerWrapper() {}

  async #confirm(name, kind, { elements, clientSecret, confirmParams = {}, redirect = "always" }) {
    const secret = clientSecret ?? elements?._clientSecret;
    const returnUrl = confirmParams.return_url;
    assertUsage(secret, `stripe.${name}() needs a client secret, from elements or as an option.`);
    assertUsage(
      returnUrl || redirect === "if_required",
      `stripe.${name}(): the \`confirmParams.return_url\` argument is required when using ` +
        "automatic payment methods, unless `redirect: 'if_required'` is given.",
    );
    assertUsage(
      !elements?._submitMissing,
      `elements.submit() must be called before stripe.${name}().`,
    );
    const { payment_method_data: extra, ...params } = confirmParams;
    const method = params.payment_method
      ? { id: params.payment_method }
      : await createMethod(name, elements, extra);
    if (method.error) return { error: method.error };
    const request = { ...params, payment_method: method.id };
    const first = await confirm(this.#api, secret, kind, request);
    const { object, error } = await handleAction(this.#api, secret, first);
    if (object && redirect === "always") return returnTo(returnUrl, object);
    return resultOf({ object, error });
  }

  async #confirmCard(clientSecret, kind, data = {}, { handleActions = true } = {}) {
    const { payment_method: method, ...params } = data;
    if (typeof method === "string") {
      params.payment_method = method;
    } else if (method) {
      const { card, ...details } = method;
      assertUsage(
        card instanceof Element && card._mounted,
        "Please use a mounted card Element, or the ID of a PaymentMethod, to confirm a card " +
          "payment.",
      );
      const { object, error } = await card._createPaymentMethod(details);
      if (error) return { error };
      params.payment_method = object.id;
    }
    const first = await confirm(this.#api, clientSecret, kind, params);
    return resultOf(handleActions ? await handleAction(this.#api, clientSecret, first) : first);
  }
}

/** Create a PaymentMethod with the Payment Element. Return a promise of `{id}` or `{error}`. */
async function createMethod(name, elements, details) {
  const element = elements?.getElement("payment");
  assertUsage(
    element?._mounted,
    `Invalid value for stripe.${name}(): elements should have a mounted Payment Element.`,
  );
  const { object, error } = await element._createPaymentMethod(details ?? {});
  return error ? { error } : { id: object.id };
}

function Stripe(key) {
  assertUsage(
    typeof key === "string" && key.startsWith("pk_"),
    "Please call Stripe() with your publishable key. " +
      `You used ${key ? "another value" : "nothing"}.`,
  );
  showBadge();
  return new LocalStripe(key);
}

// The Stripe.js release that belongs to the sandbox's API version.
Stripe.version = "endive";

window.Stripe = Stripe;
