/** The routes of the service that the checkout page calls: docs/http-api.md. */

export class Api {
  #http;
  #iamApi;
  #stripeApi;

  /** `http` sends the requests; `config` has the prefixes of the routes. */
  constructor(http, { iamApi, stripeApi }) {
    this.#http = http;
    this.#iamApi = iamApi;
    this.#stripeApi = stripeApi;
  }

  subscription = () => this.#http.json(`${this.#iamApi}/subscription`);
  plans = () => this.#http.json(`${this.#iamApi}/subscription/plans`);
  prices = () => this.#http.json(`${this.#stripeApi}/topup/prices`);
  paymentIntent = (id) =>
    this.#http.json(`${this.#stripeApi}/topup/payment-intent/${encodeURIComponent(id)}`);

  history(cursor = null) {
    const query = new URLSearchParams({ limit: 20, ...(cursor && { cursor }) });
    return this.#http.json(`${this.#stripeApi}/topup/history?${query}`);
  }

  startTopUp = (priceId) =>
    this.#http.json(`${this.#stripeApi}/topup/payment-intent`, { price_id: priceId });
  subscribe = (priceId) =>
    this.#http.json(`${this.#stripeApi}/subscription/payment-intent`, { price_id: priceId });
  cancel = () => this.#http.json(`${this.#iamApi}/subscription/cancel`, {});
  resume = () => this.#http.json(`${this.#iamApi}/subscription/resume`, {});
  portal = (returnUrl) => this.#http.json(`${this.#iamApi}/checkout/portal`, { return_url: returnUrl });

  /** Open the event stream. Resolves to a Response; the stream ends when `signal` is aborted. */
  stream(lastEventId, signal) {
    const headers = { Accept: "text/event-stream" };
    if (lastEventId) headers["Last-Event-ID"] = lastEventId;
    return this.#http.fetch(`${this.#stripeApi}/stream`, { headers, signal });
  }
}
