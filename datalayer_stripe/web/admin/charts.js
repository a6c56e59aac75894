/** Bar charts of days, with Chart.js in the colours of the page. */

import { element } from "../dom.js";
import { number } from "../money.js";
import { table } from "../table.js";
import { shortUtcDay, utcDay } from "./format.js";
import * as texts from "./texts.js";

// Chart.js is a classic script: imported as a module, it sets the global `Chart`.
async function loadLibrary() {
  await import("./vendor/chart.umd.min.js");
  return globalThis.Chart;
}

const darkScheme = matchMedia("(prefers-color-scheme: dark)");

/** The charts of one view. */
export class Charts {
  #drawings = [];

  /**
   * Create a figure with a chart and the same numbers as a table.
   *
   * `series` are `{ name, label, colour, sign }`: `name` is the field of a day, `colour` a custom
   * property of the style sheet, and `sign` -1 if the bars go down. `empty` is shown if all numbers
   * are zero.
   */
  figure({ id, title, days, series, empty }) {
    const heading = element("h3", { id: `${id}-heading` }, title);
    const figure = element("figure", { id, "aria-labelledby": heading.id }, heading);
    const busy = days.filter((day) => series.some(({ name }) => day[name] !== 0));
    if (busy.length === 0) {
      figure.append(element("p", { className: "empty" }, empty));
      return figure;
    }
    const canvas = element("canvas", { role: "img", "aria-label": summary(title, days, series) });
    figure.append(
      element("div", { className: "chart" }, canvas),
      dataTable(heading.id, busy, series),
    );
    this.#drawings.push({ canvas, days, series });
    return figure;
  }

  /** Draw the figures, which are in the page now, until `signal` is aborted. */
  async draw(signal) {
    if (this.#drawings.length === 0) return;
    const Chart = await loadLibrary();
    if (signal.aborted) return;
    const charts = this.#drawings.map((drawing) => {
      const { canvas } = drawing;
      return [new Chart(canvas, { type: "bar", ...configuration(drawing) }), drawing];
    });
    const recolour = () => {
      for (const [chart, drawing] of charts) {
        Object.assign(chart, configuration(drawing));
        chart.update();
      }
    };
    darkScheme.addEventListener("change", recolour, { signal });
    signal.addEventListener("abort", () => charts.forEach(([chart]) => chart.destroy()));
  }
}

/** Return the data and options of a chart, in the present colours of the style sheet. */
function configuration({ days, series }) {
  const style = getComputedStyle(document.documentElement);
  const value = (name) => style.getPropertyValue(name).trim();
  const ticks = { color: value("--muted") };
  return {
    data: {
      labels: days.map(({ day }) => shortUtcDay(day)),
      datasets: series.map(({ name, label, colour, sign = 1 }) => ({
        label,
        data: days.map((day) => sign * day[name]),
        backgroundColor: value(colour),
        maxBarThickness: 28,
        borderRadius: 2,
      })),
    },
    options: {
      animation: false,
      maintainAspectRatio: false,
      font: { family: value("--font") },
      interaction: { mode: "index", intersect: false },
      plugins: {
        legend: {
          align: "start",
          labels: { boxWidth: 12, boxHeight: 12, color: value("--text") },
        },
        tooltip: {
          callbacks: {
            title: ([{ dataIndex }]) => utcDay(days[dataIndex].day),
            label: ({ dataset, raw }) => ` ${dataset.label}: ${number(Math.abs(raw))}`,
          },
        },
      },
      scales: {
        x: {
          stacked: true,
          grid: { display: false },
          ticks: { ...ticks, maxRotation: 0, autoSkipPadding: 20 },
        },
        y: {
          stacked: true,
          beginAtZero: true,
          grace: "10%",
          border: { display: false },
          grid: { color: value("--line") },
          ticks: { ...ticks, precision: 0, maxTicksLimit: 6 },
        },
      },
    },
  };
}

function summary(title, days, series) {
  const parts = series.map(({ name, label }) => {
    const total = days.reduce((sum, day) => sum + day[name], 0);
    return `${label} ${number(total)}`;
  });
  return texts.chartSummary(title, parts);
}

function dataTable(headingId, days, series) {
  const columns = [
    { name: "day", text: texts.day },
    ...series.map(({ name, label }) => ({ name, text: label })),
  ];
  const rows = days.toReversed().map((day) => ({
    day: element("time", { dateTime: day.day }, utcDay(day.day)),
    ...Object.fromEntries(series.map(({ name }) => [name, number(day[name])])),
  }));
  return element(
    "details",
    {},
    element("summary", {}, texts.asTable),
    table({ columns, rows, label: { "aria-labelledby": headingId } }),
    element("p", { className: "fine-print" }, texts.zeroDaysOmitted),
  );
}
