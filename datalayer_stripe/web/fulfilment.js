/** Waiting until what has been paid for is there. */

import { ApiError } from "./api.js";
import { pause } from "./timing.js";

const PATIENCE_MS = 60_000;
const PEOPLE_TAKE_MS = 60_000;

const PAID = new Set(["paid", "processing", "rejected"]);

/**
 * Ask until it is "done", "open" or "over", and resolve to that answer.
 *
 * `state` is how it stands, as far as is known. `nudged()` gives a promise that cuts the current
 * pause short. `onProgress(state, isLate)` is called before each turn.
 */
export async function fulfilment(purchase, { state, account, signal, nudged, onProgress }) {
  const isLate = lateness();
  for (const milliseconds of pauses(state, account.isConnected, isLate)) {
    onProgress(state, isLate());
    const patience = state === "rejected" ? PEOPLE_TAKE_MS : milliseconds;
    await Promise.race([pause(patience, signal), nudged()]);
    const answer = await ask(purchase, account, signal);
    if (answer && endsWaiting(state, answer.state)) return answer;
    if (PAID.has(answer?.state)) state = answer.state;
  }
}

/**
 * Resolve to how a payment stands of which nothing is known. It is not to be paid again until
 * somebody could say: while the service cannot, it is asked again.
 */
export async function firstAnswer(purchase, { state, account, signal, nudged, onProgress }) {
  const isLate = lateness();
  for (;;) {
    onProgress(state, isLate());
    const answer = await ask(purchase, account, signal);
    if (answer) return answer;
    await Promise.race([pause(5_000, signal), nudged()]);
  }
}

/**
 * What Stripe has said to be paid stays paid, whatever answers in between: only what is still being
 * processed may come to nothing. Nobody is to be offered a second payment by mistake.
 */
function endsWaiting(state, answered) {
  return answered === "done" || (state === "processing" && ["open", "over"].includes(answered));
}

function lateness() {
  const begun = performance.now();
  return () => performance.now() - begun > PATIENCE_MS;
}

/** The stream tells of the credits mostly at once; only without it is there a hurry to ask. */
function* pauses(state, isConnected, isLate) {
  if (state === "done") yield 0;
  if (!isConnected) yield 300;
  yield* [1_000, 2_000, 4_000];
  for (;;) yield isLate() ? 15_000 : 5_000;
}

/** The answer; null, after the wait that it asks for, where the service has none. */
async function ask(purchase, account, signal) {
  try {
    const answer = await purchase.ask(account);
    signal.throwIfAborted();
    return answer;
  } catch (error) {
    signal.throwIfAborted();
    if (!(error instanceof ApiError)) throw error;
    await pause(error.retryAfter * 1000, signal);
    return null;
  }
}
