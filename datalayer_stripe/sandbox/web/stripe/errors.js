/** Wrong use by the page: thrown. The troubles of a payment are returned as `{error}` instead. */
export class IntegrationError extends Error {
  name = "IntegrationError";
}

export function demand(condition, message) {
  if (!condition) throw new IntegrationError(message);
}
