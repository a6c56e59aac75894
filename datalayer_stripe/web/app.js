/** Entry point: show the account of the stored token, or ask the person to sign in. */

import { Api, ApiError } from "./api.js";
import { Checkout } from "./checkout.js";
import { byId, fill } from "./dom.js";
import { failure } from "./failure.js";
import { takeRedirectParameters } from "./pending.js";
import { accountOf, onTokenChange, readToken } from "./session.js";
import * as texts from "./texts.js";

takeRedirectParameters();
for (const node of document.querySelectorAll("[data-text]")) {
  node.textContent = texts[node.dataset.text];
}

const config = document.documentElement.dataset;
const main = document.querySelector("main");
// Start each account from an unused copy of the page, so that it shows nothing of the previous one.
const blank = byId("account").cloneNode(true);
let current = null;

function setView(view) {
  main.dataset.view = view;
  main.setAttribute("aria-busy", view === "loading");
  byId("sign-in").hidden = view !== "sign-in";
  byId("load-error").hidden = view !== "error";
  byId("account").hidden = view !== "loading" && view !== "ready";
}

/** Discard the current account and load the account of the stored token. */
async function start() {
  stop();
  const token = readToken();
  if (token === null) return showSignIn(texts.signedOut);
  setView("loading");
  const controller = new AbortController();
  const { signal } = controller;
  current = { token, controller };
  const api = new Api({
    iamApi: config.iamApi,
    stripeApi: config.stripeApi,
    token: currentToken,
    signal,
    onUnauthorized,
  });
  try {
    await new Checkout({ config, api, signal }).open();
    setView("ready");
  } catch (error) {
    if (signal.aborted) return undefined;
    if (!(error instanceof ApiError)) throw error;
    stop();
    setView("error");
    fill(byId("load-error"), failure(error, texts.loadFailed, start));
  }
  return undefined;
}

function stop() {
  current?.controller.abort();
  current = null;
  document.title = texts.title;
  byId("account-handle").textContent = "";
  byId("announcements").textContent = "";
  byId("account").replaceWith(blank.cloneNode(true));
}

function showSignIn(reason) {
  setView("sign-in");
  byId("sign-in-heading").textContent = reason;
  if (reason === texts.sessionEnded) byId("sign-in-heading").focus();
}

/** Use a new token of the same account. For another account, or without a token, start again. */
function handleTokenChange(token) {
  const isSameAccount = current && token && accountOf(token) === accountOf(current.token);
  if (isSameAccount) current.token = token;
  else start();
}

/** Return the stored token. A script in this tab may have changed it without an event. */
function currentToken() {
  const token = readToken();
  if (token !== current?.token) handleTokenChange(token);
  return token;
}

function onUnauthorized() {
  stop();
  showSignIn(texts.sessionEnded);
}

byId("sign-in-again").onclick = start;
if (config.signInUrl) {
  byId("sign-in-link").href = config.signInUrl;
  byId("sign-in-link").hidden = false;
}
onTokenChange(handleTokenChange);
start();
