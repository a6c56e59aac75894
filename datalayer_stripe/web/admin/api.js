/** The operator's routes of the service: docs/http-api.md. */

const PAGE_SIZE = 25;
// An account shows several lists.
const ACCOUNT_PAGE_SIZE = 10;

export class AdminApi {
  #http;
  #prefix;

  constructor(http, { adminApi }) {
    this.#http = http;
    this.#prefix = adminApi;
  }

  overview = (days) => this.#get("overview", { days });
  checks = () => this.#get("doctor");
  events = (filter, cursor) => this.#get("events", { ...filter, cursor, limit: PAGE_SIZE });
  accounts = (query, cursor) => this.#get("accounts", { query, cursor, limit: PAGE_SIZE });
  account = (uid) => this.#get(`accounts/${encodeURIComponent(uid)}`, { limit: ACCOUNT_PAGE_SIZE });

  /** Resolves to a page of one list of an account, `ledger` or `payments`. */
  accountList = (uid, list, cursor) =>
    this.#get(`accounts/${encodeURIComponent(uid)}/${list}`, { cursor, limit: ACCOUNT_PAGE_SIZE });

  replay = (id) => this.#http.json(`${this.#prefix}/events/${encodeURIComponent(id)}/replay`, {});

  #get(path, parameters = {}) {
    const given = Object.entries(parameters).filter(([, value]) => value);
    const query = given.length > 0 ? `?${new URLSearchParams(given)}` : "";
    return this.#http.json(`${this.#prefix}/${path}${query}`);
  }
}
