/** Messages that replace content which could not be loaded. */

import { button, element } from "./dom.js";
import * as texts from "./texts.js";

/** Return the text for an error: the service's message for a 4xx, a general one otherwise. */
export function errorText(error, otherwise) {
  if (error.status === 0) return texts.unreachable;
  if (error.isBusy) return (error.status === 429 && error.message) || texts.busy;
  return error.status >= 400 && error.status < 500 && error.message ? error.message : otherwise;
}

/** Create a message with a "Try again" button, disabled until the service's Retry-After is over. */
export function failure(error, otherwise, retry) {
  const again = button(texts.tryAgain, retry);
  if (error.retryAfter) {
    again.disabled = true;
    setTimeout(() => (again.disabled = false), error.retryAfter * 1000);
  }
  const text = errorText(error, otherwise);
  return element(
    "div",
    { className: "failure" },
    element("p", { role: "alert" }, otherwise),
    text === otherwise ? null : element("p", {}, text),
    error.requestId
      ? element("p", { className: "fine-print" }, texts.requestId(error.requestId))
      : null,
    again,
  );
}
