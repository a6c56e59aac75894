/** All texts of the page. Amounts, numbers and dates are passed in already formatted. */

export const title = "Credits";
export const pageTitle = (credits, unit) => `${credits} ${unit} – Checkout`;
export const creditsUnit = (count) => (count === 1 ? "credit" : "credits");
export const tryAgain = "Try again";
export const back = "Back";

// Signing in

export const signIn = "Sign in";
export const signedOut = "Sign in to see your credits.";
export const sessionEnded = "Your session has ended. Sign in again.";

// The plan

export const planHeading = "Your plan";
export const noPlan = "No plan";
export const planSummary = (name, status) => `${name}, ${lowered(status)}`;
export const pricePer = (price, interval) => `${price} a ${interval}`;
export const includedRuns = (runs) => `${runs} runs included`;
export const subscribeFor = (price, interval) => `Subscribe for ${price} a ${interval}`;
export const finishSubscribing = "Finish subscribing";
export const renewsOn = (date) => `Renews on ${date}`;
export const planEnding = "Ending";
export const until = (status, date) => `${status} until ${date}`;
export const endsOn = (date) => `Ends on ${date}`;
export const manageBilling = "Manage billing";
export const cancel = "Cancel subscription";
export const resume = "Resume subscription";
export const noPlans = "No plan is for sale at the moment.";
export const plansUnavailable = "The plans cannot be shown right now.";
export const planEnded = "Your plan has ended. You keep your credits.";

// https://docs.stripe.com/billing/subscriptions/overview#subscription-statuses
const STATUSES = {
  active: "Active",
  trialing: "Trial",
  incomplete: "Waiting for the first payment",
  incomplete_expired: "Not started",
  past_due: "Payment overdue",
  unpaid: "Unpaid",
  paused: "Paused",
  canceled: "Ended",
};
export const planStatus = (status) => STATUSES[status] ?? status.replaceAll("_", " ");

const ADVICE = {
  incomplete: "The first payment is not made yet. Finish subscribing to buy credits.",
  past_due: "The last payment failed. Check your card under “Manage billing”.",
  unpaid: "The plan is not paid. Pay the open invoice under “Manage billing”.",
  paused: "The plan is paused. Add a card under “Manage billing” to continue.",
};
export const planAdvice = (status) => ADVICE[status] ?? null;

export const cancelHeading = "Cancel your subscription?";
export const cancelText = (date) =>
  `You can buy credits until ${date}. You keep the credits that you have.`;
export const cancelUnpaidText = (date) =>
  `It ends on ${date}. You keep the credits that you have.`;
export const cancelConfirm = "Yes, cancel it";
export const cancelKeep = "Keep it";
export const cancelled = (date) => `Your subscription ends on ${date}.`;
export const resumed = "Your subscription continues.";
export const actionFailed = "That did not work. Please try again.";

// Packages

export const packagesHeading = "Buy credits";
export const bestPrice = "Best price per credit";
export const perCredit = (price) => `${price} per credit`;
export const buy = (credits, unit) => `Buy ${credits} ${unit}`;
export const buyFor = (credits, unit, price) => `Buy ${credits} ${unit} for ${price}`;
export const planNeeded = "You need an active monthly plan to buy credits. Subscribe first.";
export const planPaymentNeeded = "You can buy credits again when your plan is paid.";
export const noPackages = "No credits are for sale at the moment.";
export const packagesUnavailable = "The packages cannot be shown right now.";

// The payment

export const facts = {
  credits: "Credits",
  perCredit: "Price per credit",
  plan: "Plan",
  billed: "Billed",
  total: "Total",
};
export const every = (interval) => `Every ${interval}, until you cancel`;
export const payHeading = (price, credits, unit) => `Pay ${price} for ${credits} ${unit}`;
export const pay = (price) => `Pay ${price}`;
export const saveCard = "Save card";
export const yourPayment = "Your payment";
export const paying = "Paying…";
export const handledByStripe =
  "Stripe processes the payment. Your card number never reaches our servers.";
export const notFinished = 
  "Your payment was not finished. Nothing was charged. You can finish it now.";
export const addingCredits = "Payment received. Adding your credits…";
export const startingPlan = "Payment received. Starting your plan…";
export const processing = "Your bank is still processing the payment. This can take a while.";
export const creditsLate =
  "Your credits are on the way. You can close this page. They will still be added.";
export const planLate =
  "Your plan is on the way. You can close this page. The plan will still start.";
export const paymentRejected = (paymentId) =>
  "Your payment was received, but the credits could not be added automatically. " +
  `Do not pay again. Please write to support and include the payment ID ${paymentId}.`;
export const paymentCanceled = "This payment was not completed.";
export const paymentReplaced =
  "This form is out of date. It was open for too long, or a newer one was opened in another " +
  "window. Nothing was charged here.";
export const paymentFailed =
  "The payment could not be confirmed. Please try again. You will not be charged twice.";
export const checkingPayment = "Checking your payment…";
export const formFailed = "The payment form could not be loaded.";

// The receipt

export const creditsAdded = (credits, unit, before, after) =>
  `${credits} ${unit} added. Balance: ${before} → ${after}.`;
export const planStarted = "Your plan is active. You can buy credits now.";
export const receipt = "Receipt";

// The history

export const historyHeading = "History";
export const historyColumns = {
  date: "Date",
  what: "Type",
  credits: "Credits",
  amount: "Amount",
  receipt: "Receipt",
};
export const nothingYet = "No purchases yet.";
export const showMore = "Show more";
export const moreShown = (count) => `${count} more shown.`;
export const receiptFor = (credits, unit, date) => `Receipt for ${credits} ${unit}, ${date}`;
export const historyUnavailable = "Your history cannot be shown right now.";

const KINDS = {
  "top-up": "Credits bought",
  refund: "Refund",
  "refund-failed": "Refund failed",
  dispute: "Payment disputed",
  "dispute-won": "Dispute won",
  debt: "Owed, deducted from your next credits",
  "debt-paid": "Owed credits deducted",
  correction: "Correction",
};
export const historyKind = (kind) => KINDS[kind] ?? capitalized(kind.replaceAll(/[-_]/g, " "));

// Errors

export const loadFailed = "Your credits cannot be shown right now.";
export const unreachable = "The server cannot be reached. Check your internet connection.";
export const busy = "The service is busy. Please wait a moment and try again.";
export const requestId = (id) => `Request ID: ${id}`;

// Announcements

export const balanceIs = (credits, unit) => `Balance: ${credits} ${unit}.`;
export const planIs = (summary) => `Your plan: ${summary}.`;

function lowered(text) {
  return text.charAt(0).toLowerCase() + text.slice(1);
}

function capitalized(text) {
  return text.charAt(0).toUpperCase() + text.slice(1);
}
