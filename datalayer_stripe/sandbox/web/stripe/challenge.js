import { ORIGIN } from "./origin.js";
import { attachStyledRoot, createElement } from "./dom.js";

const DIALOG_STYLE = `
  dialog {
    background: light-dark(#fff, #1e2129); border: 0; border-radius: 12px;
    box-shadow: 0 16px 48px #0006; color: light-dark(#1a1f36, #f1f2f5);
    color-scheme: light dark; font: 16px/1.4 system-ui, sans-serif;
    max-width: calc(100vw - 32px); overflow: hidden; padding: 0; width: 400px;
  }
  dialog::backdrop { background: #0f172a99; }
  header { align-items: center; display: flex; justify-content: space-between; padding: 12px 16px; }
  h2 { font-size: 16px; margin: 0; }
  button {
    background: none; border: 1px solid light-dark(#6b7280, #98a1b0); border-radius: 6px;
    color: inherit; cursor: pointer;
    font: inherit; padding: 4px 12px;
  }
  button:focus-visible { outline: 2px solid light-dark(#4338ca, #a5b4fc); outline-offset: 2px; }
  iframe { border: 0; color-scheme: light dark; display: block; height: 300px; width: 100%; }
`;

/**
 * Show the bank's authentication page (3-D Secure) in a dialog over the page.
 *
 * The promise resolves when the page at `url` reports its end. The result is in the intent.
 */
export function authenticate(url) {
  return new Promise((resolve) => {
    const frame = createElement("iframe", { src: url, title: "3D Secure authentication" });
    const cancel = createElement("button", { type: "button", textContent: "Cancel" });
    const title = createElement("h2", { id: "title", textContent: "3D Secure authentication" });
    const dialog = createElement("dialog", {}, createElement("header", {}, title, cancel), frame);
    dialog.setAttribute("role", "dialog");
    dialog.setAttribute("aria-modal", "true");
    dialog.setAttribute("aria-labelledby", "title");
    const host = createElement("div");
    attachStyledRoot(host, DIALOG_STYLE).append(dialog);

    const reject = () => frame.contentWindow.postMessage("fail", ORIGIN);
    const handleMessage = ({ source, origin, data }) => {
      if (origin !== ORIGIN || source !== frame.contentWindow || data !== "authenticated") return;
      window.removeEventListener("message", handleMessage);
      dialog.close();
      host.remove();
      resolve();
    };
    window.addEventListener("message", handleMessage);
    cancel.addEventListener("click", reject);
    dialog.addEventListener("cancel", (event) => {
      event.preventDefault();
      reject();
    });
    frame.addEventListener("load", () => frame.focus(), { once: true });
    document.body.append(host);
    dialog.showModal();
  });
}
