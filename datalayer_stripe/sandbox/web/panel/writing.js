/** How amounts and times are written. */

export function money(amount, currency) {
  const format = new Intl.NumberFormat("en", { style: "currency", currency });
  return format.format(amount / 10 ** digitsOf(currency));
}

/** The amount in the minor unit that somebody has typed. */
export function minorUnits(text, currency) {
  return Math.round(Number(text.replace(",", ".")) * 10 ** digitsOf(currency));
}

export function moment(seconds) {
  const format = new Intl.DateTimeFormat("en", { dateStyle: "medium", timeStyle: "medium" });
  return format.format(seconds * 1000);
}

export function day(seconds) {
  return new Intl.DateTimeFormat("en", { dateStyle: "medium" }).format(seconds * 1000);
}

export function time(seconds) {
  return new Intl.DateTimeFormat("en", { timeStyle: "medium" }).format(seconds * 1000);
}

export const words = (name) => name.replaceAll("_", " ");

function digitsOf(currency) {
  const format = new Intl.NumberFormat("en", { style: "currency", currency });
  return format.resolvedOptions().maximumFractionDigits;
}
