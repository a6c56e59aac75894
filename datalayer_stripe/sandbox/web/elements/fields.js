import * as card from "./card.js";

const WRITE = {
  number: card.writeNumber,
  expiry: card.writeExpiry,
  cvc: card.writeCvc,
};
const NAMES = Object.keys(WRITE);
const inputs = Object.fromEntries(NAMES.map((name) => [name, document.getElementById(name)]));
const number = () => card.digitsOf(inputs.number.value);

/** Fields that are left half-filled, or that `validate` has looked at, show what is wrong. */
const strict = new Set();

/** Call `changed` when what is in the fields changes. */
export function watch(changed) {
  for (const name of NAMES) {
    const input = inputs[name];
    input.addEventListener("input", () => {
      strict.delete(name);
      rewrite(name);
      changed();
    });
    input.addEventListener("change", () => {
      if (input.value) strict.add(name);
      changed();
    });
  }
}

/** The state of the fields as the `change` event tells it. */
export function state() {
  const problems = NAMES.map((name) => [name, problemOf(name)]);
  const shown = problems.filter(([name, problem]) => problem && isShown(name, problem));
  for (const name of NAMES) show(name, shown.find(([other]) => other === name)?.[1]);
  return {
    brand: card.brandOf(number()),
    complete: problems.every(([, problem]) => !problem),
    empty: NAMES.every((name) => !inputs[name].value),
    error: shown.length ? errorOf(shown[0][1]) : undefined,
  };
}

/** Show all that is wrong and go to the first of it; return its error, or null. */
export function validate() {
  for (const name of NAMES) strict.add(name);
  const wrong = NAMES.find(problemOf);
  inputs[wrong]?.focus();
  return wrong ? errorOf(problemOf(wrong)) : null;
}

/** The card as the API takes it. */
export function cardParams() {
  const cvc = inputs.cvc.value;
  return { number: number(), cvc, ...card.expiryOf(inputs.expiry.value) };
}

export function fill(values) {
  for (const name of NAMES) {
    inputs[name].value = WRITE[name](values[name], card.digitsOf(values.number));
    strict.delete(name);
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

/** A field that is still being filled in is not scolded for being incomplete. */
function isShown(name, problem) {
  return strict.has(name) || !problem.startsWith("incomplete");
}

function errorOf(code) {
  return { type: "validation_error", code, message: card.MESSAGES[code] };
}

function show(name, problem) {
  const text = problem ? card.MESSAGES[problem] : "";
  const place = document.getElementById(`${name}-error`);
  if (place.textContent !== text) place.textContent = text;
  inputs[name].setAttribute("aria-invalid", String(Boolean(problem)));
  inputs[name].classList.toggle("Input--invalid", Boolean(problem));
}

/** Write a field's text its way, and keep the caret after the same digit. */
function rewrite(name) {
  const input = inputs[name];
  const atEnd = input.selectionStart === input.value.length;
  const before = card.digitsOf(input.value.slice(0, input.selectionStart)).length;
  input.value = WRITE[name](input.value, number());
  if (atEnd) return;
  const digits = new RegExp(`^(?:\\D*\\d){${before}}`);
  const position = digits.exec(input.value)?.[0].length ?? input.value.length;
  input.setSelectionRange(position, position);
}
