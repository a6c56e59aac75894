/**
 * Return a function that calls Stripe's API with a publishable key.
 * It resolves to `{object}` or, like the methods of Stripe.js, to `{error}`.
 */
export function apiOf(origin, key) {
  return async (method, path, params = {}) => {
    const url = new URL(path, origin);
    const form = new URLSearchParams(pairs(params));
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
  message: "We could not reach the local Stripe. Check that it still runs, and try again.",
};

/** Nested parameters as Stripe takes them: `{card: {number}}` becomes `card[number]`. */
function pairs(params, prefix = "") {
  return Object.entries(params).flatMap(([name, value]) => {
    const key = prefix ? `${prefix}[${name}]` : name;
    if (value === null || value === undefined) return [];
    return typeof value === "object" ? pairs(value, key) : [[key, String(value)]];
  });
}
