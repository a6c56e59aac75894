/** Server-sent events from a stream of text: html.spec.whatwg.org/#parsing-an-event-stream. */

export class EventParser {
  lastEventId = "";
  #rest = "";
  #type = "";
  #data = [];

  /** The events that `text`, the next piece of the stream, completes. */
  *feed(text) {
    this.#rest += text;
    // A "\r" at the very end may be the first half of "\r\n".
    const lines = this.#rest.split(/\r\n|\n|\r(?!$)/);
    this.#rest = lines.pop();
    for (const line of lines) {
      if (line !== "") this.#take(line);
      else if (this.#data.length > 0) yield this.#event();
      else this.#type = "";
    }
  }

  #take(line) {
    const [, field, value = ""] = /^([^:]*)(?:: ?(.*))?$/.exec(line);
    if (field === "event") this.#type = value;
    else if (field === "data") this.#data.push(value);
    else if (field === "id" && !value.includes("\0")) this.lastEventId = value;
  }

  #event() {
    const event = { type: this.#type || "message", data: this.#data.join("\n") };
    this.#type = "";
    this.#data = [];
    return event;
  }
}
