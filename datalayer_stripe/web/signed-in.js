/** Show a page for the account of the stored token, or ask the person to sign in. */

import { byId, fill } from "./dom.js";
import { ApiError, HttpClient } from "./http.js";
import { accountOf, onTokenChange, readToken } from "./session.js";
import * as texts from "./texts.js";

const config = document.documentElement.dataset;

/**
 * A page whose content belongs to one account. The attribute `data-view` of `main` is `loading`,
 * `ready`, `sign-in` or `error`.
 */
export class SignedInPage {
  #contentId;
  #signedOut;
  #open;
  #onStop;
  #failure;
  #main = document.querySelector("main");
  #blank;
  #current = null;

  /**
   * `contentId` is the id of the element with the content. `signedOut` asks to sign in.
   * `open({ http, signal, token })` loads and shows an account; `signal` is aborted when the page
   * no longer shows it. `onStop` is called then. `failure(error, retry)` creates the message for an
   * ApiError.
   */
  constructor({ contentId, signedOut, open, onStop, failure }) {
    this.#contentId = contentId;
    this.#signedOut = signedOut;
    this.#open = open;
    this.#onStop = onStop;
    this.#failure = failure;
    // Start each account from an unused copy, so that it shows nothing of the previous one.
    this.#blank = byId(contentId).cloneNode(true);
    byId("sign-in-again").onclick = () => this.start();
    if (config.signInUrl) {
      byId("sign-in-link").href = config.signInUrl;
      byId("sign-in-link").hidden = false;
    }
    onTokenChange((token) => this.#handleTokenChange(token));
  }

  /** Discard the current account and load the account of the stored token. */
  async start() {
    this.#stop();
    const token = readToken();
    if (token === null) return this.#showSignIn(this.#signedOut);
    this.#setView("loading");
    const controller = new AbortController();
    const { signal } = controller;
    this.#current = { token, controller };
    const http = new HttpClient({
      token: () => this.#currentToken(),
      signal,
      onUnauthorized: () => this.#onUnauthorized(),
    });
    try {
      await this.#open({ http, signal, token });
      if (!signal.aborted) this.#setView("ready");
    } catch (error) {
      if (signal.aborted) return undefined;
      if (!(error instanceof ApiError)) throw error;
      this.fail(error);
    }
    return undefined;
  }

  /** Discard the current account and show an error in its place. */
  fail(error) {
    this.#stop();
    this.#setView("error");
    fill(byId("load-error"), this.#failure(error, () => this.start()));
  }

  #setView(view) {
    this.#main.dataset.view = view;
    this.#main.setAttribute("aria-busy", view === "loading");
    byId("sign-in").hidden = view !== "sign-in";
    byId("load-error").hidden = view !== "error";
    byId(this.#contentId).hidden = view !== "loading" && view !== "ready";
  }

  #stop() {
    this.#current?.controller.abort();
    this.#current = null;
    this.#onStop();
    byId("announcements").textContent = "";
    byId(this.#contentId).replaceWith(this.#blank.cloneNode(true));
  }

  #showSignIn(reason) {
    this.#setView("sign-in");
    byId("sign-in-heading").textContent = reason;
    if (reason === texts.sessionEnded) byId("sign-in-heading").focus();
  }

  /** Use a new token of the same account. For another account, or without a token, start again. */
  #handleTokenChange(token) {
    const current = this.#current;
    const isSameAccount = current && token && accountOf(token) === accountOf(current.token);
    if (isSameAccount) current.token = token;
    else this.start();
  }

  /** Return the stored token. A script in this tab may have changed it without an event. */
  #currentToken() {
    const token = readToken();
    if (token !== this.#current?.token) this.#handleTokenChange(token);
    return token;
  }

  #onUnauthorized() {
    this.#stop();
    this.#showSignIn(texts.sessionEnded);
  }
}
