/** Table of the account's top-ups, refunds and disputes, loaded page by page. */

import { announce, button, element, fill } from "./dom.js";
import { failure } from "./failure.js";
import { ApiError } from "./http.js";
import { money, number, shortDate, signed } from "./money.js";
import { table } from "./table.js";
import * as texts from "./texts.js";

export class History {
  entries = [];
  #body;
  #api;
  #nextCursor = null;
  #reloading = Promise.resolve();

  constructor(body, api) {
    this.#body = body;
    this.#api = api;
  }

  /** Load the newest page. Older entries that are already shown stay. */
  reload() {
    // Run reloads one after the other, so that an older answer cannot replace a newer one.
    this.#reloading = this.#reloading.then(() => this.#load());
    return this.#reloading;
  }

  async #load() {
    try {
      const { history, next_cursor } = await this.#api.history();
      const isGapless = history.some(({ id }) => id === this.entries[0]?.id);
      const older = isGapless ? this.entries.filter(isNotIn(history)) : [];
      if (older.length === 0) this.#nextCursor = next_cursor;
      this.entries = [...history, ...older];
      this.#render();
    } catch (error) {
      // If a reload fails, keep showing the entries.
      this.#fail(error, () => this.reload(), { isQuiet: this.entries.length > 0 });
    }
  }

  async #showMore() {
    try {
      const { history, next_cursor } = await this.#api.history(this.#nextCursor);
      const added = history.filter(isNotIn(this.entries));
      this.#nextCursor = next_cursor;
      this.entries = [...this.entries, ...added];
      this.#render();
      announce(texts.moreShown(number(added.length)));
    } catch (error) {
      this.#fail(error, () => this.#showMore(), { isQuiet: false });
    }
  }

  #fail(error, retry, { isQuiet }) {
    if (!(error instanceof ApiError)) throw error;
    if (isQuiet) return;
    const shown = this.entries.length > 0 ? historyTable(this.entries) : null;
    fill(this.#body, shown, failure(error, texts.historyUnavailable, retry));
  }

  #render() {
    if (this.entries.length === 0) {
      return fill(this.#body, element("p", { className: "empty" }, texts.nothingYet));
    }
    const more = button(texts.showMore, () => this.#showMore(), { id: "history-more" });
    return fill(this.#body, historyTable(this.entries), this.#nextCursor === null ? null : more);
  }
}

const isNotIn = (others) => {
  const known = new Set(others.map(({ id }) => id));
  return ({ id }) => !known.has(id);
};

const columns = Object.entries(texts.historyColumns).map(([name, text]) => ({ name, text }));

const historyTable = (entries) =>
  table({ columns, rows: entries.map(cells), label: { "aria-labelledby": "history-heading" } });

const cells = (entry) => ({
  date: element("time", { dateTime: entry.created_at }, shortDate(entry.created_at)),
  what: texts.historyKind(entry.kind),
  credits: signed(entry.credits),
  amount: entry.amount ? money(entry.amount, entry.currency) : "", // a debt has no amount
  receipt: entry.receipt_url === null ? "" : receiptLink(entry),
});

/** Create a link to Stripe's receipt, with an accessible name that is unique in the table. */
export function receiptLink({ receipt_url, credits, created_at }) {
  const count = Math.abs(credits);
  return element(
    "a",
    {
      href: receipt_url,
      target: "_blank",
      rel: "noopener",
      "aria-label": texts.receiptFor(
        number(count),
        texts.creditsUnit(count),
        shortDate(created_at),
      ),
    },
    texts.receipt,
  );
}
