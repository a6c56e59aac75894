import { demand } from "./errors.js";
import { Frame } from "./frame.js";

export const TITLES = {
  card: "Secure card payment input frame",
  payment: "Secure payment input frame",
};
const CLASSES = ["complete", "empty", "focus", "invalid"];

/**
 * One Element: https://docs.stripe.com/js/element
 *
 * What it needs of its Elements is `setup()`: resolves to what its iframe is told at the start,
 * or to `{error}`.
 */
export class Element {
  #type;
  #options;
  #setup;
  #forget;
  #frame = null;
  #container = null;
  #handlers = new Map();

  constructor(type, options, setup, forget) {
    this.#type = type;
    this.#options = options;
    this.#setup = setup;
    this.#forget = forget;
  }

  get _mounted() {
    return this.#frame !== null;
  }

  mount(where) {
    const container = containerOf(where);
    if (container === this.#container) return;
    this.unmount();
    this.#container = container;
    this.#frame = new Frame(`/sandbox/elements/${this.#type}.html`, TITLES[this.#type], this.#hear);
    container.replaceChildren(this.#frame.node);
    container.classList.add("StripeElement", "StripeElement--empty");
    this.#start(this.#frame);
  }

  unmount() {
    this.#frame?.remove();
    this.#container?.classList.remove("StripeElement");
    for (const name of CLASSES) this.#mark(name, false);
    this.#frame = this.#container = null;
  }

  destroy() {
    this.unmount();
    this.#handlers.clear();
    this.#forget();
  }

  update(options) {
    this.#options = { ...this.#options, ...options };
    this.#frame?.ask("update", { options: this.#options });
  }

  focus() {
    this.#frame?.ask("focus");
  }

  blur() {
    this.#frame?.ask("blur");
  }

  clear() {
    this.#frame?.ask("clear");
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

  /** Tell the iframe of a new appearance. */
  _restyle(appearance) {
    this.#frame?.ask("update", { appearance });
  }

  /** Check the fields; resolves to `{}` or to `{error}`, which the fields show as well. */
  _validate() {
    return this.#frame.ask("validate");
  }

  /** Have the iframe turn its card into a PaymentMethod: `{object}` or `{error}`. */
  _createPaymentMethod(details) {
    return this.#frame.ask("createPaymentMethod", details);
  }

  async #start(frame) {
    const { error, ...told } = await this.#setup();
    if (frame !== this.#frame) return;
    if (error) {
      this.#emit("loaderror", { elementType: this.#type, error });
      return;
    }
    await frame.ask("start", { ...told, options: this.#options });
    if (frame === this.#frame) this.#emit("ready", { elementType: this.#type });
  }

  #hear = (event, data) => {
    if (event === "resize") {
      this.#frame.node.style.height = `${data.height}px`;
      return;
    }
    if (event === "change") {
      this.#mark("complete", data.complete);
      this.#mark("empty", data.empty);
      this.#mark("invalid", Boolean(data.error));
    } else {
      this.#mark("focus", event === "focus");
    }
    // The Payment Element shows its errors by itself, and keeps them to itself.
    const { brand, error, ...state } = data ?? {};
    const card = this.#type === "card" ? { brand, error } : {};
    this.#emit(event, { elementType: this.#type, ...state, ...card });
  };

  #mark(name, on) {
    this.#container?.classList.toggle(`StripeElement--${name}`, on);
  }

  #emit(event, data) {
    for (const handler of [...(this.#handlers.get(event) ?? [])]) handler(data);
  }
}

function containerOf(where) {
  demand(
    where,
    "Missing argument. Make sure to call mount() with a valid DOM element or selector.",
  );
  if (typeof where !== "string") return where;
  const found = document.querySelector(where);
  demand(
    found,
    `The selector you specified (${where}) applies to no DOM elements that are currently on the ` +
      "page. Make sure the element exists on the page before calling mount().",
  );
  return found;
}
