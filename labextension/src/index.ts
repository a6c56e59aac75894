/** JupyterLab extension: a launcher card, a command and the balance in the status bar. */

import type { JupyterFrontEnd, JupyterFrontEndPlugin } from "@jupyterlab/application";
import { ICommandPalette } from "@jupyterlab/apputils";
import { PageConfig } from "@jupyterlab/coreutils";
import { ILauncher } from "@jupyterlab/launcher";
import { IStatusBar } from "@jupyterlab/statusbar";

import { Account } from "./account";
import { showProblem } from "./dialog";
import { creditsIcon } from "./icon";
import { StatusItem } from "./status-item";

const COMMAND = "datalayer-stripe:buy-credits";
const LABEL = "Buy credits";

// The server extension sets this option: datalayer_stripe/jupyter/lab.py.
const CHECKOUT_URL = "datalayerStripeCheckoutUrl";

const plugin: JupyterFrontEndPlugin<void> = {
  id: "datalayer-stripe:plugin",
  description: "Shows the balance, and opens the page where credits are bought.",
  autoStart: true,
  optional: [ILauncher, ICommandPalette, IStatusBar],
  activate: (
    app: JupyterFrontEnd,
    launcher: ILauncher | null,
    palette: ICommandPalette | null,
    statusBar: IStatusBar | null,
  ) => {
    const checkoutUrl = PageConfig.getOption(CHECKOUT_URL);
    if (!checkoutUrl) return; // this server does not run the server extension
    const account = new Account(app.serviceManager.serverSettings);
    const openCheckout = () => {
      const { state } = account;
      if ("problem" in state) return showProblem(state);
      // A notebook's scripts run in this page. Without an opener they cannot reach the page in
      // which a card is entered.
      window.open(checkoutUrl, "_blank", "noopener");
      return undefined;
    };
    app.commands.addCommand(COMMAND, {
      label: LABEL,
      caption: "Open the checkout page in a new browser tab",
      icon: creditsIcon,
      execute: openCheckout,
    });
    launcher?.add({ command: COMMAND, category: "Other" });
    palette?.addItem({ command: COMMAND, category: "Credits" });
    statusBar?.registerStatusItem(plugin.id, {
      item: new StatusItem(account, () => void app.commands.execute(COMMAND)),
      align: "right",
    });
  },
};

export default plugin;
