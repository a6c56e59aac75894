/** The search for accounts. */

import { element } from "../dom.js";
import { number } from "../money.js";
import { table } from "../table.js";
import { timeElement } from "./format.js";
import { PagedList } from "./paged-list.js";
import { accountLink, accountsLink } from "./routes.js";
import * as texts from "./texts.js";

const columns = Object.entries(texts.accountColumns).map(([name, text]) => ({ name, text }));

export async function accountsView({ body, api, parameters }) {
  const { query = "" } = parameters;
  const fetchPage = async (cursor) => {
    const { accounts, next_cursor } = await api.accounts(query, cursor);
    return { entries: accounts, cursor: next_cursor };
  };
  const page = await fetchPage(null);
  const results = element("div", { id: "accounts-body" });
  body.append(searchForm(query), results);
  new PagedList(results, {
    fetchPage,
    render: (accounts) =>
      table({ columns, rows: accounts.map(cells), label: { "aria-labelledby": "view-heading" } }),
    empty: query ? texts.noMatch(query) : texts.noAccounts,
    moreId: "accounts-more",
  }).show(page);
}

function searchForm(query) {
  const input = element("input", {
    type: "search",
    name: "query",
    id: "account-query",
    value: query,
    maxLength: 128,
    autocomplete: "off",
    spellcheck: false,
    "aria-describedby": "account-hint",
  });
  const form = element(
    "form",
    { className: "filter", role: "search" },
    element("label", { className: "wide" }, element("span", {}, texts.searchLabel), input),
    element("button", { type: "submit", className: "button primary" }, texts.search),
    element("p", { id: "account-hint", className: "fine-print" }, texts.searchHint),
  );
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    location.hash = accountsLink(input.value.trim());
  });
  return form;
}

const cells = (account) => ({
  account: element("a", { href: accountLink(account.account_uid) }, account.account_uid),
  handle: account.handle ?? "–",
  credits: number(account.credits),
  debt: account.debt ? number(account.debt) : "–",
  customer: account.customer_id ? element("code", {}, account.customer_id) : "–",
  changed: timeElement(account.updated_at),
});
