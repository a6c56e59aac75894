/** Create and change elements. Data is inserted as text, never as HTML. */

export const byId = (id) => document.getElementById(id);

/** Write the page's fixed texts into the elements that name them in `data-text`. */
export function fillTexts(texts) {
  for (const node of document.querySelectorAll("[data-text]")) {
    node.textContent = texts[node.dataset.text];
  }
}

/** Create an element: element("p", { id: "x", "aria-label": "…" }, "text", otherElement, null) */
export function element(tag, properties = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (value === null || value === undefined) continue;
    if (name in node) node[name] = value;
    else node.setAttribute(name, value);
  }
  node.append(...children.filter((child) => child !== null));
  return node;
}

/** Replace the children of `parent`. The element with the same id as before keeps the focus. */
export function fill(parent, ...children) {
  const focused = parent.contains(document.activeElement) ? document.activeElement.id : "";
  parent.replaceChildren(...children.filter((child) => child !== null));
  if (focused && parent.contains(byId(focused))) byId(focused).focus();
}

/** Show a text in an element, or hide the element if there is no text. */
export function show(node, text) {
  node.textContent = text ?? "";
  node.hidden = !text;
}

/** Create a button that ignores clicks while its `onClick` is still running. */
export function button(label, onClick, properties = {}) {
  const node = element("button", { type: "button", className: "button", ...properties }, label);
  node.addEventListener("click", () => runOnce(node, onClick));
  return node;
}

/** Run `task` unless it already runs for this button. The button is not disabled: it would lose
 * the focus. */
export async function runOnce(node, task) {
  if (node.getAttribute("aria-disabled") === "true") return;
  node.setAttribute("aria-disabled", "true");
  try {
    await task(node);
  } finally {
    node.removeAttribute("aria-disabled");
  }
}

/** Announce a text to screen readers. */
export function announce(text) {
  byId("announcements").textContent = text;
}
