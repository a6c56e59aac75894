/** The dialog that is shown while credits cannot be bought. */

import { Dialog, showDialog } from "@jupyterlab/apputils";

import type { Problem } from "./account";

const TITLE = "Credits cannot be bought at the moment";
const DOCUMENT = "https://github.com/datalayer/datalayer-stripe/blob/main/docs/jupyter.md";

/** Show why credits cannot be bought. */
export async function showProblem({ problem, message }: Problem): Promise<void> {
  const buttons = [Dialog.okButton({ label: "Close" })];
  if (problem === "not-configured") {
    buttons.unshift(Dialog.cancelButton({ label: "How to set it up", actions: ["help"] }));
  }
  const { button } = await showDialog({ title: TITLE, body: message, buttons });
  if (button.actions.includes("help")) window.open(DOCUMENT, "_blank", "noopener");
}
