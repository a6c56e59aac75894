import { control, report } from "./controls.js";
import { addDelivery, clearDeliveries, outcomeOf } from "./deliveries.js";
import { day, minorUnits, money, readable, setCurrencyDigits } from "./formatting.js";
import { showOverview } from "./overview.js";

const REFRESH_INTERVAL = 1000; // milliseconds
const MESSAGE_DURATION = 8000; // milliseconds
const UNREACHABLE = "The local Stripe does not answer. Check that it is running.";
const byId = (id) => document.getElementById(id);
let next = 0;
let overview;
let refreshTimer;
let messageTimer;

async function refresh() {
  clearTimeout(refreshTimer);
  if (document.hidden) return;
  try {
    await Promise.all([refreshDeliveries(), refreshOverview()]);
    if (byId("problem").textContent === UNREACHABLE) byId("problem").textContent = "";
  } catch {
    byId("problem").textContent = UNREACHABLE;
  }
  clearTimeout(refreshTimer);
  refreshTimer = setTimeout(refresh, REFRESH_INTERVAL);
}

async function refreshDeliveries() {
  const after = next;
  const { attempts, next: end } = await report("deliveries", { after });
  if (after !== next) return; // another refresh was faster
  if (end < after) clearDeliveries(); // the sandbox was restarted
  next = end < after ? 0 : end;
  for (const attempt of attempts) addDelivery(attempt, sendAgain);
}

async function refreshOverview() {
  overview = await report("overview");
  setCurrencyDigits(overview.currency_digits);
  showOverview(overview);
}

/** Run an action, show its message or error, and refresh the panel. */
async function run(action) {
  byId("done").textContent = byId("problem").textContent = "";
  try {
    showMessage(await action());
  } catch (error) {
    byId("problem").textContent = error.message;
  }
  await refresh();
}

/** Show a message for some seconds. An error stays until the next action. */
function showMessage(text) {
  clearTimeout(messageTimer);
  byId("done").textContent = text;
  messageTimer = setTimeout(() => (byId("done").textContent = ""), MESSAGE_DURATION);
}

function onSubmit(id, action) {
  byId(id).addEventListener("submit", (event) => {
    event.preventDefault();
    run(() => action(event.submitter?.value));
  });
}

function onSwitch(id, action) {
  byId(id).addEventListener("change", ({ target }) => run(() => action(target.checked)));
}

function sendAgain({ event_id, type }) {
  return run(async () => {
    const attempt = await control("webhooks/deliver", { event_id });
    return `${type} was sent again: ${outcomeOf(attempt)}.`;
  });
}

onSubmit("plan-form", async (what) => {
  const subscription_id = byId("subscription").value;
  const { status } = await control("renew", { subscription_id, fail: what === "fail" });
  return `The period has ended. The subscription is now ${readable(status)}.`;
});

onSubmit("clock-form", async () => {
  const chosen = byId("advance").value;
  const seconds = chosen === "period" ? secondsToPeriodEnd() : Number(chosen);
  const { touched } = await control("clock/advance", { seconds });
  const { now } = await report("clock");
  return `It is now ${day(now)}. Subscriptions changed: ${touched.length}.`;
});

function secondsToPeriodEnd() {
  const id = byId("subscription").value;
  const subscription = overview.subscriptions.find((found) => found.id === id);
  if (!subscription) throw new Error("No subscription can be renewed.");
  const { offset } = overview;
  return Math.max(0, subscription.current_period_end - Date.now() / 1000 - offset) + 1;
}

onSubmit("refund-form", async (what) => {
  const payment = overview.payments.find(({ id }) => id === byId("payment").value);
  const amount = byId("amount").value;
  const part = amount ? { amount: minorUnits(amount, payment.currency) } : {};
  const made = await control(what, { payment_intent_id: payment.id, ...part });
  byId("amount").value = "";
  return `${money(made.amount, made.currency)} ${what === "dispute" ? "disputed" : "refunded"}.`;
});

onSubmit("dispute-form", async (what) => {
  const dispute_id = byId("dispute").value;
  const { status } = await control("close_dispute", { dispute_id, won: what === "win" });
  return `The bank has decided. The dispute is now ${readable(status)}.`;
});

onSubmit("release-form", async () => {
  const { released } = await control("webhooks/release", { order: byId("order").value });
  return `Released: ${released}.`;
});

onSwitch("duplicate", async (on) => {
  await control("webhooks/duplicate", { times: on ? 1 : 0 });
  return on ? "Each event is delivered twice from now on." : "Each event is delivered once.";
});

onSwitch("hold", async (on) => {
  if (!on) {
    const { released } = await control("webhooks/release");
    return `Events are delivered again. Released: ${released}.`;
  }
  await control("webhooks/hold");
  return "Events are held back from now on.";
});

byId("drop").addEventListener("click", () =>
  run(async () => {
    await control("webhooks/drop", { n: 1 });
    return "The next event will be dropped: neither sent nor retried.";
  }),
);

byId("normal").addEventListener("click", () =>
  run(async () => {
    await control("webhooks/normal");
    return "Deliveries are back to normal.";
  }),
);

document.addEventListener("visibilitychange", refresh);
refresh();
