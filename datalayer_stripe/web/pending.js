/**
 * Store the unfinished payment in sessionStorage, so that it continues after a reload or a bank's
 * redirect. Only ids are stored: { accountUid, kind, id, priceId }. `id` is the PaymentIntent's or
 * the subscription's id. Unknown values are null.
 */

const KEY = "datalayer-stripe:pending";

export function savePending(payment) {
  try {
    sessionStorage.setItem(KEY, JSON.stringify(payment));
  } catch {
    // Without storage, only the continuation after a reload is lost.
  }
}

export function clearPending() {
  try {
    sessionStorage.removeItem(KEY);
  } catch {
    // See above.
  }
}

export function loadPending() {
  try {
    return JSON.parse(sessionStorage.getItem(KEY));
  } catch {
    return null;
  }
}

/**
 * Remove the parameters that Stripe adds to the URL of a redirect, because one is a client secret,
 * and store the id of the PaymentIntent. https://docs.stripe.com/js/payment_intents/confirm_payment
 */
export function takeRedirectParameters() {
  const url = new URL(location.href);
  const id = url.searchParams.get("payment_intent");
  const stripeNames = [...url.searchParams.keys()].filter((name) =>
    /^(payment_intent|setup_intent|redirect_status)/.test(name),
  );
  if (stripeNames.length === 0) return;
  for (const name of stripeNames) url.searchParams.delete(name);
  history.replaceState(history.state, "", url);
  if (id && !loadPending()) savePending({ accountUid: null, kind: "top-up", id, priceId: null });
}
