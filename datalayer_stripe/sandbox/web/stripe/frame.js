import { ORIGIN } from "./origin.js";

let frames = 0;

/** An iframe of the sandbox. Card data stays in it; it exchanges messages with the page. */
export class Frame {
  #answers = new Map();
  #onEvent;
  #open;
  #opened = new Promise((resolve) => (this.#open = resolve));
  #lastId = 0;

  /** `onEvent(event, data)` is called with each event of the iframe. */
  constructor(path, title, onEvent) {
    this.#onEvent = onEvent;
    this.node = document.createElement("iframe");
    this.node.title = title;
    this.node.name = `__privateStripeFrame${++frames}`;
    this.node.src = `${ORIGIN}${path}#${encodeURIComponent(location.origin)}`;
    Object.assign(this.node.style, {
      border: "0",
      // A color scheme that differs from the iframe's own would make its background opaque.
      colorScheme: "light only",
      display: "block",
      // The iframe has space around its fields for the focus ring.
      margin: "-4px",
      width: "calc(100% + 8px)",
    });
    window.addEventListener("message", this.#handleMessage);
  }

  /** Call a function in the iframe, once it has loaded. Return a promise of the answer. */
  async call(name, argument) {
    await this.#opened;
    const id = ++this.#lastId;
    this.node.contentWindow?.postMessage({ id, call: name, argument }, ORIGIN);
    return new Promise((resolve) => this.#answers.set(id, resolve));
  }

  remove() {
    window.removeEventListener("message", this.#handleMessage);
    this.node.remove();
  }

  #handleMessage = ({ source, origin, data }) => {
    if (origin !== ORIGIN || source !== this.node.contentWindow) return;
    if (data.id) {
      this.#answers.get(data.id)?.(data.answer);
      this.#answers.delete(data.id);
    } else if (data.event === "open") {
      this.#open();
    } else {
      this.#onEvent(data.event, data.data);
    }
  };
}
