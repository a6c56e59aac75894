/** Dialogs that ask for confirmation before an action. */

import { byId, runOnce } from "./dom.js";
import { errorText } from "./failure.js";
import { ApiError } from "./http.js";
import * as texts from "./texts.js";

/**
 * Open the dialog `name`, whose elements have the ids `name-text`, `name-confirm` and so on.
 *
 * `text` explains the effect; `action` does it; `onDone` is called with its result, after the
 * dialog was closed. If the action fails, the dialog shows the error and stays open. `busy` is the
 * text of the button that confirms while the action runs, if it is another one.
 */
export function openConfirmDialog(name, text, { action, onDone, busy = null }) {
  const dialog = byId(`${name}-dialog`);
  const alert = byId(`${name}-alert`);
  byId(`${name}-text`).textContent = text;
  alert.textContent = "";
  byId(`${name}-keep`).onclick = () => dialog.close();
  byId(`${name}-confirm`).onclick = ({ target }) =>
    runOnce(target, async () => {
      const label = target.textContent;
      alert.textContent = "";
      target.textContent = busy ?? label;
      try {
        const result = await action();
        dialog.close();
        onDone(result);
      } catch (error) {
        if (!(error instanceof ApiError)) throw error;
        alert.textContent = errorText(error, texts.actionFailed);
      } finally {
        target.textContent = label;
      }
    });
  dialog.showModal();
}
