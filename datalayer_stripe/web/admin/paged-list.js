/** A list that is loaded page by page. */

import { announce, button, element, fill } from "../dom.js";
import { failure } from "../failure.js";
import { ApiError } from "../http.js";
import { number } from "../money.js";
import * as texts from "./texts.js";

export class PagedList {
  #body;
  #fetchPage;
  #render;
  #empty;
  #moreId;
  #entries = [];
  #cursor = null;

  /**
   * `fetchPage(cursor)` resolves to `{ entries, cursor }`, with a null cursor after the last page.
   * `render(entries)` creates the element that shows them. `empty` is shown without entries.
   */
  constructor(body, { fetchPage, render, empty, moreId }) {
    this.#body = body;
    this.#fetchPage = fetchPage;
    this.#render = render;
    this.#empty = empty;
    this.#moreId = moreId;
  }

  /** Show a page that is already loaded, and offer the next one. */
  show({ entries, cursor }) {
    this.#entries = [...this.#entries, ...entries];
    this.#cursor = cursor;
    const more = button(texts.showMore, () => this.#showMore(), { id: this.#moreId });
    fill(this.#body, this.#shown(), cursor === null ? null : more);
  }

  #shown() {
    if (this.#entries.length > 0) return this.#render(this.#entries);
    // A page may be empty although there is a next one.
    const text = this.#cursor === null ? this.#empty : texts.noneSoFar;
    return element("p", { className: "empty" }, text);
  }

  async #showMore() {
    try {
      const page = await this.#fetchPage(this.#cursor);
      this.show(page);
      if (this.#body.isConnected) announce(texts.shown(number(page.entries.length)));
    } catch (error) {
      if (!(error instanceof ApiError)) throw error;
      const retry = () => this.#showMore();
      fill(this.#body, this.#shown(), failure(error, texts.loadFailed, retry));
    }
  }
}
