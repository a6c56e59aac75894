/** Poll the state of a paid purchase until it is fulfilled. */

import { ApiError } from "./http.js";
import { pause } from "./timing.js";

// After this time the page says that the purchase takes longer than usual.
const LATE_AFTER_MS = 60_000;
// A rejected payment waits for a person, so poll it rarely.
const REJECTED_POLL_MS = 60_000;

const PAID = new Set(["paid", "processing", "rejected"]);

/**
 * Poll until the state is "done", "open" or "over". Resolves to that answer.
 *
 * `state` is the last known state. `changed()` returns a promise that ends the current pause early.
 * `onProgress(state, isLate)` is called before each request.
 */
export async function waitForFulfilment(purchase, { state, account, signal, changed, onProgress }) {
  const isLate = startLateTimer();
  for (const milliseconds of pollIntervals(state, account.isConnected, isLate)) {
    onProgress(state, isLate());
    const interval = state === "rejected" ? REJECTED_POLL_MS : milliseconds;
    await Promise.race([pause(interval, signal), changed()]);
    const answer = await fetchState(purchase, account, signal);
    if (answer && endsWaiting(state, answer.state)) return answer;
    if (PAID.has(answer?.state)) state = answer.state;
  }
}

/**
 * Fetch the state of a payment of which nothing is known yet, and retry until the service responds.
 * The form must not open before that, because the payment may already be made.
 */
export async function fetchFirstState(purchase, { state, account, signal, changed, onProgress }) {
  const isLate = startLateTimer();
  for (;;) {
    onProgress(state, isLate());
    const answer = await fetchState(purchase, account, signal);
    if (answer) return answer;
    await Promise.race([pause(5_000, signal), changed()]);
  }
}

/**
 * Whether an answer ends the polling. A payment that Stripe reported as paid stays paid, whatever a
 * later answer says, so that no second payment is offered by mistake. Only a payment that is still
 * processing can fail.
 */
function endsWaiting(state, answered) {
  return answered === "done" || (state === "processing" && ["open", "over"].includes(answered));
}

function startLateTimer() {
  const startedAt = performance.now();
  return () => performance.now() - startedAt > LATE_AFTER_MS;
}

/** Yield the pauses between requests. Without the stream, the first one is short. */
function* pollIntervals(state, isConnected, isLate) {
  if (state === "done") yield 0;
  if (!isConnected) yield 300;
  yield* [1_000, 2_000, 4_000];
  for (;;) yield isLate() ? 15_000 : 5_000;
}

/** Fetch the state of a purchase. On an error, wait for its Retry-After and resolve to null. */
async function fetchState(purchase, account, signal) {
  try {
    const answer = await purchase.fetchState(account);
    signal.throwIfAborted();
    return answer;
  } catch (error) {
    signal.throwIfAborted();
    if (!(error instanceof ApiError)) throw error;
    await pause(error.retryAfter * 1000, signal);
    return null;
  }
}
