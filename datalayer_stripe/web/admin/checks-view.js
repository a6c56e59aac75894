/** What the checks of the set-up have found. */

import { button, element } from "../dom.js";
import { richText, timeElement } from "./format.js";
import * as texts from "./texts.js";

export async function checksView({ body, api, reload }) {
  const { at, findings } = await api.checks();
  const withStatus = (...statuses) => findings.filter(({ status }) => statuses.includes(status));
  const problems = [...withStatus("error"), ...withStatus("warning")];
  body.append(
    element("p", { className: "muted" }, ...richText(texts.checksExplained)),
    element(
      "p",
      { className: "actions checked-at" },
      element("span", {}, `${texts.checkedAt} `, timeElement(at)),
      button(texts.checkAgain, reload, { id: "check-again" }),
    ),
    problems.length > 0
      ? section("problems", problems)
      : element("p", { className: "result" }, texts.allWell),
    ...["not run", "ok"]
      .map((status) => [status, withStatus(status)])
      .filter(([, found]) => found.length > 0)
      .map(([status, found]) => folded(status, found)),
  );
}

function section(group, findings) {
  return element(
    "section",
    { "aria-labelledby": "problems-heading" },
    element("h3", { id: "problems-heading" }, texts.checkGroups[group]),
    list(findings),
  );
}

function folded(group, findings) {
  const heading = texts.count(texts.checkGroups[group], findings.length);
  return element("details", {}, element("summary", {}, heading), list(findings));
}

const list = (findings) => element("ul", { className: "findings" }, ...findings.map(item));

function item({ check, status, text, advice }) {
  return element(
    "li",
    { className: "finding" },
    element(
      "p",
      {},
      element("span", { className: `badge ${status.replace(" ", "-")}` }, texts.checkStatuses[status]),
      " ",
      element("code", {}, check),
    ),
    element("p", {}, ...richText(text)),
    advice &&
      element(
        "p",
        { className: "advice" },
        element("strong", {}, `${texts.toFixIt} `),
        ...richText(advice),
      ),
  );
}
