/** Entry point of the checkout page. */

import { Api } from "./api.js";
import { Checkout } from "./checkout.js";
import { byId, fillTexts } from "./dom.js";
import { failure } from "./failure.js";
import { takeRedirectParameters } from "./pending.js";
import { SignedInPage } from "./signed-in.js";
import * as texts from "./texts.js";

takeRedirectParameters();
fillTexts(texts);

const config = document.documentElement.dataset;
const page = new SignedInPage({
  contentId: "account",
  signedOut: texts.signedOut,
  open: ({ http, signal }) => new Checkout({ config, api: new Api(http, config), signal }).open(),
  onStop: () => {
    document.title = texts.title;
    byId("account-handle").textContent = "";
  },
  failure: (error, retry) => failure(error, texts.loadFailed, retry),
});
page.start();
