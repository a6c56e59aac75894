/** What an operator can do about an event: docs/operations.md, "Rejected events". */

const acceptCommand = (id, reason) =>
  `datalayer-stripe events accept ${id} --reason "…"` +
  (/\baccount_uid\b/.test(reason) ? " --account UID" : "") +
  (/\bcredits\b/.test(reason) ? " --credits N" : "");

// The beginning of a plugin's reason, or a part of it, and what to do. The first match counts.
const ADVICE = [
  [
    /^(metadata lacks|not a valid top-up)/,
    "A person created or changed this payment by hand. Refund it in Stripe's dashboard, or credit " +
      "it with the command below.",
    acceptCommand,
  ],
  [
    /^(status is|amount_received)/,
    "Less was paid than the package costs. Look at the payment in Stripe's dashboard, and refund " +
      "what was paid.",
  ],
  [
    /^paid by/,
    "The payment belongs to a customer that is not the account's. Ask the owner. Credit it with the " +
      "command below, or refund it in Stripe's dashboard.",
    acceptCommand,
  ],
  [
    /^no account for subscription/,
    "The subscription was created by hand, of an unknown customer. Set account_uid in its metadata " +
      "in Stripe's dashboard, and replay this event.",
  ],
  [
    /^given up after/,
    "Deferred work failed for three days; the last error is above. Remove its cause, and replay " +
      "this event.",
  ],
  [
    /does not handle .* any more/,
    "The plugin has been changed since. Install a version that handles this type, and replay this " +
      "event, or leave it.",
  ],
  [
    /^the top-up was rejected/,
    "The payment of this refund or dispute gave no credits. Replay the event named above, and then " +
      "this one. Leave both if the money has gone back.",
  ],
  [
    /, the payment in /,
    "The refund or dispute has another currency than its payment. Take its credits back by hand: " +
      "this command names it.",
    () => "datalayer-stripe audit",
  ],
  [
    /^Stripe has no subscription/,
    "The subscription was deleted, or belongs to another Stripe account. There is nothing to do if " +
      "it was deleted.",
  ],
];

const UNKNOWN_REJECTION =
  "Remove the cause that is named above, and replay this event. A plugin that has finished it does " +
  "not run again.";
const FAILED =
  "Nothing, if it passes: it is tried again for up to three days. Otherwise look for this event in " +
  "the service's log, remove the cause, and replay it.";

/** Return `{ text, command }` for an event; null if there is nothing to do. */
export function adviceFor(event) {
  for (const plugin of event.rejected) {
    const reason = event.handlers[plugin]?.error ?? "";
    const [, text, command] = ADVICE.find(([pattern]) => pattern.test(reason)) ?? [];
    return { text: text ?? UNKNOWN_REJECTION, command: command?.(event.id, reason) ?? null };
  }
  return event.failed.length > 0 ? { text: FAILED, command: null } : null;
}
