/** The top of the page: whose account it is, the balance, and the plan in a line. */

import { announce, byId } from "./dom.js";
import { number } from "./money.js";
import { planSummary } from "./plan-view.js";
import * as texts from "./texts.js";

/** `before` is what was known until now: changes are shown and said, a first sight is not. */
export function renderSummary({ balance, subscription }, before) {
  const unit = texts.creditsUnit(balance);
  byId("account-handle").textContent = subscription.account_handle ?? "";
  byId("balance").textContent = number(balance);
  byId("balance-unit").textContent = unit;
  byId("plan-summary").textContent = planSummary(subscription);
  document.title = texts.pageTitle(number(balance), unit);
  if (before.subscription === null) return;
  if (balance !== before.balance) {
    rise(byId("balance"));
    announce(texts.balanceIs(number(balance), unit));
  } else if (planSummary(subscription) !== planSummary(before.subscription)) {
    announce(texts.planIs(planSummary(subscription)));
  }
}

/** The new number is there at once, for it may be waited for; it only settles gently. */
function rise(node) {
  if (matchMedia("(prefers-reduced-motion: reduce)").matches) return;
  node.animate(
    [
      { opacity: 0.2, transform: "translateY(0.2em)" },
      { opacity: 1, transform: "none" },
    ],
    { duration: 450, easing: "cubic-bezier(0.2, 0.8, 0.2, 1)" },
  );
}
