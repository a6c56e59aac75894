/** The last days in numbers and charts, and what waits for the operator. */

import { element } from "../dom.js";
import { number } from "../money.js";
import { Charts } from "./charts.js";
import { amounts, timeElement } from "./format.js";
import { eventsLink, overviewLink } from "./routes.js";
import * as texts from "./texts.js";

const RANGES = [7, 30, 90, 365];
const DEFAULT_DAYS = 30;

const SALES = [
  { name: "credits_sold", label: texts.sold, colour: "--accent" },
  { name: "credits_refunded", label: texts.takenBack, colour: "--second", sign: -1 },
];
const FAILURES = [
  { name: "failed", label: texts.failed, colour: "--warning" },
  { name: "rejected", label: texts.rejected, colour: "--danger" },
];

export async function overviewView({ body, api, parameters, signal }) {
  const asked = Number(parameters.days);
  const days = RANGES.includes(asked) ? asked : DEFAULT_DAYS;
  const overview = await api.overview(days);
  const range = texts.lastDays(days);
  const charts = new Charts();
  body.append(
    rangeLinks(days),
    tiles(overview),
    waiting(overview),
    element(
      "div",
      { className: "charts" },
      charts.figure({
        id: "sales-chart",
        title: texts.salesChart,
        days: overview.days,
        series: SALES,
        empty: texts.noSales(range),
      }),
      charts.figure({
        id: "failures-chart",
        title: texts.failuresChart,
        days: overview.days,
        series: FAILURES,
        empty: texts.noFailures(range),
      }),
    ),
  );
  return () => charts.draw(signal);
}

function rangeLinks(current) {
  const links = RANGES.map((days) =>
    element(
      "a",
      { href: overviewLink(days), "aria-current": days === current ? "true" : null },
      texts.lastDays(days),
    ),
  );
  return element("nav", { className: "choices", "aria-label": texts.range }, ...links);
}

function tiles({ totals, open }) {
  return element(
    "dl",
    { className: "tiles" },
    tile(
      "sold",
      texts.creditsSold,
      number(totals.credits_sold),
      texts.payments(number(totals.payments), amounts(totals.amounts)),
    ),
    tile(
      "refunded",
      texts.creditsRefunded,
      number(totals.credits_refunded),
      texts.refunds(number(totals.refunds), amounts(totals.amounts_refunded)),
    ),
    openTile("rejected", texts.rejectedEvents, open.rejected, texts.needDecision),
    openTile("failed", texts.failedEvents, open.failed, texts.retriedBySelf),
  );
}

function tile(name, heading, value, detail) {
  return element(
    "div",
    { className: `tile ${name}` },
    element("dt", {}, heading),
    element("dd", { className: "value" }, value),
    element("dd", { className: "muted" }, detail),
  );
}

function openTile(status, heading, count, detail) {
  if (count === 0) return tile(`${status} none`, heading, texts.none, "");
  const link = element("a", { href: eventsLink({ status }) }, number(count));
  return tile(status, heading, link, detail);
}

function waiting({ open, oldest_open_at: oldest }) {
  const lines = [];
  if (open.failed + open.rejected === 0) lines.push(texts.nothingOpen);
  if (oldest) lines.push(element("span", {}, `${texts.oldestOpen} `, timeElement(oldest), "."));
  if (open.jobs_waiting > 0) {
    const href = eventsLink({ status: "deferred" });
    lines.push(element("a", { href }, texts.jobsWaiting(number(open.jobs_waiting))));
  }
  return element("p", { className: "muted", id: "waiting" }, ...lines.flatMap((line) => [line, " "]));
}
