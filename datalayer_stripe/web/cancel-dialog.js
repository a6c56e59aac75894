/** Asks whether the subscription is to be cancelled, and cancels it. */

import { ApiError } from "./api.js";
import { byId, once } from "./dom.js";
import { errorText } from "./failure.js";
import * as texts from "./texts.js";

/** `text` says what it means; `cancel` does it; `onCancelled` comes afterwards. */
export function askToCancel(text, { cancel, onCancelled }) {
  const dialog = byId("cancel-dialog");
  const alert = byId("cancel-alert");
  byId("cancel-text").textContent = text;
  alert.textContent = "";
  byId("cancel-keep").onclick = () => dialog.close();
  byId("cancel-confirm").onclick = ({ target }) =>
    once(target, async () => {
      try {
        await cancel();
        dialog.close();
        onCancelled();
      } catch (error) {
        if (!(error instanceof ApiError)) throw error;
        alert.textContent = errorText(error, texts.actionFailed);
      }
    });
  dialog.showModal();
}
