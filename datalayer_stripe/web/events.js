/**
 * Parser of server-sent events:
 * https://html.spec.whatwg.org/multipage/server-sent-events.html#parsing-an-event-stream
 */

export class EventParser {
  lastEventId = "";
  #rest = "";
  #type = "";
  #data = [];

  /** Parse the next piece of the stream. Yields each event that it completes. */
  *feed(text) {
    this.#rest += text;
    // Keep a final "\r": it may be the first half of "\r\n".
    const lines = this.#rest.split(/\r\n|\n|\r(?!$)/);
    this.#rest = lines.pop();
    for (const line of lines) {
      if (line !== "") this.#parseLine(line);
      else if (this.#data.length > 0) yield this.#event();
      else this.#type = "";
    }
  }

  #parseLine(line) {
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
