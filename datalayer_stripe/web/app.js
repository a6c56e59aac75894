/** The entry: shows the account of the token, or asks to sign in. */

import { Api, ApiError } from "./api.js";
import { Checkout } from "./checkout.js";
import { byId, fill } from "./dom.js";
import { failure } from "./failure.js";
import { takeReturned } from "./pending.js";
import { accountOf, onTokenChange, readToken } from "./session.js";
import * as texts from "./texts.js";

takeReturned();
for (const node of document.querySelectorAll("[data-text]")) {
  node.textContent = texts[node.dataset.text];
}

const config = document.documentElement.dataset;
const main = document.querySelector("main");
// Every account begins with an untouched page, so that nothing of the one before is left on it.
const blank = byId("account").cloneNode(true);
let current = null;

function setView(view) {
  main.dataset.view = view;
  main.setAttribute("aria-busy", view === "loading");
  byId("sign-in").hidden = view !== "sign-in";
  byId("load-error").hidden = view !== "error";
  byId("account").hidden = view !== "loading" && view !== "ready";
}

/** Begin anew with the token that there is now. */
async function start() {
  stop();
  const token = readToken();
  if (token === null) return askToSignIn(texts.signedOut);
  setView("loading");
  const leaving = new AbortController();
  const { signal } = leaving;
  current = { token, leaving };
  const api = new Api({
    iamApi: config.iamApi,
    stripeApi: config.stripeApi,
    token: freshToken,
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
  current?.leaving.abort();
  current = null;
  document.title = texts.title;
  byId("account-handle").textContent = "";
  byId("announcements").textContent = "";
  byId("account").replaceWith(blank.cloneNode(true));
}

function askToSignIn(reason) {
  setView("sign-in");
  byId("sign-in-heading").textContent = reason;
  if (reason === texts.sessionEnded) byId("sign-in-heading").focus();
}

/** Go on with a new token of the same account; with another's, begin anew. */
function changeTo(token) {
  const isSameAccount = current && token && accountOf(token) === accountOf(current.token);
  if (isSameAccount) current.token = token;
  else start();
}

/** The token as it is stored now: a script of this tab may have changed it without an event. */
function freshToken() {
  const token = readToken();
  if (token !== current?.token) changeTo(token);
  return token;
}

function onUnauthorized() {
  stop();
  askToSignIn(texts.sessionEnded);
}

byId("sign-in-again").onclick = start;
if (config.signInUrl) {
  byId("sign-in-link").href = config.signInUrl;
  byId("sign-in-link").hidden = false;
}
onTokenChange(changeTo);
start();
