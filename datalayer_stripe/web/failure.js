/** What is shown in place of something that did not come. */

import { button, element } from "./dom.js";
import * as texts from "./texts.js";

/** In words for people: the service's own where it refuses, else ours. */
export function errorText(error, otherwise) {
  if (error.status === 0) return texts.unreachable;
  if (error.isBusy) return (error.status === 429 && error.message) || texts.busy;
  return error.status >= 400 && error.status < 500 && error.message ? error.message : otherwise;
}

/** A message with a button that tries again, once the wait that the service asks for is over. */
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
