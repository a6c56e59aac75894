/** HTTP client of one account, and the errors of the service: docs/http-api.md. */

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
export class HttpClient {
  #token;
  #signal;
  #onUnauthorized;

  /** `token()` returns the account's current token. `onUnauthorized` is called on a 401. */
  constructor({ token, signal, onUnauthorized }) {
    this.#token = token;
    this.#signal = signal;
    this.#onUnauthorized = onUnauthorized;
  }

  /** GET, or POST if there is a body. Resolves to the JSON; rejects with ApiError. */
  async json(url, body) {
    const options = { headers: {}, signal: AbortSignal.timeout(TIMEOUT_MS) };
    if (body !== undefined) {
      options.method = "POST";
      options.headers["Content-Type"] = "application/json";
      options.body = JSON.stringify(body);
    }
    const response = await this.fetch(url, options);
    return this.#withNetworkErrors(response.json());
  }

  /** Like the global `fetch`, with the credentials. Rejects with ApiError unless it succeeds. */
  async fetch(url, options) {
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
      if (this.#token() !== token) return this.fetch(url, options);
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
