/** Dialog that asks for confirmation before it cancels the subscription. */

import { ApiError } from "./api.js";
import { byId, runOnce } from "./dom.js";
import { errorText } from "./failure.js";
import * as texts from "./texts.js";

/** Open the dialog. `text` explains the effect; `cancel` does it; `onCancelled` is called after. */
export function openCancelDialog(text, { cancel, onCancelled }) {
  const dialog = byId("cancel-dialog");
  const alert = byId("cancel-alert");
  byId("cancel-text").textContent = text;
  alert.textContent = "";
  byId("cancel-keep").onclick = () => dialog.close();
  byId("cancel-confirm").onclick = ({ target }) =>
    runOnce(target, async () => {
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
