/** Formats of times in UTC, as in the service's log, of amounts, and of texts with commands. */

import { element } from "../dom.js";
import { money } from "../money.js";

// The day first and the month as a word, which cannot be misread.
const LOCALE = "en-GB";
const times = new Intl.DateTimeFormat(LOCALE, {
  dateStyle: "medium",
  timeStyle: "short",
  timeZone: "UTC",
});
const days = new Intl.DateTimeFormat(LOCALE, { dateStyle: "medium", timeZone: "UTC" });
const shortDays = new Intl.DateTimeFormat(LOCALE, {
  day: "numeric",
  month: "short",
  timeZone: "UTC",
});

export const utcTime = (iso) => times.format(new Date(iso));
export const utcDay = (iso) => days.format(new Date(iso));
export const shortUtcDay = (iso) => shortDays.format(new Date(iso));

/** Create a `time` element, or a dash if there is no time. */
export const timeElement = (iso, format = utcTime) =>
  iso ? element("time", { dateTime: iso }, format(iso)) : "–";

/** Format amounts by currency: { usd: 500, eur: 300 } → "$5.00 + €3.00". */
export const amounts = (byCurrency) =>
  Object.entries(byCurrency)
    .map(([currency, amount]) => money(amount, currency))
    .join(" + ");

/** Return the parts of a text as nodes: `commands` in backticks as code, and URLs as links. */
export function richText(text) {
  const parts = text.split(/`([^`]+)`|(https:\/\/[^\s,;)]+[^\s,;).])/);
  // With two groups, each match adds its command and its URL; one of them is undefined.
  return parts.map((part, index) => {
    if (part === undefined || index % 3 === 0) return part ?? "";
    if (index % 3 === 1) return element("code", {}, part);
    return element("a", { href: part, target: "_blank", rel: "noopener" }, part);
  });
}
