/**
 * Return a function that calls Stripe's API with a publishable key.
 *
 * The function returns a promise of `{object}` or, like the methods of Stripe.js, of `{error}`.
 */
export function createApi(origin, key) {
  return async (method, path, params = {}) => {
    const url = new URL(path, origin);
    const form = new URLSearchParams(encodeParams(params));
    const request = { method, headers: { Authorization: `Bearer ${key}` } };
    if (method === "GET") url.search = form;
    else request.body = form;
    try {
      const response = await fetch(url, request);
      const answer = await response.json();
      return response.ok ? { object: answer } : { error: answer.error };
    } catch {
      return { error: UNREACHABLE };
    }
  };
}

const UNREACHABLE = {
  type: "api_connection_error",
  message: "The local Stripe cannot be reached. Check that it is running, and try again.",
};

/** Encode nested parameters as Stripe expects them: `{card: {number}}` becomes `card[number]`. */
function encodeParams(params, prefix = "") {
  return Object.entries(params).flatMap(([name, value]) => {
    const key = prefix ? `${prefix}[${name}]` : name;
    if (value === null || value === undefined) return [];
    return typeof value === "object" ? encodeParams(value, key) : [[key, String(value)]];
  });
}
