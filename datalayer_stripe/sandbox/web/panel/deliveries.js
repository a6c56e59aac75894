/** The list of deliveries, newest first. */

import { report } from "./controls.js";
import { time } from "./formatting.js";

const list = document.getElementById("delivery-list");
const template = document.getElementById("delivery");
const MAX_ROWS = 200;

export function addDelivery(attempt, sendAgain) {
  const row = template.content.cloneNode(true).querySelector("li");
  const part = (name) => row.querySelector(`.${name}`);
  part("type").textContent = attempt.type;
  part("outcome").textContent = outcomeOf(attempt);
  part("outcome").classList.toggle("bad", !attempt.succeeded);
  part("attempt").textContent = `${time(attempt.at)}, attempt ${attempt.attempt}`;
  part("again").setAttribute("aria-label", `Send again: ${attempt.type}`);
  part("again").addEventListener("click", () => sendAgain(attempt));
  const details = row.querySelector("details");
  details.addEventListener("toggle", async () => {
    if (!details.open || part("answer").textContent) return;
    part("answer").textContent = pretty(attempt.body) || attempt.error || "No body";
    part("event").textContent = await eventText(attempt.event_id);
  });
  list.prepend(row);
  if (list.children.length > MAX_ROWS) list.lastElementChild.remove();
  document.getElementById("none").hidden = true;
}

export function clearDeliveries() {
  list.replaceChildren();
  document.getElementById("none").hidden = false;
}

/** Return the status with the outcome, error code or network error, such as `200 processed`. */
export function outcomeOf({ status, body, error }) {
  const answer = parsed(body);
  return `${status ?? ""} ${answer?.outcome ?? answer?.code ?? error ?? ""}`.trim();
}

async function eventText(object_id) {
  try {
    return JSON.stringify(await report("object", { object_id }), null, 2);
  } catch (error) {
    return error.message;
  }
}

function pretty(body) {
  const answer = parsed(body);
  return answer === null ? body : JSON.stringify(answer, null, 2);
}

function parsed(body) {
  try {
    return JSON.parse(body);
  } catch {
    return null;
  }
}
