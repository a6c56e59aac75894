import { control, report } from "./controls.js";
import { addDelivery, forgetDeliveries, outcomeOf } from "./deliveries.js";
import { showOverview } from "./overview.js";
import { day, minorUnits, money, setCurrencyDigits, words } from "./writing.js";

const PAUSE = 1000;
const SAID_FOR = 8000;
const UNREACHABLE = "The local Stripe does not answer.";
const byId = (id) => document.getElementById(id);
let next = 0;
let latest;
let timer;
let silence;

async function look() {
  clearTimeout(timer);
  if (document.hidden) return;
  try {
    await Promise.all([lookAtDeliveries(), lookAtOverview()]);
    if (byId("problem").textContent === UNREACHABLE) byId("problem").textContent = "";
  } catch {
    byId("problem").textContent = UNREACHABLE;
  }
  clearTimeout(timer);
  timer = setTimeout(look, PAUSE);
}

async function lookAtDeliveries() {
  const after = next;
  const { attempts, next: end } = await report("deliveries", { after });
  if (after !== next) return; // another look was quicker
  if (end < after) forgetDeliveries(); // the sandbox has started anew
  next = end < after ? 0 : end;
  for (const attempt of attempts) addDelivery(attempt, sendAgain);
}

async function lookAtOverview() {
  latest = await report("overview");
  setCurrencyDigits(latest.currency_digits);
  showOverview(latest);
}

/** Do something, say what came of it, and show what has changed. */
async function act(deed) {
  byId("done").textContent = byId("problem").textContent = "";
  try {
    say(await deed());
  } catch (error) {
    byId("problem").textContent = error.message;
  }
  await look();
}

/** A confirmation goes after a while; a problem stays until the next deed. */
function say(text) {
  clearTimeout(silence);
  byId("done").textContent = text;
  silence = setTimeout(() => (byId("done").textContent = ""), SAID_FOR);
}

function onSubmit(id, deed) {
  byId(id).addEventListener("submit", (event) => {
    event.preventDefault();
    act(() => deed(event.submitter?.value));
  });
}

function onSwitch(id, deed) {
  byId(id).addEventListener("change", ({ target }) => act(() => deed(target.checked)));
}

function sendAgain({ event_id, type }) {
  return act(async () => {
    const attempt = await control("webhooks/deliver", { event_id });
    return `${type} was sent again: ${outcomeOf(attempt)}.`;
  });
}

onSubmit("plan-form", async (what) => {
  const subscription_id = byId("subscription").value;
  const { status } = await control("renew", { subscription_id, fail: what === "fail" });
  return `The period has ended. The subscription is now ${words(status)}.`;
});

onSubmit("clock-form", async () => {
  const chosen = byId("advance").value;
  const seconds = chosen === "period" ? secondsToPeriodEnd() : Number(chosen);
  const { touched } = await control("clock/advance", { seconds });
  const { now } = await report("clock");
  return `It is now ${day(now)}. Subscriptions touched: ${touched.length}.`;
});

function secondsToPeriodEnd() {
  const id = byId("subscription").value;
  const subscription = latest.subscriptions.find((found) => found.id === id);
  if (!subscription) throw new Error("There is no subscription that renews.");
  const { offset } = latest;
  return Math.max(0, subscription.current_period_end - Date.now() / 1000 - offset) + 1;
}

onSubmit("refund-form", async (what) => {
  const payment = latest.payments.find(({ id }) => id === byId("payment").value);
  const amount = byId("amount").value;
  const part = amount ? { amount: minorUnits(amount, payment.currency) } : {};
  const made = await control(what, { payment_intent_id: payment.id, ...part });
  byId("amount").value = "";
  return `${money(made.amount, made.currency)} ${what === "dispute" ? "disputed" : "refunded"}.`;
});

onSubmit("dispute-form", async (what) => {
  const dispute_id = byId("dispute").value;
  const { status } = await control("close_dispute", { dispute_id, won: what === "win" });
  return `The bank has decided. The dispute is now ${words(status)}.`;
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
  act(async () => {
    await control("webhooks/drop", { n: 1 });
    return "The next event will be lost: not sent, not tried again.";
  }),
);

byId("normal").addEventListener("click", () =>
  act(async () => {
    await control("webhooks/normal");
    return "All troubles have ended.";
  }),
);

document.addEventListener("visibilitychange", look);
look();
