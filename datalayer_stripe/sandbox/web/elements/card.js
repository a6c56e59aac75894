/** Formatting and validation of card numbers, expiration dates and security codes. */

const BRANDS = { 3: "amex", 4: "visa", 5: "mastercard", 6: "discover" };

export const digitsOf = (text) => text.replace(/\D/g, "");
export const brandOf = (number) => BRANDS[number[0]] ?? "unknown";

const isAmex = (number) => brandOf(number) === "amex";
const numberLength = (number) => (isAmex(number) ? 15 : 16);
const cvcLength = (number) => (isAmex(number) ? 4 : 3);

export function formatNumber(text) {
  const digits = digitsOf(text);
  const groups = isAmex(digits)
    ? /^(\d{0,4})(\d{0,6})(\d{0,5})/
    : /^(\d{0,4})(\d{0,4})(\d{0,4})(\d{0,4})/;
  return groups.exec(digits).slice(1).filter(Boolean).join(" ");
}

/** Format `1234`, `12/34`, `1/34` or `12/2034` as `MM / YY`. */
export function formatExpiry(text) {
  let digits = digitsOf(text);
  if (/^[2-9]/.test(digits) || /^\s*1\s*\//.test(text)) digits = `0${digits}`;
  const month = digits.slice(0, 2);
  const year = digits.length === 6 ? digits.slice(4) : digits.slice(2, 4);
  return year ? `${month} / ${year}` : month;
}

export const formatCvc = (text, number) => digitsOf(text).slice(0, cvcLength(number));

/** Return `{exp_month, exp_year}` of `MM / YY`. */
export function expiryOf(text) {
  const digits = digitsOf(text);
  return { exp_month: Number(digits.slice(0, 2)), exp_year: 2000 + Number(digits.slice(2)) };
}

export function numberProblem(number) {
  if (number.length < numberLength(number)) return "incomplete_number";
  return passesLuhn(number) ? null : "invalid_number";
}

export function expiryProblem(text, today = new Date()) {
  const { exp_month: month, exp_year: year } = expiryOf(text);
  if (digitsOf(text).length < 4) return "incomplete_expiry";
  if (month < 1 || month > 12) return "invalid_expiry_month";
  if (year < today.getFullYear()) return "invalid_expiry_year_past";
  const past = year === today.getFullYear() && month < today.getMonth() + 1;
  return past ? "invalid_expiry_month_past" : null;
}

export function cvcProblem(cvc, number) {
  return cvc.length < cvcLength(number) ? "incomplete_cvc" : null;
}

/** Stripe's own messages: https://docs.stripe.com/error-codes */
export const MESSAGES = {
  incomplete_number: "Your card number is incomplete.",
  invalid_number: "Your card number is invalid.",
  incomplete_expiry: "Your card's expiration date is incomplete.",
  invalid_expiry_month: "Your card's expiration date is invalid.",
  invalid_expiry_month_past: "Your card's expiration date is in the past.",
  invalid_expiry_year_past: "Your card's expiration year is in the past.",
  incomplete_cvc: "Your card's security code is incomplete.",
};

function passesLuhn(number) {
  const sum = [...number].reverse().reduce((total, digit, index) => {
    const weighted = Number(digit) * (index % 2 ? 2 : 1);
    return total + (weighted > 9 ? weighted - 9 : weighted);
  }, 0);
  return sum % 10 === 0;
}
