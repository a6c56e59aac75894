/** Building and changing elements. Data goes in as text, never as HTML. */

export const byId = (id) => document.getElementById(id);

/** element("p", { id: "x", "aria-label": "…" }, "text", otherElement, null) */
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

/** Replace what `parent` holds. The focus stays on what has the same id as before. */
export function fill(parent, ...children) {
  const focused = parent.contains(document.activeElement) ? document.activeElement.id : "";
  parent.replaceChildren(...children.filter((child) => child !== null));
  if (focused && parent.contains(byId(focused))) byId(focused).focus();
}

/** Show the text, or hide the element where there is none. */
export function show(node, text) {
  node.textContent = text ?? "";
  node.hidden = !text;
}

/** A button that takes no second click while what the first began is running. */
export function button(label, onClick, properties = {}) {
  const node = element("button", { type: "button", className: "button", ...properties }, label);
  node.addEventListener("click", () => once(node, onClick));
  return node;
}

/** Run `task` unless it is running already for this button, which keeps the focus meanwhile. */
export async function once(node, task) {
  if (node.getAttribute("aria-disabled") === "true") return;
  node.setAttribute("aria-disabled", "true");
  try {
    await task(node);
  } finally {
    node.removeAttribute("aria-disabled");
  }
}

/** Say it to who cannot see it happen. */
export function announce(text) {
  byId("announcements").textContent = text;
}
