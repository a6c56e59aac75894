/** The whole story of one account. */

import { element, fill } from "../dom.js";
import { historyKind, planStatus } from "../texts.js";
import { money, number, signed } from "../money.js";
import { table } from "../table.js";
import { eventList } from "./event-list.js";
import { timeElement, utcDay } from "./format.js";
import { PagedList } from "./paged-list.js";
import { accountsLink } from "./routes.js";
import { stripeId } from "./stripe-link.js";
import * as texts from "./texts.js";

const columnsOf = (names) => Object.entries(names).map(([name, text]) => ({ name, text }));

export async function accountView({ body, api, id }) {
  let story;
  try {
    story = await api.account(id);
  } catch (error) {
    if (error.status !== 404) throw error;
    return fill(body, missing(id));
  }
  body.append(
    element("a", { className: "link", href: accountsLink() }, texts.backToSearch),
    facts(story),
    section("subscriptions", texts.subscriptions, subscriptions(story.subscriptions)),
    ...["payments", "ledger", "events"].map((name) => pagedSection(name, story, api)),
  );
  return undefined;
}

function missing(uid) {
  return element(
    "div",
    { className: "failure" },
    element("p", {}, texts.accountMissing(uid)),
    element("p", { className: "muted" }, texts.accountMissingAdvice),
    element("a", { className: "button", href: accountsLink() }, texts.backToSearch),
  );
}

function facts({ account, customer, former_customers: former }) {
  const values = {
    credits: element("strong", {}, number(account.credits)),
    debt: account.debt ? number(account.debt) : null,
    used: account.used ? number(account.used) : null,
    handle: account.handle,
    email: account.email,
    customer: customer ? stripeId(customer.dashboard_url, customer.customer_id) : texts.noCustomer,
    former: former.length > 0 ? former.flatMap(formerCustomer) : null,
    changed: account.updated_at ? timeElement(account.updated_at) : null,
  };
  const rows = Object.entries(values)
    .filter(([, value]) => value !== null)
    .map(([name, value]) =>
      element(
        "div",
        { className: name },
        element("dt", {}, texts.facts[name]),
        element("dd", {}, ...[value].flat()),
      ),
    );
  return element("dl", { className: "facts" }, ...rows);
}

const formerCustomer = ({ customer_id: id, dashboard_url: url }) => [stripeId(url, id), " "];

function section(name, heading, ...content) {
  const id = `${name}-heading`;
  return element("section", { "aria-labelledby": id }, element("h3", { id }, heading), ...content);
}

// The lists that have more than one page

const LISTS = {
  payments: {
    heading: texts.paymentsHeading,
    empty: texts.noPayments,
    render: (payments) => labelled("payments", texts.paymentColumns, payments.map(paymentCells)),
  },
  ledger: {
    heading: texts.ledger,
    empty: texts.noLedger,
    render: (rows) => labelled("ledger", texts.ledgerColumns, rows.map(ledgerCells)),
  },
  events: {
    heading: texts.accountEvents,
    empty: texts.noAccountEvents,
    render: (events, api) => eventList(events, { api, showAccount: false }),
  },
};

function pagedSection(name, story, api) {
  const { heading, empty, render } = LISTS[name];
  const uid = story.account.account_uid;
  const fetchPage = async (cursor) => {
    const page =
      name === "events"
        ? await api.events({ account_uid: uid }, cursor)
        : await api.accountList(uid, name, cursor);
    return { entries: page[name], cursor: page.next_cursor };
  };
  const body = element("div", { id: `${name}-body` });
  const list = new PagedList(body, {
    fetchPage,
    render: (entries) => render(entries, api),
    empty,
    moreId: `${name}-more`,
  });
  list.show({ entries: story[name], cursor: story[`${name}_cursor`] });
  return section(name, heading, body);
}

const labelled = (name, columns, rows) =>
  table({ columns: columnsOf(columns), rows, label: { "aria-labelledby": `${name}-heading` } });

const paymentCells = (payment) => ({
  date: timeElement(payment.created_at),
  credits: number(payment.credits),
  amount: money(payment.amount, payment.currency),
  refunded: [
    payment.amount_refunded ? money(payment.amount_refunded, payment.currency) : "–",
    payment.open_disputes.length > 0
      ? element("span", { className: "badge rejected" }, texts.disputed)
      : null,
  ],
  stripe: stripeId(payment.dashboard_url, payment.id),
});

const ledgerCells = (row) => ({
  date: timeElement(row.created_at),
  kind: [
    historyKind(row.kind),
    row.reason ? element("span", { className: "reason" }, row.reason) : null,
  ],
  credits: signed(row.credits),
  amount: row.amount ? money(row.amount, row.currency) : "–",
  cause: stripeId(row.dashboard_url, row.id),
});

function subscriptions(found) {
  if (found.length === 0) return element("p", { className: "empty" }, texts.noSubscriptions);
  return labelled("subscriptions", texts.subscriptionColumns, found.map(subscriptionCells));
}

const subscriptionCells = (one) => ({
  plan: one.plan_name ?? one.plan_code,
  status: [
    element("span", { className: `badge ${one.status}` }, planStatus(one.status)),
    one.cancel_at_period_end && !one.ended_at ? ` ${texts.endsThen}` : null,
  ],
  amount:
    one.amount === null ? "–" : texts.price(money(one.amount, one.currency), one.interval),
  until: one.ended_at
    ? texts.endedOn(utcDay(one.ended_at))
    : timeElement(one.current_period_end, utcDay),
  stripe: stripeId(one.dashboard_url, one.id),
});
