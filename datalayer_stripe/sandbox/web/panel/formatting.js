/** Formatting of amounts and times. */

let currencyDigits = {};

/** Set the number of decimals of Stripe's amounts, for currencies without two decimals. */
export function setCurrencyDigits(digits) {
  currencyDigits = digits;
}

export function money(amount, currency) {
  const unit = 10 ** digitsOf(currency);
  // Intl uses fewer decimals than Stripe for some currencies: UGX and ISK.
  const digits = amount % unit === 0 ? {} : { minimumFractionDigits: digitsOf(currency) };
  const format = new Intl.NumberFormat("en", { style: "currency", currency, ...digits });
  return format.format(amount / unit);
}

/** Return a typed amount in the currency's minor unit. */
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

export const readable = (name) => name.replaceAll("_", " ");

const digitsOf = (currency) => currencyDigits[currency] ?? 2;
