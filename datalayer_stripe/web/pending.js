/**
 * The payment that is not finished, so that a reload or a bank's redirect can go on with it.
 * Only ids are kept: { accountUid, kind, id, priceId }, where `id` is the PaymentIntent's or the
 * subscription's, and what is not known is null.
 */

const KEY = "datalayer-stripe:pending";

export function remember(payment) {
  try {
    sessionStorage.setItem(KEY, JSON.stringify(payment));
  } catch {
    // Without storage there is nothing to go on with after a reload, and nothing else is lost.
  }
}

export function forget() {
  try {
    sessionStorage.removeItem(KEY);
  } catch {
    // As above.
  }
}

export function recall() {
  try {
    return JSON.parse(sessionStorage.getItem(KEY));
  } catch {
    return null;
  }
}

/**
 * After a redirect, Stripe's parameters are in the address: take the PaymentIntent's id, and remove
 * them, since one is a client secret. docs.stripe.com/js/payment_intents/confirm_payment
 */
export function takeReturned() {
  const url = new URL(location.href);
  const id = url.searchParams.get("payment_intent");
  const stripes = [...url.searchParams.keys()].filter((name) =>
    /^(payment_intent|setup_intent|redirect_status)/.test(name),
  );
  if (stripes.length === 0) return;
  for (const name of stripes) url.searchParams.delete(name);
  history.replaceState(history.state, "", url);
  if (id && !recall()) remember({ accountUid: null, kind: "top-up", id, priceId: null });
}
