import { authenticate } from "./challenge.js";
import { demand } from "./errors.js";

const NAMES = { payment_intent: "paymentIntent", setup_intent: "setupIntent" };
const SECRET = /^((pi|seti)_\w+)_secret_\w+$/;

/** Where the intent of a client secret is. */
function pathOf(clientSecret, kind) {
  const [, id, prefix] = SECRET.exec(clientSecret) ?? [];
  const found = prefix === "pi" ? "payment_intent" : "setup_intent";
  demand(
    id && found === (kind ?? found),
    "Invalid value: the client secret should be of the form ${id}_secret_${secret}, of a " +
      `${kind ?? "payment_intent or setup_intent"}. You specified: ${clientSecret}.`,
  );
  return `/v1/${found}s/${id}`;
}

/** Resolves to `{object}` or `{error}`. */
export async function retrieve(api, clientSecret, kind) {
  return api("GET", pathOf(clientSecret, kind), { client_secret: clientSecret });
}

/** Confirm an intent; resolves to `{object}` or `{error}`, and asks for no authentication. */
export async function confirm(api, clientSecret, kind, params) {
  return api("POST", `${pathOf(clientSecret, kind)}/confirm`, {
    ...params,
    client_secret: clientSecret,
    use_stripe_sdk: true,
  });
}

/** Have the card's holder authenticate, if that is what an intent waits for. */
export async function act(api, clientSecret, { object, error }) {
  const action = object?.next_action;
  if (error || !action) return { object, error };
  if (action.type === "redirect_to_url") return leave(action.redirect_to_url.url);
  await authenticate(action.use_stripe_sdk.stripe_js);
  const after = await retrieve(api, clientSecret);
  const failure = after.object?.last_payment_error ?? after.object?.last_setup_error;
  return after.object?.status === "requires_payment_method" && failure
    ? { error: { ...failure, [after.object.object]: after.object } }
    : after;
}

/** What the methods of Stripe.js resolve to. */
export function resultOf({ object, error }) {
  return error ? { error } : { [NAMES[object.object]]: object };
}

/** Go to the page's return URL as Stripe does; the promise stays open, as the page ends. */
export function returnTo(url, { object, id, client_secret, status }) {
  const target = new URL(url, location.href);
  target.searchParams.set(object, id);
  target.searchParams.set(`${object}_client_secret`, client_secret);
  target.searchParams.set("redirect_status", status === "succeeded" ? "succeeded" : "pending");
  return leave(target);
}

function leave(url) {
  location.assign(url);
  return new Promise(() => {});
}
