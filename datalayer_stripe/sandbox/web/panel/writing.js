/** How amounts and times are written. */

let currencyDigits = {};

/** Set how many decimals Stripe's amounts have, by currency, where it is not 2. */
export function setCurrencyDigits(digits) {
  currencyDigits = digits;
}

export function money(amount, currency) {
  const unit = 10 ** digitsOf(currency);
  // Intl knows some currencies with fewer decimals than Stripe's amounts have: UGX and ISK.
  const digits = amount % unit === 0 ? {} : { minimumFractionDigits: digitsOf(currency) };
  const format = new Intl.NumberFormat("en", { style: "currency", currency, ...digits });
  return format.format(amount / unit);
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

const digitsOf = (currency) => currencyDigits[currency] ?? 2;
