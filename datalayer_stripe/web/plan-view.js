/** View of the account's plan, or of the plans for sale. */

import { button, element, fill } from "./dom.js";
import { failure } from "./failure.js";
import { longDate, money } from "./money.js";
import * as texts from "./texts.js";

const WITHOUT_PLAN = new Set(["none", "canceled", "incomplete_expired"]);

export const hasPlan = (subscription) => !WITHOUT_PLAN.has(subscription.status);

/** Return "Monthly plan, active" or "Monthly plan, active until 25 December 2026". */
export function planSummary(subscription) {
  if (!hasPlan(subscription)) return texts.noPlan;
  const { plan_name, status, current_period_end } = subscription;
  const text = texts.planStatus(status);
  return texts.planSummary(
    plan_name,
    isEnding(subscription) ? texts.until(text, longDate(current_period_end)) : text,
  );
}

const isRunning = ({ status, current_period_end }) =>
  current_period_end && ["active", "trialing"].includes(status);

const isEnding = (subscription) => isRunning(subscription) && subscription.cancel_at_period_end;

/** Render the plan. `plans` is null until they are loaded; `actions` are the buttons' callbacks. */
export function renderPlan(body, { subscription, plans, plansError }, actions) {
  if (hasPlan(subscription)) return fill(body, currentPlan(subscription, actions));
  const ended =
    subscription.status === "canceled"
      ? element("p", { className: "ended" }, texts.planEnded)
      : null;
  if (plansError)
    return fill(body, ended, failure(plansError, texts.plansUnavailable, actions.retry));
  if (plans === null) return undefined;
  if (plans.length === 0)
    return fill(body, ended, element("p", { className: "empty" }, texts.noPlans));
  const cards = plans.map((plan) => planOffer(plan, actions));
  return fill(body, ended, element("div", { className: "offers" }, ...cards));
}

function currentPlan(subscription, actions) {
  const { status, plan_name, amount, currency, interval } = subscription;
  const advice = texts.planAdvice(status);
  const badge = isEnding(subscription)
    ? element("span", { className: "badge ending" }, texts.planEnding)
    : element("span", { className: `badge ${status}` }, texts.planStatus(status));
  return element(
    "div",
    { className: "panel" },
    element(
      "div",
      { className: "facts" },
      element("h3", {}, plan_name, " ", badge),
      amount === null
        ? null
        : element(
            "p",
            {},
            texts.pricePer(money(amount, currency), interval),
            ...runs(subscription),
          ),
      periodLine(subscription),
      advice && element("p", { className: "advice" }, advice),
    ),
    element("p", { className: "actions" }, ...planButtons(subscription, actions)),
  );
}

function periodLine(subscription) {
  if (!isRunning(subscription)) return null;
  const date = longDate(subscription.current_period_end);
  const text = isEnding(subscription) ? texts.endsOn(date) : texts.renewsOn(date);
  return element("p", { className: "muted" }, text);
}

function planButtons({ status, plan_id, cancel_at_period_end }, actions) {
  if (status === "incomplete") {
    const primary = { id: `subscribe-${plan_id}`, className: "button primary" };
    return [button(texts.finishSubscribing, actions.finish, primary)];
  }
  const change = cancel_at_period_end
    ? button(texts.resume, actions.resume, { id: "resume-subscription" })
    : button(texts.cancel, actions.cancel, {
        id: "cancel-subscription",
        className: "button secondary",
      });
  return [button(texts.manageBilling, actions.portal, { id: "manage-billing" }), change];
}

function planOffer(plan, actions) {
  const price = money(plan.amount, plan.currency);
  return element(
    "div",
    { className: "panel" },
    element(
      "div",
      { className: "facts" },
      element("h3", {}, plan.name),
      element("p", {}, texts.pricePer(price, plan.interval), ...runs(plan)),
    ),
    button(texts.subscribeFor(price, plan.interval), () => actions.subscribe(plan), {
      id: `subscribe-${plan.id}`,
      className: "button primary",
    }),
  );
}

function runs({ included_runs }) {
  return included_runs === null ? [] : [` · ${texts.includedRuns(included_runs)}`];
}
