/** The list of events, with filters. */

import { element } from "../dom.js";
import { eventList } from "./event-list.js";
import { PagedList } from "./paged-list.js";
import { eventsLink } from "./routes.js";
import * as texts from "./texts.js";

export async function eventsView({ body, api, parameters }) {
  const status = Object.hasOwn(texts.statuses, parameters.status) ? parameters.status : "all";
  const filter = { status, type: parameters.type, account_uid: parameters.account };
  const fetchPage = async (cursor) => {
    const { events, next_cursor } = await api.events(filter, cursor);
    return { entries: events, cursor: next_cursor };
  };
  const page = await fetchPage(null);
  const results = element("div", { id: "events-body" });
  body.append(
    statusLinks(status, parameters),
    element("p", { className: "muted" }, texts.eventsExplained[status]),
    // Deferred work cannot be filtered.
    ...(status === "deferred" ? [] : [filterForm(status, parameters)]),
    results,
  );
  const isFiltered = filter.type || filter.account_uid;
  new PagedList(results, {
    fetchPage,
    render: (events) => eventList(events, { api }),
    empty: isFiltered ? texts.noEvents.all : texts.noEvents[status],
    moreId: "events-more",
  }).show(page);
}

function statusLinks(current, { type, account }) {
  const links = Object.entries(texts.statuses).map(([status, text]) =>
    element(
      "a",
      {
        href: eventsLink({ status, type, account }),
        "aria-current": status === current ? "true" : null,
      },
      text,
    ),
  );
  return element("nav", { className: "choices", "aria-label": texts.statusFilter }, ...links);
}

function filterForm(status, parameters) {
  const type = field("type", texts.eventType, parameters.type, texts.eventTypeExample);
  const account = field("account", texts.account, parameters.account);
  const submit = element("button", { type: "submit", className: "button" }, texts.filter);
  const clear =
    parameters.type || parameters.account
      ? element("a", { className: "button secondary", href: eventsLink({ status }) }, texts.clearFilter)
      : null;
  const form = element("form", { className: "filter" }, type, account, submit, clear);
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    const data = Object.fromEntries(new FormData(form));
    location.hash = eventsLink({ status, type: data.type.trim(), account: data.account.trim() });
  });
  return form;
}

function field(name, label, value = "", placeholder = "") {
  return element(
    "label",
    {},
    element("span", {}, label),
    element("input", { name, value, placeholder, maxLength: 128, autocomplete: "off" }),
  );
}
