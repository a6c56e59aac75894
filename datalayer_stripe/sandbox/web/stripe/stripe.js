import { apiOf } from "./api.js";
import { showBadge } from "./badge.js";
import { Element } from "./element.js";
import { Elements } from "./elements.js";
import { demand } from "./errors.js";
import { act, confirm, resultOf, retrieve, returnTo } from "./intents.js";
import { ORIGIN } from "./origin.js";

/** The Stripe object: https://docs.stripe.com/js */
class LocalStripe {
  #key;
  #api;

  constructor(key) {
    this.#key = key;
    this.#api = apiOf(ORIGIN, key);
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
    return resultOf(await act(this.#api, clientSecret, found));
  }

  async handleCardAction(clientSecret) {
    const found = await retrieve(this.#api, clientSecret, "payment_intent");
    return resultOf(await act(this.#api, clientSecret, found));
  }

  async retrievePaymentIntent(clientSecret) {
    return resultOf(await retrieve(this.#api, clientSecret, "payment_intent"));
  }

  async retrieveSetupIntent(clientSecret) {
    return resultOf(await retrieve(this.#api, clientSecret, "setup_intent"));
  }

  async createPaymentMethod({ elements, params, type, card, billing_details, metadata }) {
    const element = elements ? elements.getElement("payment") : card;
    demand(elements || type === "card", "createPaymentMethod() takes the type card, or elements.");
    demand(element?._mounted, "createPaymentMethod() needs a mounted Element.");
    const { object, error } = await element._createPaymentMethod(
      params ?? { billing_details, metadata },
    );
    return error ? { error } : { paymentMethod: object };
  }

  async createToken() {
    return {
      error: {
        type: "invalid_request_error",
        message: "The local Stripe has no tokens. Use createPaymentMethod().",
      },
    };
  }

  registerAppInfo() {}

  _registerWrapper() {}

  async #confirm(name, kind, { elements, clientSecret, confirmParams = {}, redirect = "always" }) {
    const secret = clientSecret ?? elements?._clientSecret;
    const returnUrl = confirmParams.return_url;
    demand(secret, `stripe.${name}() needs a client secret: elements' or one of its own.`);
    demand(
      returnUrl || redirect === "if_required",
      `stripe.${name}(): the \`confirmParams.return_url\` argument is required when using ` +
        "automatic payment methods, unless `redirect: 'if_required'` is given.",
    );
    demand(
      !elements?._submitMissing,
      `elements.submit() must be called before stripe.${name}().`,
    );
    const { payment_method_data: extra, ...params } = confirmParams;
    const method = params.payment_method
      ? { id: params.payment_method }
      : await methodOf(name, elements, extra);
    if (method.error) return { error: method.error };
    const asked = { ...params, payment_method: method.id };
    const first = await confirm(this.#api, secret, kind, asked);
    const { object, error } = await act(this.#api, secret, first);
    if (object && redirect === "always") return returnTo(returnUrl, object);
    return resultOf({ object, error });
  }

  async #confirmCard(clientSecret, kind, data = {}, { handleActions = true } = {}) {
    const { payment_method: method, ...params } = data;
    if (typeof method === "string") {
      params.payment_method = method;
    } else if (method) {
      const { card, ...details } = method;
      demand(
        card instanceof Element && card._mounted,
        "Please use a mounted card Element, or the ID of a PaymentMethod, to confirm a card " +
          "payment.",
      );
      const { object, error } = await card._createPaymentMethod(details);
      if (error) return { error };
      params.payment_method = object.id;
    }
    const first = await confirm(this.#api, clientSecret, kind, params);
    return resultOf(handleActions ? await act(this.#api, clientSecret, first) : first);
  }
}

/** The PaymentMethod that the Payment Element makes: `{id}` or `{error}`. */
async function methodOf(name, elements, details) {
  const element = elements?.getElement("payment");
  demand(
    element?._mounted,
    `Invalid value for stripe.${name}(): elements should have a mounted Payment Element.`,
  );
  const { object, error } = await element._createPaymentMethod(details ?? {});
  return error ? { error } : { id: object.id };
}

function Stripe(key) {
  demand(
    typeof key === "string" && key.startsWith("pk_"),
    "Please call Stripe() with your publishable key. " +
      `You used ${key ? "another value" : "nothing"}.`,
  );
  showBadge();
  return new LocalStripe(key);
}

// The release of Stripe.js that goes with the sandbox's version of the API.
Stripe.version = "dahlia";

window.Stripe = Stripe;
