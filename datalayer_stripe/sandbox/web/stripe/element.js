import { assertUsage } from "./errors.js";
import { Frame } from "./frame.js";

export const TITLES = {
  card: "Secure card payment input frame",
  payment: "Secure payment input frame",
};
const CLASSES = ["complete", "empty", "focus", "invalid"];

/**
 * One Element: https://docs.stripe.com/js/element
 *
 * Its `Elements` group passes two functions. `setup()` returns a promise of the settings for the
 * iframe, or of `{error}`. `onDestroy()` is called when the Element is destroyed.
 */
export class Element {
  #type;
  #options;
  #setup;
  #onDestroy;
  #frame = null;
  #container = null;
  #handlers = new Map();

  constructor(type, options, setup, onDestroy) {
    this.#type = type;
    this.#options = options;
    this.#setup = setup;
    this.#onDestroy = onDestroy;
  }

  get _mounted() {
    return this.#frame !== null;
  }

  mount(target) {
    const container = findContainer(target);
    if (container === this.#container) return;
    this.unmount();
    this.#container = container;
    const path = `/sandbox/elements/${this.#type}.html`;
    this.#frame = new Frame(path, TITLES[this.#type], this.#handleMessage);
    container.replaceChildren(this.#frame.node);
    container.classList.add("StripeElement", "StripeElement--empty");
    this.#start(this.#frame);
  }

  unmount() {
    this.#frame?.remove();
    this.#container?.classList.remove("StripeElement");
    for (const name of CLASSES) this.#toggleClass(name, false);
    this.#frame = this.#container = null;
  }

  destroy() {
    this.unmount();
    this.#handlers.clear();
    this.#onDestroy();
  }

  update(options) {
    this.#options = { ...this.#options, ...options };
    this.#frame?.call("update", { options: this.#options });
  }

  focus() {
    this.#frame?.call("focus");
  }

  blur() {
    this.#frame?.call("blur");
  }

  clear() {
    this.#frame?.call("clear");
  }

  on(event, handler) {
    if (!this.#handlers.has(event)) this.#handlers.set(event, new Set());
    this.#handlers.get(event).add(handler);
    return this;
  }

  once(event, handler) {
    const first = (data) => {
      this.off(event, first);
      handler(data);
    };
    return this.on(event, first);
  }

  off(event, handler) {
    if (handler) this.#handlers.get(event)?.delete(handler);
    else this.#handlers.delete(event);
    return this;
  }

  /** Apply a new appearance to the iframe. */
  _restyle(appearance) {
    this.#frame?.call("update", { appearance });
  }

  /** Validate the fields, which also show the error. Return a promise of `{}` or `{error}`. */
  _validate() {
    return this.#frame.call("validate");
  }

  /** Create a PaymentMethod from the card. Return a promise of `{object}` or `{error}`. */
  _createPaymentMethod(details) {
    return this.#frame.call("createPaymentMethod", details);
  }

  async #start(frame) {
    const { error, ...settings } = await this.#setup();
    if (frame !== this.#frame) return;
    if (error) {
      this.#emit("loaderror", { elementType: this.#type, error });
      return;
    }
    await frame.call("start", { ...settings, options: this.#options });
    if (frame === this.#frame) this.#emit("ready", { elementType: this.#type });
  }

  #handleMessage = (event, data) => {
    if (event === "resize") {
      this.#frame.node.style.height = `${data.height}px`;
      return;
    }
    if (event === "change") {
      this.#toggleClass("complete", data.complete);
      this.#toggleClass("empty", data.empty);
      this.#toggleClass("invalid", Boolean(data.error));
    } else {
      this.#toggleClass("focus", event === "focus");
    }
    // The Payment Element shows its errors itself and does not report them to the page.
    const { brand, error, ...state } = data ?? {};
    const card = this.#type === "card" ? { brand, error } : {};
    this.#emit(event, { elementType: this.#type, ...state, ...card });
  };

  #toggleClass(name, on) {
    this.#container?.classList.toggle(`StripeElement--${name}`, on);
  }

  #emit(event, data) {
    for (const handler of [...(this.#handlers.get(event) ?? [])]) handler(data);
  }
}

function findContainer(target) {
  assertUsage(
    target,
    "Missing argument. Make sure to call mount() with a valid DOM element or selector.",
  );
  if (typeof target !== "string") return target;
  const found = document.querySelector(target);
  assertUsage(
    found,
    `The selector you specified (${target}) applies to no DOM elements that are currently on the ` +
      "page. Make sure the element exists on the page before calling mount().",
  );
  return found;
}
