/** The balance in the status bar. */

import { Widget } from "@lumino/widgets";

import type { Account, Problem, State } from "./account";
import { creditsIcon } from "./icon";

const PROBLEMS: Record<Problem["problem"], string> = {
  "not-configured": "Credits: not set up",
  starting: "Credits: starting",
  refused: "Credits: no account",
  unavailable: "Credits: unavailable",
};

// The locale of the checkout page.
const numbers = new Intl.NumberFormat("en-US");

/** A button with the balance, or with the reason why it is not known. */
export class StatusItem extends Widget {
  #label = document.createElement("span");

  constructor(account: Account, onClick: () => void) {
    super({ node: document.createElement("button") });
    this.addClass("jp-mod-highlighted");
    this.addClass("datalayer-stripe-status");
    this.node.append(creditsIcon.element({ tag: "span", stylesheet: "statusBar" }), this.#label);
    this.#label.className = "jp-StatusBar-TextItem";
    this.node.addEventListener("click", onClick);
    const show = () => {
      this.#label.textContent = textOf(account.state);
      this.node.title = titleOf(account.state);
    };
    account.onChange(show);
    show();
  }
}

function textOf(state: State): string {
  if ("credits" in state) {
    return `${numbers.format(state.credits)} ${state.credits === 1 ? "credit" : "credits"}`;
  }
  if ("problem" in state) return PROBLEMS[state.problem];
  return state.is === "signed-out" ? "Credits: sign in" : "Credits";
}

function titleOf(state: State): string {
  if ("problem" in state) return state.message;
  return "is" in state && state.is === "signed-out" ? "Sign in to see your credits" : "Buy credits";
}
