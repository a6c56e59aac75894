import * as card from "./card.js";

const FORMATTERS = {
  number: card.formatNumber,
  expiry: card.formatExpiry,
  cvc: card.formatCvc,
};
const NAMES = Object.keys(FORMATTERS);
const inputs = Object.fromEntries(NAMES.map((name) => [name, document.getElementById(name)]));
const number = () => card.digitsOf(inputs.number.value);

/** The fields that show incomplete input as an error: the ones left by the user or validated. */
const checkedFields = new Set();

/** Call `onChange` when the content of a field changes. */
export function watch(onChange) {
  for (const name of NAMES) {
    const input = inputs[name];
    input.addEventListener("input", () => {
      checkedFields.delete(name);
      reformat(name);
      onChange();
    });
    input.addEventListener("change", () => {
      if (input.value) checkedFields.add(name);
      onChange();
    });
  }
}

/** Return the state of the fields for the `change` event, and show their errors. */
export function state() {
  const problems = NAMES.map((name) => [name, problemOf(name)]);
  const shown = problems.filter(([name, problem]) => problem && isShown(name, problem));
  for (const name of NAMES) showError(name, shown.find(([other]) => other === name)?.[1]);
  return {
    brand: card.brandOf(number()),
    complete: problems.every(([, problem]) => !problem),
    empty: NAMES.every((name) => !inputs[name].value),
    error: shown.length ? errorOf(shown[0][1]) : undefined,
  };
}

/** Show all errors, focus the first field with an error, and return that error or null. */
export function validate() {
  for (const name of NAMES) checkedFields.add(name);
  const wrong = NAMES.find(problemOf);
  inputs[wrong]?.focus();
  return wrong ? errorOf(problemOf(wrong)) : null;
}

/** Return the card as a parameter of the API. */
export function cardParams() {
  const cvc = inputs.cvc.value;
  return { number: number(), cvc, ...card.expiryOf(inputs.expiry.value) };
}

export function fill(values) {
  for (const name of NAMES) {
    inputs[name].value = FORMATTERS[name](values[name], card.digitsOf(values.number));
    checkedFields.delete(name);
  }
}

export function focus() {
  inputs.number.focus();
}

function problemOf(name) {
  if (name === "number") return card.numberProblem(number());
  if (name === "expiry") return card.expiryProblem(inputs.expiry.value);
  return card.cvcProblem(inputs.cvc.value, number());
}

/** Return whether to show an error. A field is not incomplete while the user is typing in it. */
function isShown(name, problem) {
  return checkedFields.has(name) || !problem.startsWith("incomplete");
}

function errorOf(code) {
  return { type: "validation_error", code, message: card.MESSAGES[code] };
}

function showError(name, problem) {
  const text = problem ? card.MESSAGES[problem] : "";
  const place = document.getElementById(`${name}-error`);
  if (place.textContent !== text) place.textContent = text;
  inputs[name].setAttribute("aria-invalid", String(Boolean(problem)));
  inputs[name].classList.toggle("Input--invalid", Boolean(problem));
}

/** Format a field's text, and keep the caret after the same digit. */
function reformat(name) {
  const input = inputs[name];
  const atEnd = input.selectionStart === input.value.length;
  const before = card.digitsOf(input.value.slice(0, input.selectionStart)).length;
  input.value = FORMATTERS[name](input.value, number());
  if (atEnd) return;
  const digits = new RegExp(`^(?:\\D*\\d){${before}}`);
  const position = digits.exec(input.value)?.[0].length ?? input.value.length;
  input.setSelectionRange(position, position);
}
