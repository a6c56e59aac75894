/** Client of the service's HTTP API: docs/http-api.md. */

import { withCredentials } from "./session.js";

const TIMEOUT_MS = 30_000;

/** Error response of the service. Without a response: `status` 0, `code` "unreachable". */
export class ApiError extends Error {
  constructor({
    status = 0,
    code = "unreachable",
    message = "",
    request_id = null,
    retryAfter = 0,
  }) {
    super(message);
    this.status = status;
    this.code = code;
    this.requestId = request_id;
    this.retryAfter = retryAfter;
  }

  /** Whether the request can be repeated later. */
  get isBusy() {
    return this.status === 429 || this.status === 503;
  }
}

/**
 * HTTP client for one account. When `signal` is aborted, all requests end, so that a page that now
 * shows another account gets no response of this one.
 */
export class Api {
  #iamApi;
  #stripeApi;
  #token;
  #signal;
  #onUnauthorized;

  /** `token()` returns the account's current token. `onUnauthorized` is called on a 401. */
  constructor({ iamApi, stripeApi, token, signal, onUnauthorized }) {
    this.#iamApi = iamApi;
    this.#stripeApi = stripeApi;
    this.#token = token;
    this.#signal = signal;
    this.#onUnauthorized = onUnauthorized;
  }

  subscription = () => this.#json(`${this.#iamApi}/subscription`);
  plans = () => this.#json(`${this.#iamApi}/subscription/plans`);
  prices = () => this.#json(`${this.#stripeApi}/topup/prices`);
  paymentIntent = (id) =>
    this.#json(`${this.#stripeApi}/topup/payment-intent/${encodeURIComponent(id)}`);

  history(cursor = null) {
    const query = new URLSearchParams({ limit: 20, ...(cursor && { cursor }) });
    return this.#json(`${this.#stripeApi}/topup/history?${query}`);
  }

  startTopUp = (priceId) =>
    this.#json(`${this.#stripeApi}/topup/payment-intent`, { price_id: priceId });
  subscribe = (priceId) =>
    this.#json(`${this.#stripeApi}/subscription/payment-intent`, { price_id: priceId });
  cancel = () => this.#json(`${this.#iamApi}/subscription/cancel`, {});
  resume = () => this.#json(`${this.#iamApi}/subscription/resume`, {});
  portal = (returnUrl) => this.#json(`${this.#iamApi}/checkout/portal`, { return_url: returnUrl });

  /** Open the event stream. Resolves to a Response; the stream ends when `signal` is aborted. */
  stream(lastEventId, signal) {
    const headers = { Accept: "text/event-stream" };
    if (lastEventId) headers["Last-Event-ID"] = lastEventId;
    return this.#fetch(`${this.#stripeApi}/stream`, { headers, signal });
  }

  async #json(url, body) {
    const options = { headers: {}, signal: AbortSignal.timeout(TIMEOUT_MS) };
    if (body !== undefined) {
      options.method = "POST";
      options.headers["Content-Type"] = "application/json";
      options.body = JSON.stringify(body);
    }
    const response = await this.#fetch(url, options);
    return this.#withNetworkErrors(response.json());
  }

  async #fetch(url, options) {
    this.#signal.throwIfAborted();
    const token = this.#token();
    const response = await this.#withNetworkErrors(
      fetch(url, {
        ...options,
        ...withCredentials(token, options.headers),
        signal: AbortSignal.any([this.#signal, options.signal]),
        cache: "no-store",
      }),
    );
    if (response.ok) return response;
    if (response.status === 401) {
      if (this.#token() !== token) return this.#fetch(url, options);
      this.#onUnauthorized();
    }
    this.#signal.throwIfAborted();
    throw await readError(response);
  }

  async #withNetworkErrors(promise) {
    try {
      return await promise;
    } catch (error) {
      this.#signal.throwIfAborted();
      throw new ApiError({ message: String(error) });
    }
  }
}

async function readError(response) {
  // A proxy in front of the service may respond without JSON.
  const body = await response.json().catch(() => ({}));
  return new ApiError({
    code: "unknown",
    ...body,
    status: response.status,
    retryAfter: Number(response.headers.get("Retry-After")) || 0,
  });
}
