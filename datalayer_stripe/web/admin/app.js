/** Entry point of the operator's page. */

import { byId, element, fillTexts } from "../dom.js";
import { failure } from "../failure.js";
import { accountOf } from "../session.js";
import { SignedInPage } from "../signed-in.js";
import { Admin } from "./admin.js";
import { AdminApi } from "./api.js";
import * as texts from "./texts.js";

fillTexts(texts);

const config = document.documentElement.dataset;
let account = "";

const page = new SignedInPage({
  contentId: "content",
  signedOut: texts.signedOut,
  open: ({ http, signal, token }) => {
    account = accountOf(token);
    byId("signed-in-as").textContent = texts.signedInAs(account);
    byId("sections").hidden = false;
    const api = new AdminApi(http, config);
    return new Admin({ api, signal, onFatal: (error) => page.fail(error) }).open();
  },
  onStop: () => {
    document.title = texts.title;
    byId("signed-in-as").textContent = "";
    byId("sections").hidden = true;
  },
  failure: refusal,
});

/** Create the message for an error that concerns the whole page. */
function refusal(error, retry) {
  const [reason, advice] =
    error.status === 403
      ? [texts.forbidden, texts.forbiddenAdvice(account)]
      : [texts.off, texts.offAdvice];
  const message = failure(error, reason, retry);
  message.lastChild.before(element("p", { className: "next-step" }, advice));
  if (error.status === 403 && config.signInUrl) {
    message.append(element("a", { className: "button", href: config.signInUrl }, texts.signIn));
  }
  return message;
}

byId("mode").textContent = texts.modes[config.mode];
byId("mode").classList.add(config.mode);
page.start();
