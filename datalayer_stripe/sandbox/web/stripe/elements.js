import { Element, TITLES } from "./element.js";
import { assertUsage } from "./errors.js";
import { retrieve } from "./intents.js";

const OPEN_STATUSES = ["requires_payment_method", "requires_confirmation", "requires_action"];

/** A group of Elements for one payment: https://docs.stripe.com/js/elements_object */
export class Elements {
  #key;
  #api;
  #options;
  #elements = new Map();
  #submitted = false;

  constructor(key, api, options) {
    this.#key = key;
    this.#api = api;
    this.#options = options;
  }

  get _clientSecret() {
    return this.#options.clientSecret;
  }

  /** With `mode` instead of a client secret, the page creates the intent after `submit()`. */
  get _submitMissing() {
    return Boolean(this.#options.mode) && !this.#submitted;
  }

  create(type, options = {}) {
    assertUsage(
      type in TITLES,
      "A valid Element name must be provided. The local Stripe supports these Elements: " +
        `${Object.keys(TITLES).join(", ")}. You passed: ${type}.`,
    );
    assertUsage(!this.#elements.has(type), `Can only create one Element of type ${type}.`);
    assertUsage(
      type !== "payment" || this.#options.clientSecret || this.#options.mode,
      "In order to create a payment element, you must pass a clientSecret or mode when creating " +
        "the Elements group.",
    );
    const setup = () => this.#setup(type);
    const element = new Element(type, options, setup, () => this.#elements.delete(type));
    element.on("change", () => (this.#submitted = false));
    this.#elements.set(type, element);
    return element;
  }

  /** `type` may also be a component of @stripe/react-stripe-js, which contains its type. */
  getElement(type) {
    return this.#elements.get(type?.__elementType ?? type) ?? null;
  }

  update(options) {
    this.#options = { ...this.#options, ...options };
    if (!options.appearance) return;
    for (const element of this.#elements.values()) element._restyle(options.appearance);
  }

  async fetchUpdates() {
    if (!this.#options.clientSecret) return {};
    const { error } = await retrieve(this.#api, this.#options.clientSecret);
    return error ? { error } : {};
  }

  async submit() {
    const element = this.getElement("payment");
    assertUsage(element?._mounted, "elements.submit() needs a mounted Payment Element.");
    const { error } = await element._validate();
    this.#submitted = !error;
    return error ? { error } : { selectedPaymentMethod: "card" };
  }

  async #setup(type) {
    const { appearance, clientSecret } = this.#options;
    if (type === "payment" && clientSecret) {
      const { object, error } = await retrieve(this.#api, clientSecret);
      if (error) return { error };
      if (!OPEN_STATUSES.includes(object.status)) return { error: terminalStateError(object) };
    }
    return { appearance, key: this.#key };
  }
}

function terminalStateError({ object, status }) {
  return {
    type: "invalid_request_error",
    code: `${object}_unexpected_state`,
    message:
      `This intent is in a terminal state (${status}) and cannot be used to initialize ` +
      "Elements.",
  };
}
