/** Lists of Stripe's objects, and the options of the panel's forms. */

import { day, moment, money, readable } from "./formatting.js";

const byId = (id) => document.getElementById(id);
const RENEWABLE_STATUSES = ["active", "trialing", "past_due"];
const CLOSED_STATUSES = ["won", "lost", "warning_closed"];

export function showOverview(overview) {
  const { offset, shop, webhooks, customers, subscriptions, payments, disputes } = overview;
  const now = Date.now() / 1000 + offset;
  byId("now").textContent = moment(now);
  byId("now").dateTime = new Date(now * 1000).toISOString();
  showShop(shop);
  const lines = (id, objects, line) => list(byId(id), objects.map(line));
  lines("subscription-list", subscriptions, subscriptionLine);
  lines("payment-list", payments, paymentLine);
  lines("customer-list", customers, (customer) => [nameOf(customer), customer.id]);
  options(byId("subscription"), subscriptions.filter(renews), (found) => [
    found.id,
    `${money(found.amount, found.currency)} of ${nameIn(customers, found.customer)}`,
  ]);
  options(byId("payment"), payments.filter(refundableAmount), (found) => [
    found.id,
    `${money(refundableAmount(found), found.currency)}: ${found.description ?? found.id}`,
  ]);
  options(byId("dispute"), disputes.filter(isOpen), (found) => [
    found.id,
    `${money(found.amount, found.currency)}, ${readable(found.status)}`,
  ]);
  byId("duplicate").checked = webhooks.copies > 1;
  byId("hold").checked = webhooks.holding;
  byId("held").textContent = webhooks.held;
  byId("drops").textContent = webhooks.drops ? "The next event will be dropped." : "";
}

/** Show the link to the shop and its facts, such as the balance. */
function showShop(shop) {
  byId("shop").hidden = shop === null;
  if (shop === null) return;
  byId("shop-link").href = shop.url;
  byId("shop-link").textContent = shop.name;
  const facts = Object.entries(shop.facts).map(([name, fact]) => `${name}: ${fact}`);
  byId("shop-facts").textContent = facts.join(", ");
}

const renews = ({ status }) => RENEWABLE_STATUSES.includes(status);
const refundableAmount = (payment) =>
  payment.status === "succeeded" ? payment.amount - payment.amount_refunded : 0;
const isOpen = ({ status }) => !CLOSED_STATUSES.includes(status);
const nameOf = ({ id, name, email }) => name ?? email ?? id;
const nameIn = (customers, id) => nameOf(customers.find((found) => found.id === id) ?? { id });

function subscriptionLine({ amount, currency, status, cancel_at_period_end, current_period_end }) {
  const end = renews({ status })
    ? `${cancel_at_period_end ? "ends" : "renews"} on ${day(current_period_end)}`
    : "";
  return [`${money(amount, currency)}, ${readable(status)}`, end];
}

function paymentLine({ amount, amount_refunded, currency, description, id, receipt_url, status }) {
  const refunded = amount_refunded ? `, ${money(amount_refunded, currency)} refunded` : "";
  const text = `${money(amount, currency)}, ${readable(status)}${refunded}`;
  return [text, description ?? id, receipt_url];
}

function list(place, lines) {
  const rows = lines.map(([text, more, url]) => {
    const row = document.createElement("li");
    const small = document.createElement("small");
    small.textContent = more;
    row.append(text, " ", small);
    if (url) row.append(" ", receiptLink(url));
    return row;
  });
  replace(place, rows.length ? rows : [empty()]);
}

function empty() {
  const row = document.createElement("li");
  row.textContent = "None yet";
  row.className = "quiet";
  return row;
}

function receiptLink(url) {
  const link = document.createElement("a");
  link.href = url;
  link.textContent = "Receipt";
  return link;
}

/** Fill a select with objects, and disable the form's buttons if there is none. */
function options(select, objects, entry) {
  const chosen = select.value;
  const found = objects.map((object) => {
    const [value, text] = entry(object);
    return new Option(text, value, false, value === chosen);
  });
  replace(select, found);
  select.disabled = found.length === 0;
  for (const button of select.form.querySelectorAll("button")) button.disabled = select.disabled;
}

/** Replace children only if they differ, so that a focused link or list keeps its focus. */
function replace(place, children) {
  const same =
    place.children.length === children.length &&
    children.every((child, index) => child.isEqualNode(place.children[index]));
  if (!same) place.replaceChildren(...children);
}
