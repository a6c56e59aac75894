import { ORIGIN } from "./origin.js";
import { make, styled } from "./styled.js";

const BADGE_STYLE = `
  /* Below the page: over it, it would hide what is to be read or pressed. */
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
    /* Where pages usually have a margin, in a corner of that: so narrow that it fits in. */
    :host {
      bottom: 16px; margin: 0; position: fixed; right: 16px; width: 192px; z-index: 2147483000;
    }
    div { box-shadow: 0 4px 16px #0004; }
    span { flex: 1 0 100%; }
  }
`;

let shown = false;

/** Say on the page, once, that this is not Stripe, and lead to the panel that is its other side. */
export function showBadge() {
  if (shown) return;
  shown = true;
  const host = make("aside");
  host.setAttribute("aria-label", "Local Stripe");
  const panel = make("a", {
    href: `${ORIGIN}/sandbox/panel`,
    target: "_blank",
    rel: "noopener",
    textContent: "Stripe's side ↗",
  });
  const dismiss = make("button", { type: "button", textContent: "✕", ariaLabel: "Dismiss" });
  dismiss.addEventListener("click", () => host.remove());
  const text = make("span", { textContent: "Local Stripe, no money moves." });
  styled(host, BADGE_STYLE).append(make("div", {}, text, panel, dismiss));
  whenReady(() => document.body.append(host));
}

function whenReady(act) {
  if (document.body) act();
  else document.addEventListener("DOMContentLoaded", act, { once: true });
}
