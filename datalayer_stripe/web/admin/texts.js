/** All texts of the operator's page. Amounts, numbers and times are passed in formatted. */

export { sessionEnded, showMore, signIn, tryAgain } from "../texts.js";

export const title = "Operations";
export const pageTitle = (view) => `${view} – Operations`;
export const modes = {
  test: "Test mode: no real money",
  live: "Live mode: real money",
};
export const signedInAs = (account) => `Signed in as ${account}`;
export const utcNote = "All times are in UTC.";
export const signedOut = "Sign in to see the operator's page.";
export const signInAdvice =
  "Sign in to Datalayer in this browser, as an operator. This page then continues by itself.";

// Sections

export const overview = "Overview";
export const events = "Events";
export const accounts = "Accounts";
export const checks = "Checks";

// The overview

export const range = "Days to show";
export const lastDays = (days) => (days === 365 ? "1 year" : `${days} days`);
export const creditsSold = "Credits sold";
export const creditsRefunded = "Credits taken back";
export const failedEvents = "Failed events, open now";
export const rejectedEvents = "Rejected events, open now";
export const payments = (count, amounts) => `${count} ${plural(count, "payment")}${after(amounts)}`;
export const refunds = (count, amounts) =>
  `${count} ${plural(count, "refund or dispute", "refunds and disputes")}${after(amounts)}`;
export const retriedBySelf = "They are tried again by themselves.";
export const needDecision = "They need your decision.";
export const none = "None";
export const oldestOpen = "The oldest open event is from";
export const jobsWaiting = (count) =>
  `${count} deferred ${plural(count, "job is", "jobs are")} waiting.`;
export const nothingOpen = "No event is waiting for you.";
export const salesChart = "Credits sold and taken back, by day";
export const failuresChart = "Open failed and rejected events, by the day they arrived";
export const sold = "Sold";
export const takenBack = "Taken back";
export const failed = "Failed";
export const rejected = "Rejected";
export const day = "Day";
export const asTable = "Show as a table";
export const zeroDaysOmitted = "Days without any are left out.";
export const noSales = (range) => `Nothing was sold or taken back in the last ${range}.`;
export const noFailures = (range) => `No event of the last ${range} is failed or rejected.`;
export const chartSummary = (title, parts) => `${title}: ${parts.join(", ")}.`;

// Events

export const statusFilter = "Which events";
export const statuses = {
  rejected: "Rejected",
  failed: "Failed",
  deferred: "Waiting",
  all: "All",
};
export const eventType = "Type of event";
export const eventTypeExample = "payment_intent.succeeded";
export const account = "Account";
export const filter = "Filter";
export const clearFilter = "Clear";
export const noEvents = {
  rejected: "No event is rejected. There is nothing to decide.",
  failed: "No event is failing.",
  deferred: "No deferred work is waiting.",
  all: "No event matches.",
};
export const eventsExplained = {
  rejected: "A plugin has refused these events for good. Somebody may have paid and got nothing.",
  failed: "A plugin could not finish these events. Stripe or the service tries them again.",
  deferred: "Plugins do this work after the delivery was answered.",
  all: "Everything that Stripe has delivered, newest first.",
};
export const eventStates = {
  rejected: "Rejected",
  failed: "Failed",
  deferred: "Waiting",
  done: "Done",
  none: "No plugin has run",
};
export const received = "Received";
export const whatToDo = "What to do";
export const attempts = (count) => `${count} ${plural(count, "attempt")}`;
export const nothingToWrite = "Done, nothing to write";
export const openInStripe = "Open in Stripe";
export const inStripe = (id) => `Open ${id} in Stripe's dashboard`;
export const replay = "Replay";
export const replayOf = (id) => `Replay ${id}`;
export const replayHeading = "Replay this event?";
export const replayText = (type, id, isLive) =>
  `${type}, ${id}, is processed as if Stripe had just delivered it. A plugin that has finished ` +
  "it does not run again, so that no credits are given twice." +
  (isLive ? " This is live mode: the account gets real credits." : "");
export const replayConfirm = "Replay it";
export const replayKeep = "Cancel";
export const replaying = "Replaying…";
export const replayOutcomes = {
  processed: "Replayed. Every plugin has finished it.",
  deferred: "Replayed. A deferred plugin finishes it in a moment.",
  duplicate: "Nothing was left to do: every plugin had finished it before.",
  ignored: "No installed plugin handles this type of event.",
  rejected: "Rejected again. The reason is above.",
  failed: "It failed again. The reason is above, and the service's log has the details.",
  overloaded: "The service has too many deliveries at the moment. Try again in a minute.",
};

// Accounts

export const search = "Search";
export const searchLabel = "Account, user name or Stripe customer";
export const searchHint =
  "The beginning of an account's uid or user name, or a whole customer id (cus_…).";
export const noAccounts = "Nobody has bought anything yet.";
export const noMatch = (query) => `No account begins with “${query}”. Check the spelling.`;
export const accountColumns = {
  account: "Account",
  handle: "User name",
  credits: "Credits",
  debt: "Debt",
  customer: "Customer",
  changed: "Last change",
};
export const accountMissing = (uid) => `Nothing is known of the account ${uid}.`;
export const accountMissingAdvice =
  "Check the spelling, or search for it. An account appears here with its first purchase.";
export const backToSearch = "Search for another account";
export const facts = {
  credits: "Credits",
  debt: "Debt",
  used: "Spent",
  handle: "User name",
  email: "E-mail",
  customer: "Customer",
  former: "Former customers",
  changed: "Last change",
};
export const noCustomer = "No customer at Stripe yet";
export const subscriptions = "Subscriptions";
export const noSubscriptions = "This account has never subscribed.";
export const subscriptionColumns = {
  plan: "Plan",
  status: "Status",
  amount: "Price",
  until: "Paid until",
  stripe: "Stripe",
};
export const endsThen = "ends then";
export const endedOn = (date) => `ended on ${date}`;
export const price = (amount, interval) => (interval ? `${amount} a ${interval}` : amount);
export const paymentsHeading = "Payments";
export const noPayments = "This account has not bought credits.";
export const paymentColumns = {
  date: "Date",
  credits: "Credits",
  amount: "Paid",
  refunded: "Returned",
  stripe: "Stripe",
};
export const disputed = "disputed";
export const ledger = "Ledger";
export const noLedger = "No credits have moved.";
export const ledgerColumns = {
  date: "Date",
  kind: "Type",
  credits: "Credits",
  amount: "Money",
  cause: "Cause",
};
export const accountEvents = "Events";
export const noAccountEvents = "Stripe has delivered no event of this account.";

// Checks

export const checksExplained =
  "What `datalayer-stripe doctor` checks. The checks run at most once a minute.";
export const checkedAt = "Checked at";
export const checkAgain = "Check again";
export const checkStatuses = {
  error: "Problem",
  warning: "Warning",
  "not run": "Not checked",
  ok: "OK",
};
export const checkGroups = {
  problems: "What needs attention",
  "not run": "Not checked",
  ok: "Passed",
};
export const allWell = "Nothing needs attention.";
export const toFixIt = "To fix it:";
export const count = (heading, number) => `${heading} (${number})`;

// Lists

export const noneSoFar = "None found so far. “Show more” searches older ones.";
export const shown = (number) => `${number} more shown.`;
export const loaded = (view) => `${view} loaded.`;

// Errors

export const loadFailed = "This cannot be shown right now.";
export const forbidden = "You are signed in, but not as an operator.";
export const forbiddenAdvice = (account) =>
  `You are signed in as ${account}. Ask an administrator to give this account the role, then ` +
  "sign in again. Or sign in as somebody who has it.";
export const off = "The operator's page is off.";
export const offAdvice =
  "Set DATALAYER_STRIPE_ADMIN_ROLE to the role of your operators, such as platform_admin, restart " +
  "the service, and try again.";
export const unknownView = "There is no such page.";
export const unknownViewAdvice = "Choose a section above.";

function plural(count, one, many = `${one}s`) {
  return String(count) === "1" ? one : many;
}

function after(amounts) {
  return amounts ? `, ${amounts}` : "";
}
