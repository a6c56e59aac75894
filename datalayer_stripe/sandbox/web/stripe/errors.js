/** Wrong use of Stripe.js by the page. Payment errors are not thrown but returned as `{error}`. */
export class IntegrationError extends Error {
  name = "IntegrationError";
}

/** Throw an `IntegrationError` unless the condition holds. */
export function assertUsage(condition, message) {
  if (!condition) throw new IntegrationError(message);
}
