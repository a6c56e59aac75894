/** View of the account, its balance and its plan at the top of the page. */

import { announce, byId } from "./dom.js";
import { number } from "./money.js";
import { planSummary } from "./plan-view.js";
import * as texts from "./texts.js";

/** Render the summary. Changes since `before` are animated and announced; the first load is not. */
export function renderSummary({ balance, subscription }, before) {
  const unit = texts.creditsUnit(balance);
  byId("account-handle").textContent = subscription.account_handle ?? "";
  byId("balance").textContent = number(balance);
  byId("balance-unit").textContent = unit;
  byId("plan-summary").textContent = planSummary(subscription);
  document.title = texts.pageTitle(number(balance), unit);
  if (before.subscription === null) return;
  if (balance !== before.balance) {
    animateChange(byId("balance"));
    announce(texts.balanceIs(number(balance), unit));
  } else if (planSummary(subscription) !== planSummary(before.subscription)) {
    announce(texts.planIs(planSummary(subscription)));
  }
}

/** Animate an element whose new text is already set, so that nobody has to wait for it. */
function animateChange(node) {
  if (matchMedia("(prefers-reduced-motion: reduce)").matches) return;
  node.animate(
    [
      { opacity: 0.2, transform: "translateY(0.2em)" },
      { opacity: 1, transform: "none" },
    ],
    { duration: 450, easing: "cubic-bezier(0.2, 0.8, 0.2, 1)" },
  );
}
