/** The dialog that is shown while credits cannot be bought. */

import { Dialog, showDialog } from "@jupyterlab/apputils";

import type { Problem } from "./account";

const DOCUMENT = "https://github.com/datalayer/datalayer-stripe/blob/main/docs/jupyter.md";

const TITLES: Record<Problem["problem"], string> = {
  "not-configured": "Credits are not set up on this server",
  starting: "The credits are being loaded",
  refused: "You have no account for credits",
  unavailable: "Credits cannot be bought at the moment",
};

/** Show why credits cannot be bought. */
export async function showProblem({ problem, message }: Problem): Promise<void> {
  const buttons = [Dialog.okButton({ label: "Close" })];
  if (problem === "not-configured") {
    buttons.unshift(Dialog.cancelButton({ label: "How to set it up", actions: ["help"] }));
  }
  const { button } = await showDialog({ title: TITLES[problem], body: message, buttons });
  if (button.actions.includes("help")) window.open(DOCUMENT, "_blank", "noopener");
}
