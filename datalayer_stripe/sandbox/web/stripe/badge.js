import { ORIGIN } from "./origin.js";
import { attachStyledRoot, createElement } from "./dom.js";

const BADGE_STYLE = `
  /* Below the page's content, so that it does not cover anything. */
  :host {
    display: block; font: 14px/1.4 system-ui, sans-serif; margin: 16px;
  }
  div {
    align-items: center; background: #312e81; border-radius: 8px; color: #fff; display: flex;
    flex-wrap: wrap; gap: 4px 8px; justify-content: space-between; padding: 8px 8px 8px 14px;
  }
  a { color: inherit; font-weight: 600; }
  button {
    background: none; border: 0; border-radius: 4px; color: inherit; cursor: pointer; font: inherit;
    height: 28px; width: 28px;
  }
  a:focus-visible, button:focus-visible { outline: 2px solid #fff; outline-offset: 2px; }
  @media (min-width: 1280px) {
    /* On wide screens in a corner, narrow enough for the usual margin of a page. */
    :host {
      bottom: 16px; margin: 0; position: fixed; right: 16px; width: 192px; z-index: 2147483000;
    }
    div { box-shadow: 0 4px 16px #0004; }
    span { flex: 1 0 100%; }
  }
`;

let shown = false;

/** Show once on the page that this is not Stripe, with a link to the panel. */
export function showBadge() {
  if (shown) return;
  shown = true;
  const host = createElement("aside");
  host.setAttribute("aria-label", "Local Stripe");
  const panel = createElement("a", {
    href: `${ORIGIN}/sandbox/panel`,
    target: "_blank",
    rel: "noopener",
    textContent: "Stripe's side ↗",
  });
  const dismiss = createElement("button", {
    type: "button",
    textContent: "✕",
    ariaLabel: "Dismiss",
  });
  dismiss.addEventListener("click", () => host.remove());
  const text = createElement("span", { textContent: "Local Stripe. No money is charged." });
  attachStyledRoot(host, BADGE_STYLE).append(createElement("div", {}, text, panel, dismiss));
  whenReady(() => document.body.append(host));
}

function whenReady(callback) {
  if (document.body) callback();
  else document.addEventListener("DOMContentLoaded", callback, { once: true });
}
