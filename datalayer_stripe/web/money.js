/** Formats of amounts, numbers and dates. */

const LOCALE = "en-US";
// The day first and the month as a word, which cannot be misread.
const DATE_LOCALE = "en-GB";

// Number of decimals of Stripe's amounts by currency, where it is not 2. Intl differs from Stripe
// for some currencies: Stripe uses two decimals for ISK and UGX.
const CURRENCY_DIGITS = JSON.parse(document.documentElement.dataset.currencyDigits);

const numbers = new Intl.NumberFormat(LOCALE);
const signedNumbers = new Intl.NumberFormat(LOCALE, { signDisplay: "exceptZero" });
const longDates = new Intl.DateTimeFormat(DATE_LOCALE, { dateStyle: "long" });
const shortDates = new Intl.DateTimeFormat(DATE_LOCALE, {
  day: "numeric",
  month: "short",
  year: "numeric",
});

/** Format an amount in the currency's minor unit: (500, "usd") → "$5.00". */
export function money(amount, currency) {
  const digits = minorDigits(currency);
  const format = currencyFormat(currency);
  // Intl may show fewer digits than Stripe uses. Do not round the amount then.
  const isShown = format.resolvedOptions().maximumFractionDigits >= digits;
  const isWhole = amount % 10 ** digits === 0;
  const exact =
    isShown || isWhole ? format : currencyFormat(currency, { minimumFractionDigits: digits });
  return exact.format(amount / 10 ** digits);
}

/** Format the price of one credit with at least two digits: (2000, "usd", 220) → "$0.091". */
export function moneyPerCredit(amount, currency, credits) {
  const digits = minorDigits(currency);
  const each = amount / 10 ** digits / credits;
  const needed = each > 0 ? 1 - Math.floor(Math.log10(each)) : 0;
  const format = currencyFormat(currency, {
    minimumFractionDigits: digits,
    maximumFractionDigits: Math.max(digits + 1, needed),
  });
  return format.format(each);
}

export const number = (value) => numbers.format(value);
export const signed = (value) => signedNumbers.format(value);
export const longDate = (iso) => longDates.format(new Date(iso));
export const shortDate = (iso) => shortDates.format(new Date(iso));

const minorDigits = (currency) => CURRENCY_DIGITS[currency.toLowerCase()] ?? 2;

function currencyFormat(currency, digits = {}) {
  return new Intl.NumberFormat(LOCALE, { style: "currency", currency, ...digits });
}
