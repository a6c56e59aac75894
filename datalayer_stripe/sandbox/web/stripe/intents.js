import { authenticate } from "./challenge.js";
import { assertUsage } from "./errors.js";

const NAMES = { payment_intent: "paymentIntent", setup_intent: "setupIntent" };
const SECRET = /^((pi|seti)_\w+)_secret_\w+$/;

/** Return the API path of a client secret's intent. */
function pathOf(clientSecret, kind) {
  const [, id, prefix] = SECRET.exec(clientSecret) ?? [];
  const found = prefix === "pi" ? "payment_intent" : "setup_intent";
  assertUsage(
    id && found === (kind ?? found),
    "Invalid value: the client secret should be of the form ${id}_secret_${secret}, of a " +
      `${kind ?? "payment_intent or setup_intent"}. You specified: ${clientSecret}.`,
  );
  return `/v1/${found}s/${id}`;
}

/** Retrieve an intent. Return a promise of `{object}` or `{error}`. */
export async function retrieve(api, clientSecret, kind) {
  return api("GET", pathOf(clientSecret, kind), { client_secret: clientSecret });
}

/** Confirm an intent, without authentication. Return a promise of `{object}` or `{error}`. */
export async function confirm(api, clientSecret, kind, params) {
  return api("POST", `${pathOf(clientSecret, kind)}/confirm`, {
    ...params,
    client_secret: clientSecret,
    use_stripe_sdk: true,
  });
}

/** Run the intent's next action, if there is one: the authentication of the cardholder. */
export async function handleAction(api, clientSecret, { object, error }) {
  const action = object?.next_action;
  if (error || !action) return { object, error };
  if (action.type === "redirect_to_url") return navigate(action.redirect_to_url.url);
  await authenticate(action.use_stripe_sdk.stripe_js);
  const after = await retrieve(api, clientSecret);
  const failure = after.object?.last_payment_error ?? after.object?.last_setup_error;
  return after.object?.status === "requires_payment_method" && failure
    ? { error: { ...failure, [after.object.object]: after.object } }
    : after;
}

/** Return the result in the form of the Stripe.js methods, such as `{paymentIntent}`. */
export function resultOf({ object, error }) {
  return error ? { error } : { [NAMES[object.object]]: object };
}

/** Navigate to the return URL, as Stripe does. The promise never settles: the page unloads. */
export function returnTo(url, { object, id, client_secret, status }) {
  const target = new URL(url, location.href);
  target.searchParams.set(object, id);
  target.searchParams.set(`${object}_client_secret`, client_secret);
  target.searchParams.set("redirect_status", status === "succeeded" ? "succeeded" : "pending");
  return navigate(target);
}

function navigate(url) {
  location.assign(url);
  return new Promise(() => {});
}
