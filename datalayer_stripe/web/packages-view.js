/** View of the packages for sale. */

import { button, byId, element, fill, show } from "./dom.js";
import { failure } from "./failure.js";
import { money, moneyPerCredit, number } from "./money.js";
import { hasPlan } from "./plan-view.js";
import * as texts from "./texts.js";

/** Render the packages. `packages` is null until they are loaded. */
export function renderPackages(body, { subscription, packages, packagesError }, actions) {
  show(byId("packages-reason"), packages?.length ? reason(subscription) : "");
  if (packagesError) {
    return fill(body, failure(packagesError, texts.packagesUnavailable, actions.retry));
  }
  if (packages === null) return undefined;
  if (packages.length === 0)
    return fill(body, element("p", { className: "empty" }, texts.noPackages));
  const best = bestPrice(packages);
  const cards = packages.map((pack) =>
    packageCard(pack, { isBest: pack === best, isEligible: subscription.is_eligible }, actions),
  );
  return fill(body, element("ul", { className: "cards", role: "list" }, ...cards));
}

/** Return why the account cannot buy credits, or "" if it can. */
function reason(subscription) {
  if (subscription.is_eligible) return "";
  const isUnpaid = hasPlan(subscription) && ["past_due", "unpaid"].includes(subscription.status);
  return isUnpaid ? texts.planPaymentNeeded : texts.planNeeded;
}

/** Return the package with the lowest price per credit; null on a tie or if currencies differ. */
function bestPrice(packages) {
  if (new Set(packages.map(({ currency }) => currency)).size !== 1) return null;
  const each = ({ amount, credits }) => amount / credits;
  const [best, next] = [...packages].sort((one, other) => each(one) - each(other));
  return next && each(best) < each(next) ? best : null;
}

function packageCard(pack, { isBest, isEligible }, actions) {
  const price = money(pack.amount, pack.currency);
  const credits = number(pack.credits);
  const unit = texts.creditsUnit(pack.credits);
  return element(
    "li",
    { className: isBest ? "card best" : "card" },
    isBest ? element("p", { className: "badge accent" }, texts.bestPrice) : null,
    element("p", { className: "amount" }, element("strong", {}, credits), ` ${unit}`),
    element("p", { className: "price" }, price),
    element(
      "p",
      { className: "muted" },
      texts.perCredit(moneyPerCredit(pack.amount, pack.currency, pack.credits)),
    ),
    button(texts.buy(credits, unit), () => actions.buy(pack), {
      id: `buy-${pack.id}`,
      className: isBest ? "button primary wide" : "button wide",
      disabled: !isEligible,
      "aria-label": texts.buyFor(credits, unit, price),
      "aria-describedby": isEligible ? null : "packages-reason",
    }),
  );
}
