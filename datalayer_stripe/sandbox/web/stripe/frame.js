import { ORIGIN } from "./origin.js";

let frames = 0;

/** An iframe of the sandbox: card data stays in there, only messages come out. */
export class Frame {
  #answers = new Map();
  #hear;
  #open;
  #opened = new Promise((resolve) => (this.#open = resolve));
  #calls = 0;

  /** `hear(event, data)` is called with what the iframe tells. */
  constructor(path, title, hear) {
    this.#hear = hear;
    this.node = document.createElement("iframe");
    this.node.title = title;
    this.node.name = `__privateStripeFrame${++frames}`;
    this.node.src = `${ORIGIN}${path}#${encodeURIComponent(location.origin)}`;
    Object.assign(this.node.style, {
      border: "0",
      // Another scheme than the iframe's own would give it an opaque background.
      colorScheme: "light only",
      display: "block",
      // The iframe has room around its fields for the ring of the focus.
      margin: "-4px",
      width: "calc(100% + 8px)",
    });
    window.addEventListener("message", this.#receive);
  }

  /** Have the iframe do something, once it is there; resolves to its answer. */
  async ask(call, argument) {
    await this.#opened;
    const id = ++this.#calls;
    this.node.contentWindow?.postMessage({ id, call, argument }, ORIGIN);
    return new Promise((resolve) => this.#answers.set(id, resolve));
  }

  remove() {
    window.removeEventListener("message", this.#receive);
    this.node.remove();
  }

  #receive = ({ source, origin, data }) => {
    if (origin !== ORIGIN || source !== this.node.contentWindow) return;
    if (data.id) {
      this.#answers.get(data.id)?.(data.answer);
      this.#answers.delete(data.id);
    } else if (data.event === "open") {
      this.#open();
    } else {
      this.#hear(data.event, data.data);
    }
  };
}
